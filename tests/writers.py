"""What some tests run in processes of their own, to be killed or to race with each other."""

import itertools
import sys
import time
from pathlib import Path


def main():
    task, *arguments = sys.argv[1:]
    {"checkpoints": write_checkpoints, "claim": claim, "load": load}[task](*map(Path, arguments))


def write_checkpoints(path):
    """Replace one checkpoint of 400 kB for ever; all of its weights are the number of the write."""
    import torch

    from mnist_lab.run.checkpoints import AtomicCheckpointIO

    for n in itertools.count():
        checkpoint = {"state_dict": {"weight": torch.full((100_000,), n)}, "epoch": n}
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)


def claim(parent, go):
    """Wait until `go` exists, as all the others do, and print the directory that was claimed."""
    from mnist_lab.run.directory import Run

    while not go.exists():
        time.sleep(0.001)
    print(Run.claim_new(parent).path)


def load(path):
    """Load a checkpoint without saying how far it is trusted."""
    import torch

    torch.load(path)
