"""Draws docs/handwriting.md: what four networks make of digits as people send them.

`python docs/handwriting.py` trains each recipe with a sixth of the training digits kept for
validation, unless --runs has it already, and asks about pictures of those: tests/redrawn.py draws
them.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from redrawn import KINDS, NO_DIGITS, redrawn, training_digits  # noqa: E402

from mnist_lab.pictures.digits import find_digits  # noqa: E402
from mnist_lab.pictures.picture import PictureError  # noqa: E402

RECIPES = ("mlp_512", "cnn_12_20", "fast_994", "handwriting")
KEPT = "data.val_fraction=0.16666666666666666"  # the last 10,000 training digits
WITHOUT_DIGIT = {kind.__name__ for kind in NO_DIGITS}
SIDE, COLUMNS = 150, 8  # pixels of a picture in the figure, and pictures in a row
OUTCOMES = ("right", "wrong", "unsure")


@dataclass
class Seen:
    """What was found in one picture.

    Attributes:
        images: uint8 (28, 28), of each digit that was found.
        labels: what each is; None where there is no digit.
        touching: of which it is said that they are several that touch.
        missed: a digit of the picture was not found, not even as one of those.
        shown: for the figure: the picture, small; of the first of a kind.
    """

    images: list[np.ndarray]
    labels: list[int | None]
    touching: list[bool]
    missed: bool
    shown: Image.Image | None = None


def look(kind: str, count: int, seed: int) -> list[Seen]:
    images, labels = training_digits(max(1000, count))
    return [look_at(redrawn(kind, images, labels, k, seed=seed), k == 0) for k in range(count)]


def look_at(drawn: Any, is_first: bool) -> Seen:
    """Find the digits, and match each true one with the found one whose middle lies in its box."""
    try:
        found = find_digits(drawn.picture)
    except PictureError:
        found = []
    labels: list[int | None] = [None] * len(found)
    missed = False
    for label, box in zip(drawn.labels, drawn.boxes, strict=True):
        inside = [k for k, each in enumerate(found) if is_within(each.box, box)]
        for k in inside[:1]:
            labels[k] = label
        missed |= not inside and not any(
            each.touching and is_within((*middle(box), 0, 0), each.box) for each in found
        )
    shown = small(drawn.picture) if is_first else None
    touching = [each.touching for each in found]
    return Seen([each.image for each in found], labels, touching, missed, shown)


def is_within(box: tuple[float, ...], true: tuple[float, ...]) -> bool:
    return all(true[k] <= middle(box)[k] <= true[k] + true[k + 2] for k in (0, 1))


def middle(box: tuple[float, ...]) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def small(picture: np.ndarray) -> Image.Image:
    image = Image.fromarray(picture)
    factor = SIDE / max(image.size)
    size = [max(1, round(n * factor)) for n in image.size]
    return image.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX)


def outcome(seen: Seen, answers: np.ndarray, unsure: np.ndarray) -> str:
    """Of a picture in which something was found.

    Wrong: of anything a wrong answer that is not unsure, or a digit that was not found; else
    unsure: of a digit, or of all where there is none; else right. Unsure is also what is said to be
    several that touch.
    """
    unsure = unsure | np.array(seen.touching)
    is_digit = np.array([label is not None for label in seen.labels])
    wrong = np.array([label != answer for label, answer in zip(seen.labels, answers, strict=True)])
    if seen.missed or (wrong & ~unsure).any():
        return "wrong"
    return "unsure" if unsure[is_digit].any() or not is_digit.any() else "right"


def trained(recipe: str, runs: Path) -> Path:
    path = runs / recipe
    if not (path / "metrics.json").exists():
        command = [sys.executable, "-m", "mnist_lab.train", f"experiment={recipe}", KEPT]
        subprocess.run([*command, "threads=2", f"hydra.run.dir={path}"], check=True)
    return path


def counted(path: Path, kinds: dict[str, list[Seen]]) -> dict[str, dict[str, int]]:
    """Of each kind how many pictures come out how."""
    import torch

    from mnist_lab.evaluation.unsure import load_unsure
    from mnist_lab.run.stored import StoredRun

    run = StoredRun.find(path, checkpoint="last")
    model, _ = run.load()
    unsure = load_unsure(run, model)
    table = {}
    for kind, pictures in kinds.items():
        read = [each for each in pictures if each.images]
        images = [image for each in read for image in each.images]
        stacked = torch.from_numpy(np.stack(images or [np.zeros((28, 28), np.uint8)])).unsqueeze(1)
        answers = model.predict(stacked).argmax(1).numpy()
        are_unsure = unsure(stacked)
        cuts = np.cumsum([len(each.images) for each in read])[:-1]
        parts = zip(read, np.split(answers, cuts), np.split(are_unsure, cuts), strict=True)
        results = [outcome(*part) for part in parts] if images else []
        table[kind] = {name: results.count(name) for name in OUTCOMES}
    return table


def figure(kinds: dict[str, list[Seen]]) -> Image.Image:
    """Of each kind the first picture, and at its right corner the 28x28 that the networks saw."""
    rows = -(-len(kinds) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (SIDE + 8), rows * (SIDE + 50)), 255)
    draw = ImageDraw.Draw(sheet)
    for number, (kind, pictures) in enumerate(kinds.items()):
        x, y = number % COLUMNS * (SIDE + 8) + 4, number // COLUMNS * (SIDE + 50)
        first = pictures[0]
        draw.text((x, y + 2), kind.replace("_", " "), 0)
        sheet.paste(first.shown, (x, y + 16))
        for place, image in enumerate(first.images[:5]):
            sheet.paste(Image.fromarray(255 - image), (x + 30 * place, y + SIDE + 18))
    return sheet


def page(
    kinds: dict[str, list[Seen]],
    tables: dict[str, dict[str, dict[str, int]]],
    count: int,
    seed: int,
) -> str:
    head = ["kind", "not read", *RECIPES]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for kind, pictures in kinds.items():
        unread = sum(not each.images for each in pictures)
        cells = [" / ".join(str(tables[name][kind][k]) for k in OUTCOMES) for name in RECIPES]
        lines.append(f"| {' | '.join([kind.replace('_', ' '), str(unread), *cells])} |")
    with_digits = [kind for kind in kinds if kind not in WITHOUT_DIGIT]
    total = count * len(with_digits)
    means = [
        " / ".join(
            f"{100 * sum(tables[name][kind][k] for kind in with_digits) / total:.1f}"
            for k in OUTCOMES
        )
        for name in RECIPES
    ]
    unread = sum(not each.images for kind in with_digits for each in kinds[kind])
    share = f"{100 * unread / total:.1f}"
    lines.append(f"| **mean of kinds with digits, %** | {share} | {' | '.join(means)} |")
    return f"""# Digits as people send them

Validation digits redrawn in {len(kinds)} settings by `tests/redrawn.py`, {count} pictures each,
and what four networks make of them, trained with the last 10,000 training digits kept apart (one
seed, {date.today().isoformat()}). All of it, the training included, is made by

```
python docs/handwriting.py --count {count} --seed {seed}
```

Each cell: **right / wrong / unsure**. Wrong: a wrong answer that is not said to be unsure,
something else taken for a digit, or a digit missed. Unsure: the network is unsure of one of the
digits, or one is reported as several that touch. "Not read": no digit was found, so no network was
asked; of pictures without a digit ({", ".join(sorted(WITHOUT_DIGIT))}) that is the right
result, and unsure the next best.

{chr(10).join(lines)}

The first picture of each kind, and below it the 28x28 that the networks saw of it:

![A picture of each kind, and what the networks saw](images/handwriting.png)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("outputs/handwriting"))
    parser.add_argument("--count", type=int, default=100, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, metavar="KIND")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    runs = {recipe: trained(recipe, options.runs) for recipe in RECIPES}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        looked = pool.map(
            functools.partial(look, count=options.count, seed=options.seed), options.kinds
        )
        kinds = dict(zip(options.kinds, looked, strict=True))
    tables = {recipe: counted(path, kinds) for recipe, path in runs.items()}
    figure(kinds).save(options.out / "images" / "handwriting.png", optimize=True)
    (options.out / "handwriting.md").write_text(page(kinds, tables, options.count, options.seed))


if __name__ == "__main__":
    main()
