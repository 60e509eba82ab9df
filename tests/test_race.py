"""Races: what is separated from the best gets no more seeds, whoever disturbs it."""

import json
import math
import re
import signal

import pytest
from processes import last_of_each
from scipy import stats
from sweeps import contents, end, only_sweep, reached, run, start, states, wait_until, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import write_data_set

from benchmarks import racing, statistics
from mnist_lab.study.racing import look

POOL = ("hydra/launcher=pool", "hydra.launcher.slots=2")
# The first two learn alike, the third next to nothing.
GRID = ("optimizer.lr=0.0004,0.00041,1e-7", "seed=0,1,2,3", "race=on")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    data = tmp_path_factory.mktemp("idx") / "data"
    write_data_set(data, num_train=1200, num_test=50, seed=0)
    fixed = ("trainer.max_epochs=3", "threads=1", "model.width=32", "data.batch_size=16")
    return ("data=idx_folder", f"data.root={data}", *fixed)


def decisions(sweep):
    return json.loads((sweep / "sweep.json").read_text())["race"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, settings):
    folder = tmp_path_factory.mktemp("race")
    code, output = run("train", "-m", *settings, *GRID, cwd=folder)
    assert code == 0, output
    return only_sweep(folder), output


def test_what_is_separated_gets_no_more_seeds_and_everything_says_so(undisturbed):
    sweep, output = undisturbed
    (name,) = decisions(sweep)["dropped"]
    entry = decisions(sweep)["dropped"][name]
    assert name == "lr=1e-07"
    assert (entry["seeds"], decisions(sweep)["seeds"]) == (2, 4)
    assert 0 < entry["p"] < 0.05 / 3
    found = states(sweep)
    assert [found[n] for n in range(8)] == ["finished"] * 8
    assert [found[n] for n in range(8, 12)] == ["finished"] * 2 + ["spared"] * 2
    assert "lr=1e-07: dropped after 2 seeds, p " in output
    assert "race: 2 of 3 settings left after 4 seeds: lr=0.0004; lr=0.00041" in output
    assert "10 finished, 0 failed, 0 to do, 2 spared" in output
    code, output = run("compare", sweep, cwd=sweep.parent)
    assert code == 0
    assert "lr=1e-07: dropped after 2 seeds, p " in output
    assert "have not begun" not in output
    before = contents(sweep)
    code, output = run("resume", sweep, cwd=sweep.parent)
    assert (code, "0 to do, 2 spared" in output) == (0, True), output
    assert contents(sweep) == before


def test_the_pool_decides_the_same(undisturbed, settings, tmp_path):
    code, output = run("train", "-m", *settings, *GRID, *POOL, cwd=tmp_path)
    assert code == 0, output
    sweep = only_sweep(tmp_path)
    assert decisions(sweep) == decisions(undisturbed[0])
    assert states(sweep) == states(undisturbed[0])
    for job in sweep.glob("*/checkpoints"):
        assert weights(job.parent) == weights(undisturbed[0] / job.parent.name)


@pytest.mark.parametrize(
    ("number", "signum"),
    [
        (5, signal.SIGKILL),
        (6, signal.SIGTERM),
        pytest.param(5, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(6, signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_stopped_or_killed_it_ends_with_the_same_decisions(
    undisturbed, settings, signum, number, tmp_path
):
    """In the first round, and in the third."""
    process = start(
        "train", "-m", *settings, *GRID, *POOL, cwd=tmp_path, faults=f"{number:03d}:linger"
    )
    wait_until(lambda: reached(tmp_path, number), process)
    process.send_signal(signum)
    code, _ = end(process)
    assert code in (143, -9)
    sweep = only_sweep(tmp_path)
    assert decisions(sweep)["seeds"] == {5: 0, 6: 2}[number]
    code, output = run("resume", sweep, cwd=tmp_path)
    assert code == 0, output
    assert decisions(sweep) == decisions(undisturbed[0])
    assert states(sweep) == states(undisturbed[0])
    for job in sweep.glob("*/checkpoints"):
        assert weights(job.parent) == weights(undisturbed[0] / job.parent.name)


def test_tensorboard_tells_it_at_the_runs_that_got_no_more_seeds(undisturbed):
    noted = {}
    for path in sorted(undisturbed[0].glob("*/")):
        found = EventAccumulator(str(path)).Reload()
        if "race" in found.Tags()["tensors"]:
            (event,) = found.Tensors("race")
            assert found.SummaryMetadata("race").plugin_data.plugin_name == "text"
            noted[path.name[:3]] = event.tensor_proto.string_val[0].decode()
    assert noted.keys() == {"008", "009"}
    (line,) = {*noted.values()}
    assert re.fullmatch(r"lr=1e-07: dropped after 2 seeds, p [=<] 0\.\d+", line)


def test_a_failed_job_is_started_afresh_and_a_diverged_setting_is_out(settings, tmp_path):
    """Which of them it is, the race tells apart: one says nothing of its setting."""
    rates = (("0.05", "0"), ("0.051", "0"), ("100", "10"))  # the last multiplies weights by -999
    pairs = ",".join(f"optimizer.lr:{lr}+optimizer.weight_decay:{decay}" for lr, decay in rates)
    grid = ("optimizer=sgd", f"pair={pairs}", "seed=0,1,2", "race=on", *POOL)
    code, output = run("train", "-m", *settings, *grid, cwd=tmp_path, faults="001:raise")
    assert code == 1, output
    sweep = only_sweep(tmp_path)
    first, found = decisions(sweep), states(sweep)
    assert first["dropped"] == {"lr=100,weight_decay=10": {"seeds": 2, "p": None}}
    assert "lr=100,weight_decay=10: dropped after 2 seeds, a run diverged" in output
    assert first["seeds"] == 3
    assert [found[n] for n in range(9)] == [
        *("finished", "failed", "finished"),
        *["finished"] * 3,
        *("failed", "failed", "spared"),
    ]
    code, output = run("resume", sweep, "--retry-failed", cwd=tmp_path)
    assert code == 1, output  # what diverged has no result
    assert "going on with 1 of 9 jobs" in output
    assert (decisions(sweep), states(sweep)) == (first, {**found, 1: "finished"})
    assert "6 finished, 2 failed, 0 to do, 1 spared" in output


def test_killed_before_the_last_look_it_is_made_on_going_on(undisturbed):
    sweep = undisturbed[0]
    file = sweep / "sweep.json"
    text = file.read_text()
    document = json.loads(text)
    document["race"]["seeds"] = 3
    file.write_text(json.dumps(document))
    code, output = run("resume", sweep, cwd=sweep.parent)
    assert code == 0, output
    assert json.loads(file.read_text())["race"] == json.loads(text)["race"]


def test_survivors_go_on_from_the_largest_seed(settings, verbs, tmp_path):
    grid = last_of_each(*GRID, "seed=0,3,1")
    done = verbs.run(
        "mnist_lab.train", "-m", *settings, *grid, "race_max_seeds=5", "--plan", cwd=tmp_path
    )
    assert done.code == 0, done
    assert "race: 3 settings, 6 to 15 jobs; looks after 2 to 5 seeds, each at 1.25 %" in done.stdout
    assert "seed                   0, 3, 1, 4, 5" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["seed=0,1", "race=on"], "race=on: 2 seeds; needs 3 or more"),
        (["seed=0,1,2", "race=on", "data.val_fraction=0"], "data.val_fraction=0 leaves none"),
        (["race=perhaps"], "race=perhaps: must be true or false"),
        (["race=on", "race_max_seeds=4"], "race_max_seeds=4: must be at least the 5 seeds listed"),
        (["race_max_seeds=9"], "race_max_seeds=9: without a race; add race=on"),
        (["model.width=8", "race=on"], "race=on: there is one setting"),
        (["rce=on"], "rce=on: no such setting; did you mean race?"),
    ],
    ids=str,
)
def test_bad_races_are_refused(args, said, light_verbs, tmp_path):
    line = last_of_each("model.width=8,16", "seed=0,1,2,3,4", *args)
    done = light_verbs.run("mnist_lab.train", "-m", *line, cwd=tmp_path)
    assert (done.code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_diverged_runs_are_out_and_lost_ones_are_not():
    runs = {name: {0: 0.95, 1: 0.951, 2: 0.949} for name in "abc"}
    runs["d"] = {0: 0.95, 1: math.nan}
    runs["e"] = {}
    assert look(runs, [*"abcde"], num_looks=4, num_images=10_000) == {"d": None}


def test_the_real_sweep_raced():
    """As `python -m benchmarks.racing`, on the first of its draws."""
    trials = 60
    runs, kept = racing.real(trials=trials)
    assert runs <= 38
    assert kept * trials / 100 >= stats.binom.ppf(0.001, trials, 0.95)


def test_null_races_seldom_lose_a_given_best():
    _, lost, _ = statistics.race(statistics.SAME, statistics.SDS, last=5, trials=200)
    assert lost * 2 <= stats.binom.isf(0.001, 200, 0.026)
