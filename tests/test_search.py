"""Searches: settings asked for by what those before them have reached, whoever disturbs it."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from processes import last_of_each, run_cold
from sweeps import contents, end, only_sweep, reached, run, start, states, status, wait_until
from tiny_run import write_data_set

from benchmarks import search as benchmark
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.search import applied, new_params, refuse_without_optuna
from mnist_lab.sweep.space import DRAWN, Space, Trial
from mnist_lab.ui.errors import Refused

optuna = pytest.importorskip("optuna", reason="needs the extra search")
from optuna.storages.journal import JournalFileBackend, JournalStorage  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

POOL = ("hydra/launcher=pool", "hydra.launcher.slots=2")
SEARCH = (
    "model.width=interval(4,64)",
    "optimizer=sgd,adam",
    "optimizer.lr=interval(1e-5,1)",
    "seed=0,1",
    "search=tpe",
    "search_trials=12",
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    data = tmp_path_factory.mktemp("idx") / "data"
    write_data_set(data, num_train=600, num_test=50, seed=0)
    fixed = ("trainer.max_epochs=2", "threads=1", "data.batch_size=16")
    return ("data=idx_folder", f"data.root={data}", *fixed)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, settings):
    folder = tmp_path_factory.mktemp("search")
    code, output = run("train", "-m", *settings, *SEARCH, cwd=folder)
    assert code == 0, output
    return only_sweep(folder), output


def study_of(sweep):
    backend = JournalFileBackend(str(sweep / "search.journal"))
    return optuna.load_study(study_name="search", storage=JournalStorage(backend))


def document(sweep):
    return json.loads((sweep / "sweep.json").read_text())


def means(sweep):
    """Of each trial the mean validation accuracy of its seeds, from the runs themselves."""
    found = {}
    for name, job in document(sweep)["jobs"].items():
        metrics = json.loads((sweep / name / "metrics.json").read_text())
        found.setdefault(job["number"] // 2, []).append(metrics["val/acc"])
    assert all(len(values) == 2 for values in found.values())
    return [sum(found[number]) / 2 for number in sorted(found)]


def told(sweep):
    """How often each trial's end stands in the storage."""
    lines = [json.loads(line) for line in (sweep / "search.journal").read_text().splitlines()]
    ended = [line["trial_id"] for line in lines if line["op_code"] == 6]
    born = sum(line["op_code"] == 4 for line in lines)
    return born, ended


def test_a_search_tries_so_many_settings_and_everything_says_so(undisturbed):
    sweep, output = undisturbed
    assert states(sweep) == dict.fromkeys(range(24), "finished")
    study = study_of(sweep)
    assert [trial.value for trial in study.trials] == pytest.approx(means(sweep))
    assert len({json.dumps(trial.params) for trial in study.trials}) == 12
    for trial, asked in zip(study.trials, document(sweep)["search"]["asked"], strict=True):
        assert trial.params == asked
        config = next(sweep.glob(f"{2 * trial.number:03d}_*/config.yaml")).read_text()
        assert f"lr: {asked['optimizer.lr']}\n" in config
        assert f"width: {asked['model.width']}\n" in config
    best = study.best_trial
    assert (
        f"search: 12 of 12 settings have a result; best so far width={best.params['model.width']}"
        in output
    )
    assert f"{100 * best.value:.2f} % in validation, 2 seeds" in output
    code, output = run("compare", sweep, cwd=sweep.parent)
    assert code == 0
    assert "a search" in output
    before = contents(sweep)
    code, output = run("resume", sweep, cwd=sweep.parent)
    assert (code, "24 finished, 0 failed, 0 to do" in output) == (0, True), output
    assert contents(sweep) == before


def test_the_same_results_in_the_same_order_lead_to_the_same_questions(undisturbed):
    """What was asked is a function of what was told, the number of the trial, and sample_seed."""
    sweep, _ = undisturbed
    stored = document(sweep)["search"]
    space = Space({name: [tuple(row) for row in rows] for name, rows in stored["axes"].items()})
    values = means(sweep)
    trials = [Trial(params) for params in stored["asked"]]
    for number in range(DRAWN):
        assert next(space.proposals(trials[:number], seed=0)) == trials[number].params
    for number in range(DRAWN, 12):
        known = [Trial(trials[n].params, values[n]) for n in range(number)]
        assert next(space.proposals(known, seed=0)) == trials[number].params
        assert next(space.proposals(known, seed=1)) != trials[number].params


@pytest.mark.parametrize(
    ("number", "launcher"),
    [
        pytest.param(7, POOL, marks=pytest.mark.slow),
        (21, POOL),
        pytest.param(21, (), marks=pytest.mark.slow),
    ],
    ids=["drawn", "asked", "in turn"],
)
def test_killed_it_goes_on_with_the_same_trials_each_told_once(
    undisturbed, settings, number, launcher, tmp_path
):
    """While settings that were drawn run, and while one runs that was asked for."""
    process = start(
        "train", "-m", *settings, *SEARCH, *launcher, cwd=tmp_path, faults=f"{number:03d}:linger"
    )
    wait_until(lambda: reached(tmp_path, number), process)
    process.send_signal(signal.SIGKILL)
    end(process)
    sweep = only_sweep(tmp_path)
    asked = document(sweep)["search"]["asked"]
    assert len(asked) >= {7: 10, 21: 11}[number]  # the other slot may ask meanwhile
    assert study_of(sweep).trials[0].params == asked[0]  # from the start, for whoever looks
    code, output = run("resume", sweep, cwd=tmp_path)
    assert code == 0, output
    assert f"search: {12 - len(asked)} settings are still to be asked for" in output
    assert document(sweep)["search"]["asked"][: len(asked)] == asked
    assert states(sweep) == dict.fromkeys(range(24), "finished")
    assert [trial.value for trial in study_of(sweep).trials] == pytest.approx(means(sweep))
    born, ended = told(sweep)
    assert born == 12
    assert len(ended) == len({*ended})
    if not launcher:
        assert document(sweep)["search"] == document(undisturbed[0])["search"]


def test_several_are_asked_at_once(settings, tmp_path):
    """A slot that is free asks, while another setting still runs."""
    line = last_of_each(*SEARCH, "seed=0", "search_trials=12")
    process = start("train", "-m", *settings, *line, *POOL, cwd=tmp_path, faults="010:linger")
    wait_until(lambda: reached(tmp_path, 10), process)
    sweep = only_sweep(tmp_path)
    wait_until(lambda: status(sweep, 11).get("state") == "finished", process)
    wait_until(lambda: study_of(sweep).trials[11].value is not None, process)
    assert study_of(sweep).trials[10].state == TrialState.RUNNING
    process.send_signal(signal.SIGTERM)
    code, output = end(process)
    assert (code, "to do" in output) == (143, True)


def test_a_failed_setting_is_told_as_failed_and_may_be_tried_again(settings, tmp_path):
    line = last_of_each(*SEARCH, "search_trials=11")
    code, output = run("train", "-m", *settings, *line, cwd=tmp_path, faults="003:raise")
    assert code == 1, output
    sweep = only_sweep(tmp_path)
    assert [t.number for t in study_of(sweep).trials if t.state == TrialState.FAIL] == [1]
    code, output = run("resume", sweep, "--retry-failed", cwd=tmp_path)
    assert code == 0, output
    assert [trial.value for trial in study_of(sweep).trials] == pytest.approx(means(sweep))


@pytest.mark.parametrize("damage", ["gone", "torn", "foreign"])
def test_a_storage_that_was_lost_is_written_anew(undisturbed, damage):
    sweep = undisturbed[0]
    file = sweep / "search.journal"
    whole = file.read_bytes()
    values = [trial.value for trial in study_of(sweep).trials]
    if damage == "gone":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(whole[:900] + whole[1000:])
    else:
        file.unlink()
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file))), study_name="search"
        )
        study.ask()
    code, output = run("resume", sweep, cwd=sweep.parent)
    assert code == 0, output
    assert [trial.value for trial in study_of(sweep).trials] == values


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["search_trials=null"], "search=tpe: how long? Add search_trials=N"),
        (["search_trials=0"], "search_trials=0: must be a whole number from 1"),
        (["search=tpee"], "search=tpee: must be tpe"),
        (["search=null"], "search_trials=12: no search; add search=tpe"),
        (["race=on"], "search=tpe: not together with race"),
        (["sample=3"], "search=tpe: not together with sample"),
        (["data.val_fraction=0"], "search=tpe: decides by validation accuracy"),
        (["data.val_fraction=0.1,0.2"], "every setting needs the same images and the same valid"),
        (["optimizer.lr=interval(1,0.1)"], "is empty; must go up"),
        (["serch=tpe"], "serch=tpe: no such setting; did you mean search?"),
        (["optimizer=sgd,adm"], "optimizer=adm: no such optimizer"),
        (["optimizer.momentum=interval(0,2)"], "2 must be a number from 0"),
    ],
    ids=str,
)
def test_bad_searches_are_refused(args, said, light_verbs, tmp_path):
    line = last_of_each(*SEARCH, *args)
    done = light_verbs.run("mnist_lab.train", "-m", *line, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) <= 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def changed(sweep, folder, change):
    """A copy of a finished search that has one more setting to ask for, and a change."""
    shutil.copytree(sweep, folder / "s")
    stored = document(sweep)
    stored["search"]["trials"] = 13
    change(stored)
    (folder / "s/sweep.json").write_text(json.dumps(stored))
    return folder / "s"


def test_settings_to_come_are_as_those_before(undisturbed, tmp_path):
    """Here a default that conf/ has otherwise now."""
    sweep = changed(undisturbed[0], tmp_path, lambda s: s["settings"].update({"model.depth": 2}))
    code, output = run("resume", sweep, cwd=tmp_path)
    assert (code, len(output.splitlines())) == (2, 1)
    assert "its settings have model.depth=2, which is 1 in conf/ now" in output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"axes": {"hydra.run.dir": [["hydra.run.dir=x"]]}}, "not allowed there"),
        ({"axes": {"model": [["model._target_=os.system"]]}}, "os.system"),
        (
            {"axes": {"model": [["+model.inner._target_=os.system"]]}},
            "that this lab builds by itself",
        ),
        ({"axes": 3}, "lacks a proper `search`"),
        ({"asked": [{"optimizer": "adamw"}]}, "is not in model.width=interval(4,64)"),
        ({"seeds": [["hydra.sweep.dir=x"]]}, "not allowed there"),
        ({"seeds": []}, "lacks a proper `search`"),
        ({"seed": "x"}, "lacks a proper `search`"),
    ],
    ids=str,
)
def test_what_is_stored_is_data(undisturbed, change, said, tmp_path, light_verbs):
    sweep = changed(undisturbed[0], tmp_path, lambda stored: stored["search"].update(change))
    before = contents(sweep)
    done = light_verbs.run("mnist_lab.resume", str(sweep), cwd=tmp_path)
    assert (done.code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr
    assert contents(sweep) == before


def test_a_dashboard_opens_it(undisturbed):
    pytest.importorskip("optuna_dashboard")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        Path(sys.executable).with_name("optuna-dashboard"),
        undisturbed[0] / "search.journal",
    ]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}/api/studies"
        (study,) = json.loads(wait_until(lambda: answer(address), process))["study_summaries"]
        assert (study["study_name"], study["directions"]) == ("search", ["maximize"])
        trials = json.loads(answer(f"{address}/{study['study_id']}"))["trials"]
        assert [t["state"] for t in trials] == ["Complete"] * 12
    finally:
        process.kill()
        process.wait()


def answer(address):
    try:
        with urllib.request.urlopen(address) as page:
            return page.read()
    except urllib.error.URLError:
        return None


def test_it_says_which_extra_it_needs(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Refused, match=r"needs optuna; pip install 'mnist_lab\[search\]'"):
        refuse_without_optuna("search=tpe")


PLANNED = """
import sys
from mnist_lab.train import main
try:
    main()
finally:
    print("optuna" in sys.modules)
"""


def test_the_plan_tells_what_is_drawn_and_optuna_comes_for_searches_only(tmp_path):
    done = run_cold("-c", PLANNED, "-m", *SEARCH, "--plan", cwd=tmp_path)
    assert (done.code, done.stdout.splitlines()[-1]) == (0, "True"), done
    assert "search: 12 settings; the first 10 are drawn and known" in done.stdout
    assert "24 jobs in outputs/sweeps/mlp/" in done.stdout
    done = run_cold("-c", PLANNED, "-m", "model.width=8,16", "--plan", cwd=tmp_path)
    assert (done.code, done.stdout.splitlines()[-1]) == (0, "False"), done
    assert list(tmp_path.iterdir()) == []


def test_the_line_of_a_script_starts_and_goes_on(settings, tmp_path):
    line = [*last_of_each(*SEARCH, "search_trials=2", "seed=0"), "hydra.sweep.dir=s", "--resume"]
    process = start("train", "-m", *settings, *line, cwd=tmp_path, faults="001:linger")
    wait_until(lambda: (tmp_path / "s").exists() and status(tmp_path / "s", 1), process)
    process.send_signal(signal.SIGKILL)
    end(process)
    code, output = run("train", "-m", *settings, *line, "sample_seed=1", cwd=tmp_path)
    assert (code, "holds a search of other seed" in output) == (2, True), output
    code, output = run("train", "-m", *settings, *line, cwd=tmp_path)
    assert (code, "2 finished, 0 failed, 0 to do" in output) == (0, True), output
    code, output = run("train", "-m", *settings, "model.width=8,16", *line[-2:], cwd=tmp_path)
    assert (code, "one of the two sweeps is a search" in output) == (2, True), output


def test_choices_that_run_out_and_settings_that_apply_to_some():
    """Two settings of model=linear are one: it has no width."""
    rows = {"model": [("model=mlp",), ("model=linear",)]}
    space = Space({**rows, "model.width": [("model.width=8",), ("model.width=16",)]})
    trials = []
    while params := new_params(space, trials, Composer(), 0):
        trials.append(Trial(params, 0.5))
    tried = sorted(applied(space.row(trial.params), Composer()) for trial in trials)
    assert tried == [
        ("model=linear",),
        ("model=mlp", "model.width=16"),
        ("model=mlp", "model.width=8"),
    ]


@pytest.mark.slow
def test_a_search_reaches_with_25_settings_what_drawing_reaches_with_50():
    """As `python -m benchmarks.search`, one asked at a time."""
    found, drawn = benchmark.compared(trials=50)
    assert np.median(found[:, 24]) <= np.median(drawn[:, 49])
    assert np.mean(found[:, 24]) < np.mean(drawn[:, 24])


@pytest.mark.slurm
@pytest.mark.skipif(find_spec("hydra_plugins.hydra_submitit_launcher") is None, reason="the extra")
def test_other_launchers_run_rounds(settings, tmp_path):
    line = last_of_each(*SEARCH, "seed=0", "search_trials=12", "trainer.max_epochs=1")
    launcher = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10")
    code, output = run("train", "-m", *settings[:2], *line, *launcher, cwd=tmp_path)
    assert code == 0, output
    sweep = only_sweep(tmp_path)
    assert states(sweep) == dict.fromkeys(range(12), "finished")
    assert [trial.state for trial in study_of(sweep).trials] == [TrialState.COMPLETE] * 12
