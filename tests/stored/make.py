"""How the samples in this folder were made: by the lab as it was at a commit, on the tests' data.

python tests/stored/make.py COMMIT makes tests/stored/COMMIT with run/ (finished), sweep/ (one job
finished, one interrupted after its first of two epochs, one that did not begin; where the commit
has sweeps), and whole.json: what the same lab gives for the run with one more epoch, and for the
jobs, when nothing stops them. Left out is what nothing reads, and where the images were is altered.
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
UNREAD = shutil.ignore_patterns(
    *(".hydra", "tensorboard", "events.out.*", ".lock", "previous.ckpt", "workers.log")
)
ELSEWHERE = "/home/student/mnist"

BASE = ["data=idx_folder", "data.root=data", "trainer=cpu", "threads=1", "model.dropout=0"]
# Small, and such that weights in a wrong order change the test loss: by 7e-4 of it at least.
SMALL = ["model.width=4", "model.init=glorot", "data.batch_size=16", "optimizer.lr=0.003"]
CNN = ["model=cnn", "model.channels=[1,2,2,2,2,2]", *SMALL]
POOLED = ["model=pooled_cnn", "model.channels=[2,4]", "model.kernels=[5,3]", *SMALL]
RUNS = {
    "97db8db": [*CNN, "optimizer=momentum", "optimizer.lr=0.03"],
    "cf050c7": [*CNN, "optimizer=rmsprop"],
    "e98e689": [*POOLED, "optimizer=rmsprop"],
    "859fd60": [*POOLED, "optimizer=momentum"],
}
SWEEP = ["-m", "model.width=2", "data.val_fraction=0", "data.batch_size=1", "trainer.max_epochs=2"]
SWEEPS = {
    "cf050c7": [*SWEEP, "optimizer=adam,momentum,sgd"],
    "e98e689": [*SWEEP, "optimizer=sgd,rmsprop,adamw"],
}
TRAIN = "import runpy, sys; sys.path = [p for p in sys.path if p not in ('', {root!r})]; " + (
    "sys.path.insert(0, {tree!r}); runpy.run_module('mnist_lab.train', run_name='__main__')"
)


def main():
    (commit,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        tree = folder / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), commit], check=True)
        try:
            make(commit, folder, tree)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def make(commit, folder, tree):
    sys.path.insert(0, str(HERE.parent))
    from conftest import write_idx_folder

    project = folder / "project"
    write_idx_folder(project / "data")
    code = TRAIN.format(root=str(ROOT), tree=str(tree))

    def train(*typed):
        return subprocess.Popen([sys.executable, "-c", code, *BASE, *typed], cwd=project)

    def taken(kind):
        (path,) = project.glob(f"outputs/{kind}s/*/*")
        return path.rename(folder / f"{kind}-{time.time_ns()}")

    whole = {}
    assert train(*RUNS[commit], "trainer.max_epochs=2").wait() == 0
    whole["run"] = json.loads((taken("run") / "metrics.json").read_text())
    assert train(*RUNS[commit], "trainer.max_epochs=1").wait() == 0
    kept = {"run": taken("run")}
    if commit in SWEEPS:
        assert train(*SWEEPS[commit]).wait() == 0
        for path in sorted(taken("sweep").glob("*/metrics.json")):
            whole[path.parent.name] = json.loads(path.read_text())
        process = train(*SWEEPS[commit])
        while not [*project.glob("outputs/sweeps/*/*/001_*/metrics.csv")]:
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
        kept["sweep"] = taken("sweep")
    shutil.rmtree(HERE / commit, ignore_errors=True)
    for kind, path in kept.items():
        shutil.copytree(path, HERE / commit / kind, ignore=UNREAD)
    (HERE / commit / "whole.json").write_text(json.dumps(whole, indent=2) + "\n")
    for path in (HERE / commit).rglob("*.*"):
        if path.suffix in (".yaml", ".json", ".log"):
            text = path.read_text().replace(str(project), ELSEWHERE)
            path.write_text(head(text) if path.suffix == ".log" else text)


def head(log):
    """A log up to its table of layers; then come the warnings of one machine."""
    blocks = log.split("\n\n")
    return "\n\n".join(blocks[:2]) + "\n"


if __name__ == "__main__":
    main()
