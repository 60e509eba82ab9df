"""What a difference says of new images: against a slow version, by simulation, in words."""

import numpy as np
import pytest
from test_compare import finished, studied

from mnist_lab.run.predictions import Predictions, read_predictions, write_predictions
from mnist_lab.study.images import image_estimate
from mnist_lab.study.statistics import difference


def test_the_two_way_variance_against_a_loop():
    """Expected mean squares of a crossed design, image by image and seed by seed."""
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 4, 50)) < np.array([0.9, 0.8])[:, None, None]
    found = image_estimate(a, b)
    table = [[float(a[s, x]) - float(b[s, x]) for x in range(50)] for s in range(4)]
    whole = sum(map(sum, table)) / 200
    seeds = [sum(row) / 50 for row in table]
    images = [sum(row[x] for row in table) / 4 for x in range(50)]
    of_seeds = sum((m - whole) ** 2 for m in seeds) / 3 / 4
    of_images = sum((m - whole) ** 2 for m in images) / 49 / 50
    residual = sum(
        (table[s][x] - seeds[s] - images[x] + whole) ** 2 for s in range(4) for x in range(50)
    )
    variance = max(of_seeds + of_images - residual / 3 / 49 / 200, of_seeds, of_images)
    assert found.mean == pytest.approx(whole)
    assert found.error**2 == pytest.approx(variance)
    assert found.df == pytest.approx(variance**2 / (of_seeds**2 / 3 + of_images**2 / 49))


@pytest.mark.parametrize("n", [3, 10])
def test_intervals_cover_new_images_where_those_over_seeds_do_not(n: int):
    """Crossed random effects: some images are harder for one setting, whatever the seed."""
    rng = np.random.default_rng(n)
    num_trials, held, held_by_seeds = 600, 0, 0
    of_image = rng.normal(0, 0.05, 200_000)  # the population; their mean is the truth
    truth = 0.02
    for _ in range(num_trials):
        images = of_image[rng.integers(of_image.size, size=1000)] - of_image.mean()
        lead = truth + rng.normal(0, 0.006, (n, 1)) + images  # P(a right) - P(b right)
        a, b = rng.random((n, 1000)) < 0.9 + lead / 2, rng.random((n, 1000)) < 0.9 - lead / 2
        gain = image_estimate(a, b).at(0.95, p=None)
        held += gain.low <= truth <= gain.high
        over_seeds = difference(*(dict(enumerate(x.mean(axis=1))) for x in (a, b)), level=0.95)
        held_by_seeds += over_seeds.low <= truth <= over_seeds.high
    assert 0.93 <= held / num_trials <= 0.985
    assert held >= held_by_seeds


def answered(path, *overrides, seed, right, identity="images"):
    """A finished run that has stored its answers."""
    counts = {"val/num_images": right.size, "val/num_correct": int(right.sum())}
    finished(path, *overrides, seed=seed, val_acc=round(float(right.mean()), 6), **counts)
    labels = np.zeros(right.size, np.uint8)
    write_predictions(path, {"val": Predictions((~right).astype(np.uint8), labels, identity)})


def two_settings(folder, *, lead, identities=("images",) * 3, num_images=1000):
    """Two widths by three seeds; the wider one is right on `lead` images more, the same ones."""
    for seed, identity in enumerate(identities):
        base = np.arange(num_images) >= 100
        base[200 + seed] = False
        for width, more in ((16, 0), (64, lead)):
            right = base.copy()
            right[:more] = True
            right[300 + seed * (width == 64)] = False
            overrides = (f"model.width={width}",)
            answered(
                folder / f"{width}_{seed}", *overrides, seed=seed, right=right, identity=identity
            )


def test_words_say_which_claim_holds_for_which_images(tmp_path):
    two_settings(tmp_path / "few", lead=4)
    found = studied(tmp_path / "few")
    assert found.ranking.num_images == 1000
    assert found.verdict[1].startswith("It beats the next and baseline, width=16, by 0.")
    assert found.verdict[2].startswith("That holds for new seeds on these 1,000 images; for new")
    assert found.verdict[2].endswith("which leaves it open.")
    gain, num_images = found.new_images["width=16"]
    assert num_images == 1000
    assert gain.low < 0 < found.ranking.against[0].gain.low
    two_settings(tmp_path / "many", lead=90)
    found = studied(tmp_path / "many")
    assert found.verdict[2].startswith("For new images as well as new seeds: 9.0")
    assert found.verdict[2].endswith("so it holds for them too.")


def test_without_answers_to_the_same_images_nothing_is_said(tmp_path):
    two_settings(tmp_path / "apart", lead=90, identities=("one", "two", "one"))
    assert studied(tmp_path / "apart").new_images == {}
    two_settings(tmp_path / "damaged", lead=90)
    assert studied(tmp_path / "damaged").new_images
    for path in (tmp_path / "damaged").glob("64_*/predictions.npz"):
        path.write_bytes(path.read_bytes()[:200])
    assert studied(tmp_path / "damaged").new_images == {}
    for seed in range(3):  # as runs of before
        for width in (16, 64):
            path = tmp_path / "former" / f"{width}_{seed}"
            finished(path, f"model.width={width}", seed=seed, val_acc=0.9 + seed / 100)
    assert studied(tmp_path / "former").new_images == {}


@pytest.mark.parametrize(
    "arrays",
    [
        {"val": np.zeros(1000, np.uint8)},
        {"val": np.array([{}] * 1000), "val_labels": np.zeros(1000, np.uint8)},
        {"val": np.array(["0"] * 1000), "val_labels": np.zeros(1000, np.uint8)},
        {"val": np.zeros(1000, np.uint8), "val_labels": np.zeros(999, np.uint8)},
        {"val": np.zeros((2, 500), np.uint8), "val_labels": np.zeros((2, 500), np.uint8)},
        {"val": np.zeros(0, np.uint8), "val_labels": np.zeros(0, np.uint8)},
        {"val": np.zeros(20_000_000, np.uint8), "val_labels": np.zeros(20_000_000, np.uint8)},
    ],
)
def test_files_that_are_no_predictions_are_none(tmp_path, arrays):
    np.savez_compressed(tmp_path / "predictions.npz", val_identity=np.array("x"), **arrays)
    assert read_predictions(tmp_path, "val") is None


def test_answers_that_are_not_those_of_the_metric_do_not_count(tmp_path):
    two_settings(tmp_path, lead=90)
    file = tmp_path / "64_0" / "predictions.npz"
    for path in tmp_path.glob("16_*/predictions.npz"):
        path.write_bytes(file.read_bytes())
    assert studied(tmp_path).new_images == {}
