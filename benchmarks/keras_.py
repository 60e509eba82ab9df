"""Keras 3 on TensorFlow, in a Python of its own that has neither torch nor the lab.

`python -m benchmarks.keras_ FD` trains by stretches; `... whole WORK.json OUT.json` and
`... sweep WORKS.json OUT.json` are what a user's script would do from start to test figures.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from benchmarks.channel import Channel
from benchmarks.images import read
from benchmarks.pace import Pace
from benchmarks.work import EVAL_BATCH_SIZE, Work


def main() -> None:
    if sys.argv[1] == "whole":
        work = Work(**json.loads(Path(sys.argv[2]).read_text()))
        use_threads(work.threads)
        Path(sys.argv[3]).write_text(json.dumps({"test_acc": train(work, images_of(work))}))
    elif sys.argv[1] == "sweep":
        works = [Work(**plain) for plain in json.loads(Path(sys.argv[2]).read_text())]
        arrays = images_of(works[0])
        accuracies = []
        for work in works:
            keras.utils.clear_session()
            accuracies.append(train(work, arrays))
        Path(sys.argv[3]).write_text(json.dumps({"test_acc": accuracies}))
    else:
        channel = Channel.inherited()
        work = Work(**channel.receive())
        use_threads(work.threads)
        accuracy = train(work, images_of(work), pace=Pace(channel, work))
        channel.send({"test_acc": accuracy})


def use_threads(threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def images_of(work: Work) -> dict[str, np.ndarray]:
    """Read the files as the published notebooks do: float32 in 0..1, flat for an MLP."""
    arrays = read(Path(work.folder))
    shape = (-1, 28, 28, 1) if work.is_cnn else (-1, 784)
    for name in ("train_images", "test_images"):
        arrays[name] = arrays[name].reshape(shape).astype("float32") / 255
    return arrays


class TimedModel(keras.Sequential):
    """Stops after a stretch from within `fit`; a batch callback would change how Keras runs."""

    pace: Pace

    def make_train_function(self, force: bool = False) -> None:
        super().make_train_function(force=force)
        train_function, pace, done = self.train_function, self.pace, 0

        def timed(iterator: Any) -> Any:
            nonlocal done
            if done == 0:
                pace.steps_begin()
            logs = train_function(iterator)
            done = (done + 1) % pace.num_steps
            pace.stepped(done or pace.num_steps)
            return logs

        self.train_function = timed


class Stopwatch(keras.callbacks.Callback):
    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self.pace = pace

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        self.pace.begin(self.model.count_params())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.pace.epoch_ends()


def network(work: Work, kind: type[keras.Sequential]) -> keras.Sequential:
    settings, layers = work.model, keras.layers
    init: Any = "glorot_uniform"
    if settings["init"] == "uniform":
        init = keras.initializers.RandomUniform(-0.05, 0.05)
    model = kind()
    if work.is_cnn:
        model.add(layers.Input((28, 28, 1)))
        for channels in settings["channels"]:
            model.add(layers.Conv2D(channels, 3, activation="relu", kernel_initializer=init))
        model.add(layers.Flatten())
    else:
        model.add(layers.Input((784,)))
    for _ in range(settings.get("depth", 1)):
        model.add(layers.Dense(settings["width"], activation="relu", kernel_initializer=init))
        if settings["dropout"]:
            model.add(layers.Dropout(settings["dropout"]))
    model.add(layers.Dense(10, activation="softmax", kernel_initializer=init))
    return model


def optimizer(settings: dict[str, Any]) -> keras.optimizers.Optimizer:
    name = settings["_target_"].rpartition(".")[2]
    if name == "RMSprop":
        return keras.optimizers.RMSprop(
            settings["lr"], rho=settings["alpha"], epsilon=settings["eps"]
        )
    if name == "Adam":
        return keras.optimizers.Adam(settings["lr"], *settings["betas"], epsilon=settings["eps"])
    return keras.optimizers.SGD(settings["lr"])


def train(work: Work, arrays: dict[str, np.ndarray], *, pace: Pace | None = None) -> float:
    """Train, timed by stretches when there is a pace to keep; return the test accuracy."""
    keras.utils.set_random_seed(work.seed)
    model = network(work, TimedModel if pace else keras.Sequential)
    if pace:
        model.pace = pace
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer(work.optimizer), loss=loss, metrics=["accuracy"])
    images, labels, cut = arrays["train_images"], arrays["train_labels"], work.num_train
    model.fit(
        images[:cut],
        labels[:cut],
        batch_size=work.batch_size,
        epochs=work.epochs,
        validation_data=(images[cut:], labels[cut:]) if work.num_val else None,
        validation_batch_size=EVAL_BATCH_SIZE,
        callbacks=[Stopwatch(pace)] if pace else None,
    )
    test = arrays["test_images"], arrays["test_labels"]
    return float(model.evaluate(*test, batch_size=EVAL_BATCH_SIZE, verbose=0)[1])


if __name__ == "__main__":
    main()
