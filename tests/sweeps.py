"""Real sweeps for the tests: started as a user does, watched and disturbed from outside."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

FAULTS = Path(__file__).with_name("faults")
WATCHDOG_S = 400  # against a hang, not a claim about speed
SECRET = "sk-9d27b1c0-not-for-any-file"


def environment(faults=""):
    """Of a sweep: one thread, no GPU, and what shall go wrong in which job."""
    fixed = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "120"}
    return {**os.environ, **fixed, "PYTHONPATH": str(FAULTS), "FAULTS": faults, "API_KEY": SECRET}


def start(verb, *args, cwd, faults="", stdout=subprocess.PIPE):
    """Start a verb in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", f"mnist_lab.{verb}", *map(str, args)],
        cwd=cwd,
        env=environment(faults),
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process):
    """Wait for a process: its exit code and all that it printed."""
    output, _ = process.communicate(timeout=WATCHDOG_S)
    return process.returncode, output


def run(verb, *args, cwd, faults=""):
    return end(start(verb, *args, cwd=cwd, faults=faults))


def wait_until(condition, process=None):
    """Wait for something that will come, unless the process that should bring it has ended."""
    limit = time.monotonic() + WATCHDOG_S
    while not (found := condition()):
        assert time.monotonic() < limit
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return found


def only_sweep(folder):
    (path,) = folder.glob("outputs/sweeps/*/*")
    return path


def status(sweep, number):
    """What job `number` says of itself, or {} as long as it says nothing."""
    for path in sweep.glob(f"{number:03d}_*/status.json"):
        return json.loads(path.read_text())
    return {}


def reached(folder, *numbers):
    """Whether these jobs of a folder's only sweep have all come to what shall go wrong in them."""
    return all([*folder.glob(f"outputs/sweeps/*/*/{n:03d}_*/reached")] for n in numbers)


def states(sweep):
    """State of each job by its number, as sweep.json has it."""
    jobs = json.loads((sweep / "sweep.json").read_text())["jobs"]
    return {job["number"]: job["state"] for job in jobs.values()}


def processes():
    """Those that live: the parent of each, by process id."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    return parents


def children(pid):
    return {child for child, parent in processes().items() if parent == pid}


def weights(run_dir):
    """SHA-256 over the names, shapes and bytes of the last checkpoint's tensors."""
    digest = hashlib.sha256()
    checkpoint = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)
    for name, tensor in sorted(checkpoint["state_dict"].items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def contents(folder):
    """Every file below a folder, with its bytes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
