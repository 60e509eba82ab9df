"""Trips chosen jobs of a sweep in their second epoch; Python imports it where PYTHONPATH says so.

FAULTS=001:kill,004:raise names jobs by their number and what befalls them. A file `reached` in the
job's directory tells that it has.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time

FAULTS = dict(pair.split(":") for pair in os.environ.get("FAULTS", "").split(",") if pair)
LINGER_S = 200  # for a test to disturb the job meanwhile


def trip(fault, received):
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "exit":
        os._exit(0)
    if fault == "raise":
        raise RuntimeError("a bug in a model")
    if fault == "oom":
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory.")
    end = time.monotonic() + LINGER_S
    while fault == "hang" or (fault == "linger" and not received()):
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_for(condition):
    end = time.monotonic() + LINGER_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the start of an epoch once the module that has it is imported."""

    def find_spec(self, name, path=None, _target=None):
        if name != "mnist_lab.run.callbacks":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            start = module.Record.on_train_epoch_start

            def tripped(record, trainer, model):
                start(record, trainer, model)
                if trainer.current_epoch == 1:
                    fault = FAULTS.get(record.run.path.name[:3])
                    if fault == "raise second":  # once another job is under way
                        sweep = record.run.path.parent
                        wait_for(lambda: len([*sweep.glob("*/checkpoints/last.ckpt")]) > 1)
                        fault = "raise"
                    if fault:
                        (record.run.path / "reached").touch()
                    trip(fault, lambda: module.signals.received)

            module.Record.on_train_epoch_start = tripped

        spec.loader.exec_module = exec_module
        return spec


if FAULTS:
    sys.meta_path.insert(0, Finder())
