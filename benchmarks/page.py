"""The page of results, benchmarks/README.md: what was measured, beside what was aimed at."""

from __future__ import annotations

from benchmarks.quiet import LIMIT
from benchmarks.tables import (
    Results,
    epoch_part,
    memory_part,
    sections_of,
    startup_part,
    sweep_part,
    whole_part,
)

HEAD = """\
# Speed, start-up and memory

`make bench` measures this page anew (`benchmarks/results.json` holds every single timing):

```
make bench                                            everything
make bench ARGS="--only epoch,mlp_100 --threads 1,2"  some of it, into the same page
make bench ARGS="--quick"                             a look in minutes; printed, not kept
```

All times of a table are from one session on one machine, taken in turn. Compare ratios, not
seconds, between machines. It refuses to measure while other processes use more than 0.1 cores.
The full MNIST is needed: in `data/MNIST/raw/`, or where `MNIST_LAB_DATA` points. Keras has a
virtual environment of its own, `.venv-bench`: with TensorFlow beside it torch's TensorBoard writer
would import TensorFlow, and the lab would start slower.

| competitor | what it is |
|---|---|
| lab | `mnist-train`'s own path: checkpoints, TensorBoard, metrics.csv, progress bar, all on |
| lab again | the same in a second process: its ratio to the first is the noise |
| plain loop | the lab's run by Lightning's own training loop in place of the fast one |
| floor | a bare PyTorch loop over float tensors in memory, `torch.optim` (fused where it can be) |
| direct floor | the same with the lab's optimizers, which call the fused kernels directly |
| template | plain Lightning: torchvision's MNIST, ToTensor, DataLoader, progress bar, TensorBoard |
| Keras | Keras 3 on TensorFlow: `model.fit` on arrays, as the published notebooks have it |

Equal work: network, number of parameters, batch size, optimizer, learning rate, order shuffled each
epoch, last smaller batch kept, 32-bit floats, threads. Evaluation takes 512 images at a time in
lab, floor and Keras; the template evaluates by training batches. Its RMSprop is torch's, with eps
outside the root; the others have Keras's. Validation, where a recipe has it, is part of an epoch.
"""


def circumstances(results: Results) -> list[str]:
    """When, on what, and what casts doubt on it."""
    sections = results["sections"].values()
    days = sorted({section["when"][:10] for section in sections})
    commits = sorted({section["commit"] for section in sections})
    minutes = sum(section["took"] for section in sections) / 60
    lines = [
        f"Measured {' and '.join(days)} in {minutes:.0f} minutes, commit {', '.join(commits)}, on "
        f"{results['machine']}.",
        "",
    ]
    busy = [key for key, section in results["sections"].items() if section["others"] > LIMIT]
    if busy:
        lines += [
            "**DO NOT TRUST:** other processes used "
            f"{max(results['sections'][key]['others'] for key in busy):.1f} cores or less while "
            f"these were measured: {', '.join(busy)}.",
            "",
        ]
    if results["quick"]:
        lines += ["**A quick look:** shortened stretches and single rounds.", ""]
    return lines


def page(results: Results) -> str:
    """The whole page, of the sections that were measured."""
    parts = {
        "epoch": epoch_part,
        "whole": whole_part,
        "sweep": sweep_part,
        "startup": startup_part,
        "memory": memory_part,
    }
    lines = [*HEAD.splitlines(), ""]
    if results["sections"]:
        lines += circumstances(results)
    for kind, part in parts.items():
        if sections_of(results, kind):
            lines += part(results)
    return "\n".join(lines).rstrip() + "\n"
