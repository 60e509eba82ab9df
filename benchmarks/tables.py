"""The tables of the page, one part for each kind of section."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.ratios import (
    accuracies_agree,
    cores_used,
    epoch_seconds,
    geometric_mean,
    paired_ratio,
    spread,
)
from benchmarks.recipes import PLANS

Results = Mapping[str, Any]
Section = Mapping[str, Any]

FLOOR_AIM, SMALL_FLOOR_AIM = 1.15, 1.3  # lab / floor at most
SMALL = ("mlp_100", "mlp_25x2")
TEMPLATE_AIM = 3.0  # template / lab at least, for the MLPs
KERAS_MEAN_AIM, KERAS_AIM = 1.4, 1.0  # Keras / lab at least
SWEEP_AIM = 3.0  # lab's runs a minute / Keras's at least
ANSWER_AIM_S = 1.0  # help, settings, refusal at most
FIRST_STEP_AIM_S = 1.5  # more than importing torch and lightning at most
NEXT_JOB_AIM_S = 0.5  # beyond its training at most
MEMORY_AIM = 1.3  # times importing torch and lightning plus the data at most

EPOCH_TEXT = """\
Each competitor trains in a process of its own, a stretch at a time, in turn and in rotated order.
An epoch's time is steps x seconds a step of a stretch + what the epoch's start and end cost (the
quickest of them, since a process that waited long for its turn may find its memory reclaimed).
Ratios are taken within a round; median (quartiles). `rounds` leaves out the first, a warm-up.
"""


def number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


def with_quartiles(values: Mapping[str, float]) -> str:
    return f"{values['median']:.2f} ({values['low']:.2f}-{values['high']:.2f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def epoch_ratios(section: Section) -> dict[str, dict[str, float]]:
    """Ratios of epoch times that the page shows, by name."""
    seconds = {
        name: epoch_seconds(result["reports"], section["num_steps"])
        for name, result in section["competitors"].items()
    }
    pairs = {
        "lab again / lab": ("lab again", "lab"),
        "plain loop / lab": ("plain loop", "lab"),
        "lab / floor": ("lab", "floor"),
        "floor / direct floor": ("floor", "direct floor"),
        "template / lab": ("template", "lab"),
        "Keras / lab": ("keras", "lab"),
    }
    return {
        label: paired_ratio(seconds[above], seconds[below])
        for label, (above, below) in pairs.items()
        if above in seconds and below in seconds
    }


def sections_of(results: Results, kind: str) -> dict[str, Section]:
    """Sections whose key is kind/..., by the rest of the key."""
    return {
        key.partition("/")[2]: section
        for key, section in results["sections"].items()
        if key.partition("/")[0] == kind
    }


def by_threads(sections: Mapping[str, Section]) -> dict[str, dict[str, Section]]:
    """Split keys THREADS/RECIPE; recipes in the order of PLANS."""
    groups: dict[str, dict[str, Section]] = {}
    for key in sorted(sections, key=lambda key: list(PLANS).index(key.partition("/")[2])):
        threads, _, recipe = key.partition("/")
        groups.setdefault(threads, {})[recipe] = sections[key]
    return dict(sorted(groups.items()))


def epoch_part(results: Results) -> list[str]:
    lines = ["## An epoch", "", *EPOCH_TEXT.splitlines(), ""]
    for threads, recipes in by_threads(sections_of(results, "epoch")).items():
        ratios = {recipe: epoch_ratios(section) for recipe, section in recipes.items()}
        labels = list(ratios[next(iter(recipes))])
        rows = []
        for recipe, section in recipes.items():
            lab = section["competitors"]["lab"]["reports"]
            seconds = spread(epoch_seconds(lab, section["num_steps"]))
            found = ratios[recipe]
            cells = [with_quartiles(found[label]) if label in found else "-" for label in labels]
            rows.append([recipe, str(seconds["n"]), number(seconds["median"]), *cells])
        lines += [f"### {threads} thread{'s' if threads != '1' else ''}", ""]
        lines += table(["recipe", "rounds", "lab, s", *labels], rows)
        lines += epoch_verdicts(ratios)
        lines += equal_work(recipes)
    return lines


def noise(ratios: Mapping[str, Mapping[str, float]]) -> float:
    """How far apart two equal programs came out: at least 1."""
    itself = ratios["lab again / lab"]["median"]
    return max(itself, 1 / itself)


def epoch_verdicts(ratios: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """The aims of an epoch; what the noise of a recipe allows counts as met."""
    floors, templates = [], []
    for recipe, found in ratios.items():
        aim = SMALL_FLOOR_AIM if recipe in SMALL else FLOOR_AIM
        if found["lab / floor"]["median"] > aim * noise(found):
            floors.append(recipe)
        mlp = recipe != "cnn_12_20"
        if mlp and found["template / lab"]["median"] * noise(found) < TEMPLATE_AIM:
            templates.append(recipe)
    kerases = {recipe: found["Keras / lab"]["median"] for recipe, found in ratios.items()}
    slower = [r for r, value in kerases.items() if value * noise(ratios[r]) < KERAS_AIM]
    mean = geometric_mean(list(kerases.values()))
    return [
        f"- lab / floor at most {FLOOR_AIM} ({' and '.join(SMALL)}: {SMALL_FLOOR_AIM}), beyond the "
        f"noise: {verdict(not floors)}{named(floors)}",
        f"- template / lab at least {TEMPLATE_AIM:g} for the MLPs: "
        f"{verdict(not templates)}{named(templates)}",
        f"- Keras / lab: geometric mean {mean:.2f}, at least {KERAS_MEAN_AIM}: "
        f"{verdict(mean >= KERAS_MEAN_AIM)}; none below {KERAS_AIM}: "
        f"{verdict(not slower)}{named(slower)}",
        "",
    ]


def named(recipes: Sequence[str]) -> str:
    return f" ({', '.join(recipes)})" if recipes else ""


def equal_work(recipes: Mapping[str, Section]) -> list[str]:
    """Equal work shows in equal accuracy; and nobody may use more cores than threads."""
    names = list(next(iter(recipes.values()))["competitors"])
    rows = []
    for recipe, section in recipes.items():
        accuracies = [section["competitors"][name]["test_acc"] for name in names]
        agree = accuracies_agree(accuracies, section["num_test"])
        cells = [number(100 * accuracy) for accuracy in accuracies]
        rows.append([recipe, str(section["epochs"]), *cells, "yes" if agree else "**no**"])
    cores = []
    for recipe, section in recipes.items():
        used = [cores_used(section["competitors"][name]["reports"]) for name in names]
        cores.append([recipe, *map(number, used)])
    return [
        "Test accuracy in percent after these epochs, one run each (same: within four standard",
        "errors of the difference of two proportions):",
        "",
        *table(["recipe", "epochs", *names, "same"], rows),
        "CPU seconds per second of a stretch: the cores that were really used.",
        "",
        *table(["recipe", *names], cores),
    ]


def whole_part(results: Results) -> list[str]:
    lines = ["## A whole recipe", ""]
    lines += [
        "From the command to the test figures, a fresh process each time; seconds, median",
        "",
    ]
    lines[-2] += " (lowest-highest), mean test accuracy in percent."
    for threads, recipes in by_threads(sections_of(results, "whole")).items():
        rows, ratios = [], []
        for recipe, section in recipes.items():
            lab, keras = section["competitors"]["lab"], section["competitors"]["keras"]
            ratio = statistics.median(keras["seconds"]) / statistics.median(lab["seconds"])
            ratios.append(ratio)
            cells = [low_to_high(one["seconds"]) for one in (lab, keras)]
            accuracies = [number(100 * statistics.fmean(one["test_acc"])) for one in (lab, keras)]
            rows.append([recipe, str(len(lab["seconds"])), *cells, number(ratio), *accuracies])
        mean = geometric_mean(ratios)
        head = ["recipe", "rounds", "lab, s", "Keras, s", "Keras / lab", "lab acc", "Keras acc"]
        lines += [f"### {threads} thread{'s' if threads != '1' else ''}", "", *table(head, rows)]
        lines += [
            f"- geometric mean {mean:.2f}, at least {KERAS_MEAN_AIM}: "
            f"{verdict(mean >= KERAS_MEAN_AIM)}; none below {KERAS_AIM}: "
            f"{verdict(min(ratios) >= KERAS_AIM)}",
            "",
        ]
    return lines


def low_to_high(values: Sequence[float], digits: int = 1) -> str:
    median = statistics.median(values)
    return f"{median:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def sweep_part(results: Results) -> list[str]:
    rows = []
    for width, section in sorted(sections_of(results, "sweep").items(), key=lambda kv: int(kv[0])):
        lab, keras = section["competitors"]["lab"], section["competitors"]["keras"]
        ratio = lab["runs_a_minute"] / keras["runs_a_minute"]
        accuracies = [number(100 * one["mean_test_acc"]) for one in (lab, keras)]
        rates = [number(one["runs_a_minute"], 1) for one in (lab, keras)]
        row = [width, f"{lab['runs']:.0f}", *rates, number(ratio), *accuracies]
        rows.append([*row, verdict(ratio >= SWEEP_AIM)])
    head = ["width", "runs", "lab, runs a minute", "Keras, runs a minute", "lab / Keras"]
    head += ["lab acc", "Keras acc", f"at least {SWEEP_AIM:g}"]
    return [
        "## A sweep",
        "",
        "Four learning rates x six seeds, a hidden layer of that width, Adam, batch 128, 5 epochs:",
        "`mnist-train -m ... hydra/launcher=pool` beside a Keras script that trains one after the",
        "other in one process and may use all cores. Command to last figure; mean test accuracy.",
        "",
        *table(head, rows),
    ]


def startup_part(results: Results) -> list[str]:
    (section,) = sections_of(results, "startup").values()
    seconds, torch = section["seconds"], section["imports_torch"]
    base = statistics.median(seconds["import torch, lightning"])
    names = {"help": "--help", "settings": "--cfg job", "misspelt": "a misspelt setting"}
    rows = []
    for name, shown in names.items():
        met = statistics.median(seconds[name]) <= ANSWER_AIM_S and not torch[name]
        cells = [f"`mnist-train {shown}`" if shown[0] == "-" else shown]
        cells += [low_to_high(seconds[name], 2), "yes" if torch[name] else "no"]
        rows.append([*cells, f"at most {ANSWER_AIM_S:g} s, no torch", verdict(met)])
    shown = "`import torch, lightning`"
    rows.append([shown, low_to_high(seconds["import torch, lightning"], 2), "yes", "", ""])
    more = statistics.median(seconds["first step"]) - base
    cells = ["command to first training step", low_to_high(seconds["first step"], 2), "yes"]
    aim = f"at most {FIRST_STEP_AIM_S:g} s more; {more:.2f} s more"
    rows.append([*cells, aim, verdict(more <= FIRST_STEP_AIM_S)])
    for width, jobs in section["next_jobs"].items():
        shown = f"next job in a warm process, beyond its training, width {width}"
        met = statistics.median(jobs["beyond"]) <= NEXT_JOB_AIM_S
        answers = f"{statistics.median(jobs['answers']):.2f} s of it to answer the images alone"
        aim = f"at most {NEXT_JOB_AIM_S:g} s; {answers}"
        cells = [shown, low_to_high(jobs["beyond"], 2), "yes", aim]
        rows.append([*cells, verdict(met)])
    head = ["", "seconds", "torch imported", "aim", ""]
    rounds = len(seconds["help"])
    return [
        "## Start-up",
        "",
        f"Median (lowest-highest) of {rounds} rounds. A job composes its settings, trains an MLP",
        "for an epoch on one thread, and evaluates it on the test and the whole training split.",
        "",
        *table(head, rows),
    ]


def memory_part(results: Results) -> list[str]:
    (section,) = sections_of(results, "memory").values()
    peaks = {name: statistics.median(values) for name, values in section["peaks"].items()}
    base = peaks["import and data"]
    rows = []
    for name, peak in peaks.items():
        cells = [name, f"{peak / 1e6:.0f}", number(peak / base)]
        rows.append(
            [*cells, "" if name == "import and data" else verdict(peak <= MEMORY_AIM * base)]
        )
    return [
        "## Memory",
        "",
        "Largest resident set of one process, median. `import and data`: `import torch, lightning`",
        "and the four files as they are, in memory.",
        "",
        *table(["run of one epoch", "MB", "ratio", f"at most {MEMORY_AIM:g}"], rows),
    ]
