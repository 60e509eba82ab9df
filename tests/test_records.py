"""Records: the judge against scipy, the page against the runs, a record made in real processes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from processes import environment, last_of_each
from scipy import stats

from benchmarks.process import ROOT
from mnist_lab.settings.build import Rehearsal
from mnist_lab.settings.compose import checked, compose
from records import claim as claim_module
from records import page as page_module
from records import run as run_module
from records.claim import ALPHA, FOLDER, above, claims, judge, read_claim
from records.page import page, records

LONGEST_S = 360  # of a run
OFFICIAL = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
PUBLISHED = records()
CLAIMS = claims()


def test_the_test_is_scipys():
    rng = np.random.default_rng(0)
    for num_runs, mark in ((2, 0.5), (5, -0.2), (10, 0.0), (10, 0.4)):
        values = rng.normal(0.3, 1, num_runs)
        found = above(list(values), mark)
        expected = stats.ttest_1samp(values, mark, alternative="greater")
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert (found.mean, found.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert above([0.991] * 5, 0.99).p == 0.0
    assert above([0.99] * 5, 0.99).p == 1.0
    # five that agree to an image, one above the mark, are not certain: each is rounded
    assert 1e-6 < above([0.9901] * 5, 0.99, floor=1e-8 / 12).p < ALPHA
    with pytest.raises(ValueError, match="two or more"):
        above([0.99], 0.9)


def runs_of(accs, seconds, num_params=100):
    return [
        {"seed": k, "test/acc": acc, "seconds": second, "num_params": num_params}
        for k, (acc, second) in enumerate(zip(accs, seconds, strict=True))
    ]


def made_claim(tmp_path, **changes):
    content = {
        "track": "quick",
        "settings": ["experiment=fast_99"],
        "seeds": [0, 1, 2],
        "acc": 0.99,
        "seconds": 3.0,
        "num_params": 100,
        "elsewhere": "none",
    }
    path = tmp_path / "made" / "record.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content | changes))
    return read_claim(path)


@pytest.mark.parametrize(
    ("accs", "seconds", "num_params", "holds"),
    [
        ([0.9921, 0.9920, 0.9922], [2.0, 2.1, 2.2], 100, True),
        ([0.9901, 0.9930, 0.9890], [2.0, 2.1, 2.2], 100, False),  # scattered
        ([0.9899, 0.9898, 0.9897], [2.0, 2.1, 2.2], 100, False),  # below
        ([0.9921, 0.9920, 0.9922], [2.0, 2.1, 3.9], 100, False),  # in time by chance
        ([0.9921, 0.9920, 0.9922], [2.0, 2.1, 2.2], 101, False),  # too large
    ],
)
def test_a_mark_holds_where_every_part_of_it_does(tmp_path, accs, seconds, num_params, holds):
    verdict = judge(made_claim(tmp_path), runs_of(accs, seconds, num_params))
    assert verdict.holds is holds


def test_what_is_not_claimed_is_not_judged(tmp_path):
    claim = made_claim(tmp_path, seconds=None, num_params=None)
    assert judge(claim, runs_of([0.9921, 0.9920, 0.9922], [100.0, 2.0, 999.0], 10**9)).holds


def test_runs_of_other_seeds_are_no_evidence(tmp_path):
    with pytest.raises(ValueError, match=r"seeds \[0, 1\], not \[0, 1, 2\]"):
        judge(made_claim(tmp_path), runs_of([0.99, 0.99], [1.0, 1.0]))


def test_the_page_says_what_the_runs_say():
    assert (FOLDER / "README.md").read_text() == page(PUBLISHED)


def test_every_claim_has_runs():
    assert {one.claim.name for one in PUBLISHED} == {*CLAIMS}


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.claim.name)
def test_the_runs_are_those_of_the_settings(one):
    """Of the settings as they are now: a recipe that changes needs its record run anew."""
    config = checked(compose([*one.claim.settings, "seed=0"]))
    assert config["data"]["val_fraction"] == 0  # all training images, and nothing to choose by
    assert config["threads"] <= 2
    for run in one.found["runs"]:
        assert run["experiment"] == config["choices"]["experiment"]
        assert run["num_params"] == Rehearsal().num_params(config)
        assert run["epochs"] == run["max_epochs"] == config["trainer"]["max_epochs"]
        assert run["precision_asked"] == config["trainer"]["precision"]
        assert run["threads"] == config["threads"]
        assert run["data_sha256"] == OFFICIAL
        assert run["test/num_images"] == 10_000
        assert run["test/acc"] == run["test/num_correct"] / 10_000
        assert 0 < run["seconds"] <= LONGEST_S
    assert len(one.claim.seeds) == (10 if one.verdict.seconds.mean <= 60 else 5)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_can_be_met(name):
    claim = CLAIMS[name]
    assert 0.98 < claim.acc < 1
    assert len({*claim.seeds}) == len(claim.seeds)
    assert claim.track
    assert claim.elsewhere


@pytest.mark.slow
def test_a_record_goes_on_where_it_stopped(tmp_path, tiny, monkeypatch, capsys):
    """Two of three seeds first; then the third alone is trained, and the mark judged."""
    folder = tmp_path / "records"
    folder.mkdir()
    settings = last_of_each(*tiny, "data.val_fraction=0", "trainer.max_epochs=1")
    claim = made_claim(
        folder, settings=settings, seeds=[0, 1], acc=0.01, seconds=None, num_params=None
    )
    for module in (claim_module, page_module, run_module):
        monkeypatch.setattr(module, "FOLDER", folder)
    monkeypatch.setattr(run_module, "REFERENCE", settings)
    monkeypatch.setattr(run_module, "REFERENCE_TIMES", 1)
    monkeypatch.setattr(page_module, "claims", lambda: claims(folder))
    out = tmp_path / "out"
    run_module.record(claim, out, publish=False, busy=True)
    trained = out / "made" / "seed_0" / "metrics.json"
    before = trained.stat().st_mtime_ns
    assert not (folder / "README.md").exists()

    claim = made_claim(
        folder, settings=settings, seeds=[0, 1, 2], acc=0.01, seconds=None, num_params=None
    )
    assert run_module.record(claim, out, publish=True, busy=True)
    assert trained.stat().st_mtime_ns == before
    found = json.loads((folder / "made" / "runs.json").read_text())
    assert [run["seed"] for run in found["runs"]] == [0, 1, 2]
    assert found["runs"][0]["test/acc"] == json.loads(trained.read_text())["test/acc"]
    assert len(found["reference_seconds"]) == run_module.REFERENCE_TIMES
    assert "made: " in capsys.readouterr().out
    assert "| [made](made) | quick |" in (folder / "README.md").read_text()
    assert (folder / "ladder.png").stat().st_size > 10_000


def test_a_run_that_fails_is_no_evidence(tmp_path):
    with pytest.raises(SystemExit, match=r"seed_0: ended with 2"):
        run_module.trained(["model.width=-1"], tmp_path / "seed_0", 0, busy=True)


def test_an_unknown_record_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "records.run", "fast_98"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "fast_98" in done.stderr
    assert "seconds_99" in done.stderr
