"""The floor: a bare PyTorch loop over tensors in memory, with torch's own optimizers.

SGD and Adam are fused; torch has no fused RMSprop. With `direct` before the file descriptor it
takes the lab's optimizers instead, which shows what those gain.

Per step: forward, cross_entropy, zero_grad, backward, step. Per epoch: a new order, and a pass over
the validation images where the recipe has some. No figure is kept, nothing is shown or written.
Lightning must not be imported here: it sets PYTORCH_NVML_BASED_CUDA_CHECK, and then every step of
torch's Adam looks for NVIDIA's library on the disk where there is no GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.channel import Channel
from benchmarks.images import read
from benchmarks.networks import count_params, plain_network
from benchmarks.pace import Pace
from benchmarks.work import EVAL_BATCH_SIZE, Work
from mnist_lab.settings.build import build


def main() -> None:
    channel = Channel.inherited()
    work = Work(**channel.receive())
    assert "lightning" not in sys.modules
    accuracy = train(work, Pace(channel, work), direct="direct" in sys.argv)
    channel.send({"test_acc": accuracy})


def train(work: Work, pace: Pace, *, direct: bool = False) -> float:
    """Train and return the test accuracy."""
    torch.set_num_threads(work.threads)
    torch.manual_seed(work.seed)
    arrays = read(Path(work.folder))
    images, labels = as_tensors(arrays["train_images"], arrays["train_labels"])
    val_images, val_labels = images[work.num_train :], labels[work.num_train :]
    network = plain_network(work)
    if work.is_cnn:
        network.to(memory_format=torch.channels_last)
    weights = network.parameters()
    optimizer = build(work.optimizer)(weights) if direct else torch_optimizer(work, weights)
    pace.begin(count_params(network))
    for _ in range(work.epochs):
        order = torch.randperm(work.num_train).split(work.batch_size)
        pace.steps_begin()
        for step, rows in enumerate(order, start=1):
            loss = F.cross_entropy(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pace.stepped(step)
        if work.num_val:
            evaluate(network, val_images, val_labels)
        pace.epoch_ends()
    return evaluate(network, *as_tensors(arrays["test_images"], arrays["test_labels"]))


def torch_optimizer(work: Work, weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a piece of work as torch has it; its RMSprop has eps outside the root."""
    settings = dict(work.optimizer)
    name = settings.pop("_target_").rpartition(".")[2]
    del settings["_partial_"]
    fused = {} if name == "RMSprop" else {"fused": True}
    optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(weights, **settings, **fused)
    return optimizer


def as_tensors(images: object, labels: object) -> tuple[Tensor, Tensor]:
    return torch.tensor(images).unsqueeze(1).float() / 255, torch.tensor(labels).long()


@torch.no_grad()
def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    network.eval()
    batches = zip(images.split(EVAL_BATCH_SIZE), labels.split(EVAL_BATCH_SIZE), strict=True)
    hits = sum(int((network(some).argmax(1) == truth).sum()) for some, truth in batches)
    network.train()
    return hits / len(labels)


if __name__ == "__main__":
    main()
