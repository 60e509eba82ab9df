"""Cells of a notebook that train, and are interrupted with the button: always in one kernel."""

import contextlib
import tempfile
import time

from jobs import STOPPED, job_paths, same_results
from jupyter_client import KernelManager
from processes import WATCHDOG_S, environment
from runs import TRAIN, checkpoints_load, cut_back, only_run, same_result, wait_for
from sweeps import only_sweep

from mnist_lab.run.directory import is_held
from mnist_lab.sweep.stored import job_state

PRESSED = ("Interrupted", "KeyboardInterrupt")  # the latter where nothing is under way yet
IMPORTS = "from mnist_lab.train import train_command; from mnist_lab.resume import resume_command"


class Kernel:
    """A kernel of IPython, as a notebook has it, that starts in a folder."""

    def __init__(self, folder):
        self.profile = tempfile.TemporaryDirectory()
        file = f"{self.profile.name}/kernel.json"
        self.manager = KernelManager(transport="ipc", connection_file=file)
        env = environment(IPYTHONDIR=self.profile.name)
        self.manager.start_kernel(cwd=str(folder), env=env)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WATCHDOG_S)

    def begin(self, source):
        """Execute a cell; the interpreter has it when this returns."""
        self.asked = self.client.execute(source)
        while True:
            message = self.client.get_iopub_msg(timeout=WATCHDOG_S)
            of_this = message["parent_header"].get("msg_id") == self.asked
            if of_this and message["msg_type"] == "execute_input":
                return

    def end(self):
        """What ended the cell: the name of an exception, or ''."""
        while True:
            reply = self.client.get_shell_msg(timeout=WATCHDOG_S)
            if reply["parent_header"]["msg_id"] == self.asked:
                return reply["content"].get("ename", "")

    def run(self, source):
        self.begin(source)
        return self.end()

    def press(self):
        self.manager.interrupt_kernel()

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.profile.cleanup()


def cells_interrupted(tally, folder, tiny, warm, rng):
    """One kernel for all: a run and a sweep, each interrupted again and again, and resumed."""
    typed = [*tiny, "data.batch_size=16", "model.dropout=0.5"]
    for kind, command in (
        ("run", [*typed, "model.width=256", f"trainer.max_epochs={tally.length(40)}"]),
        ("sweep", ["-m", *typed, "seed=0,1,2", f"trainer.max_epochs={tally.length(100)}"]),
    ):
        home, alone = folder / f"cells_{kind}", folder / f"cells_{kind}_alone"
        home.mkdir()
        alone.mkdir()
        ended = warm.run(TRAIN, *command, cwd=alone)
        assert ended.code == 0, ended.stderr
        with contextlib.closing(Kernel(home)) as kernel:
            outcomes, path = cell_interrupted(
                kernel, command, tally.times(20), home=home, kind=kind, rng=rng
            )
        promise = f"a cell with a {kind} is interrupted: it ends at one press, interrupted, free"
        tally.add(promise, outcomes, 10)
        if kind == "run":
            same = [(same_result(path, only_run(alone)), 0)]
        else:
            same = same_results(path, only_sweep(alone))
        tally.add(f"... and in the end all equals what was left alone (the {kind})", same)


def cell_interrupted(kernel, command, times, *, home, kind, rng):
    """The outcomes, and the directory of what was interrupted and has now come to its end."""
    only, pattern = (only_run, "status.json") if kind == "run" else (only_sweep, "sweep.json")
    assert kernel.run(IMPORTS) == ""
    kernel.begin(f"train_command({command})")
    wait_for(lambda: [*home.glob(f"outputs/*/*/*/{pattern}")])
    path = only(home)
    outcomes = []
    while len(outcomes) < times:
        time.sleep(rng.uniform(0, 0.7))
        began = time.monotonic()
        kernel.press()
        ended = kernel.end()
        seconds = time.monotonic() - began
        if not ended and kind == "sweep":  # it was faster
            return outcomes, path
        if not ended:
            cut_back(path)
        else:
            found = [path] if kind == "run" else job_paths(path)
            good = ended in PRESSED and {job_state(part) for part in found} <= STOPPED
            good = good and not any(map(is_held, [path, *found])) and checkpoints_load(path)
            outcomes.append((good, seconds))
        kernel.begin(f"resume_command([{str(path)!r}])")
    assert kernel.end() == ""
    return outcomes, path
