"""mnist-train, with something that goes wrong in its second epoch; FAULT says where and what.

FAULT=PHASE:WHAT. A phase is setup, training, validation, saving or testing (setup and testing come
once). Whatever it is, a file `reached` in the working directory tells that it has happened; a file
`heard`, that one which waits has got its first signal.

Disks that fill or become read-only are real, mounted where only this process sees them:
FAULT=mounts tells whether it may, FAULT=full gives it 3 MB for its outputs, FAULT=readonly none.
"""

import ctypes
import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PHASES = {
    "setup": ("mnist_lab.run.fit", "build_model"),
    "training": ("mnist_lab.models.classifier", "Classifier.training_step"),
    "validation": ("mnist_lab.models.classifier", "Classifier.validation_step"),
    "saving": ("mnist_lab.run.checkpoints", "AtomicCheckpointIO.save_checkpoint"),
    "testing": ("mnist_lab.models.classifier", "Classifier.test_step"),
}
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000  # <linux/sched.h>
LIMIT_S = 250  # seconds, against a test that never lets go


def main():
    from mnist_lab.train import main

    sys.argv[0] = "mnist-train"
    phase, _, what = os.environ["FAULT"].partition(":")
    if phase in ("mounts", "full", "readonly") or what == "readonly":
        may_mount()
    if phase == "full":
        Path("outputs").mkdir()
        mount("-t", "tmpfs", "-o", "size=3m", "none", "outputs")
        try:
            main()
        finally:
            shutil.copytree("outputs", "kept")
    if phase == "readonly":
        make_read_only()
        main()
    if phase not in PHASES:
        return
    module, path = PHASES[phase]
    owner = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)

    def faulty(*args, **kwargs):
        if not Path("reached").exists() and is_due(phase, args):
            Path("reached").touch()
            trip(what)
        return original(*args, **kwargs)

    setattr(owner, name, faulty)
    main()


def is_due(phase, args):
    if phase == "saving":
        return args[1]["epoch"] == 1
    return phase == "setup" or args[0].current_epoch == (1 if phase != "testing" else 3)


def trip(what):
    from mnist_lab.ui.signals import signals

    if what == "readonly":
        make_read_only()
    end = time.monotonic() + LIMIT_S
    while (what == "wait" and not Path("go").exists()) or (
        what == "linger" and not signals.received
    ):
        assert time.monotonic() < end
        if signals.received:
            Path("heard").touch()
        time.sleep(0.01)


def may_mount():
    """Give this process a user and mounts of its own; it must have no other thread yet."""
    ids = {"uid_map": os.getuid(), "gid_map": os.getgid()}
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise PermissionError("this kernel or container lets no user mount anything")
    Path("/proc/self/setgroups").write_text("deny")
    for name, own in ids.items():
        Path(f"/proc/self/{name}").write_text(f"0 {own} 1")


def mount(*args):
    subprocess.run(["mount", *args], check=True)


def make_read_only():
    """What is open stays open; whatever is opened from now on by its path lies on the new mount."""
    here = str(Path.cwd())
    mount("--bind", here, here)
    mount("-o", "remount,ro,bind", here)
    os.chdir(here)
