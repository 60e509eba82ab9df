"""Real processes for the tests: a verb started cold, and many started from a warm interpreter.

Run as a program, this file is the warm interpreter: it imports what it is told, then forks a
process for each verb, which saves each of them the seconds of importing torch.
"""

import contextlib
import gc
import importlib
import importlib.abc
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

WATCHDOG_S = 300  # against a hang, not a claim about speed
# Whatever is asked for beyond this machine fails at once: nothing listens on port 9.
NO_NETWORK = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


def environment(**changes):
    """Of a child: one thread, no GPU, no network, no data but what the test gives."""
    dropped = ("mnist_lab_data", "no_proxy", "https_proxy", "http_proxy", "all_proxy")
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in dropped}
    fixed = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "120"}
    return {**inherited, **fixed, **NO_NETWORK, **changes}


@dataclass
class Ended:
    """A process that is over; `code` is negative when a signal killed it."""

    code: int
    stdout: str
    stderr: str


def last_of_each(*overrides):
    """A command line from settings of which later ones replace earlier ones: twice is refused."""
    return [*{text.partition("=")[0]: text for text in overrides}.values()]


def run_cold(*command, cwd, limit_s=WATCHDOG_S, **env):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass
class Started:
    """A process that was forked from a warm interpreter."""

    pid: int
    warm: "Warm"
    output: Path

    def send(self, signum):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def listens(self):
        """Whether it has all handlers of its own for signals, or is over: a verb's first step."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
        wanted = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
        return "State:\tZ" in status or all(caught >> (one - 1) & 1 for one in wanted)

    def wait(self):
        code = self.warm.ask(wait=self.pid)
        texts = [(self.output / name).read_text() for name in ("stdout", "stderr")]
        return Ended(code, *texts)


@dataclass
class Warm:
    """An interpreter that has imported `modules` and cannot import `forbidden` ones."""

    modules: list
    forbidden: list = field(default_factory=list)

    def __enter__(self):
        self.outputs = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps([self.modules, self.forbidden])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(WATCHDOG_S)
        self.process.stdout.close()
        self.outputs.cleanup()

    def ask(self, **request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def start(self, module, *args, cwd, **env):
        """Start `module.main()` with a command line, in its own folder and process."""
        output = Path(tempfile.mkdtemp(dir=self.outputs.name))
        request = {"module": module, "args": args, "cwd": str(cwd), "output": str(output)}
        return Started(self.ask(**request, env=env), self, output)

    def run(self, module, *args, cwd, **env):
        return self.start(module, *args, cwd=cwd, **env).wait()


class Forbidden(importlib.abc.MetaPathFinder):
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, _path=None, _target=None):
        if name.partition(".")[0] in self.names:
            raise AssertionError(f"{name} was imported")


def serve(modules, forbidden):
    sys.meta_path.insert(0, Forbidden(forbidden))
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # what is imported is shared with the children, and stays so
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            become(request)


def become(request):
    """In the child: give up all that was the parent's."""
    signal.alarm(WATCHDOG_S)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    output = Path(request["output"])
    files = (os.devnull, os.O_RDONLY), (output / "stdout", os.O_WRONLY | os.O_CREAT)
    for number, (name, flags) in enumerate((*files, (output / "stderr", os.O_WRONLY | os.O_CREAT))):
        os.dup2(os.open(name, flags, 0o644), number)
    sys.argv = [request["module"], *request["args"]]
    try:
        importlib.import_module(request["module"]).main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking down an interpreter of this size takes longer than most verbs


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
