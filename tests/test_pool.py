"""hydra/launcher=pool with real processes, disturbed from inside and outside."""

import os
import pty
import signal
import threading
import time
from pathlib import Path

import pytest
from loky.process_executor import BrokenProcessPool
from sweeps import (
    SECRET,
    children,
    contents,
    only_sweep,
    processes,
    reached,
    run,
    start,
    states,
    status,
    wait_until,
    weights,
)
from tiny_run import train_run, write_data_set

from mnist_lab.sweep.pool import Worker, crew
from mnist_lab.sweep.slots import Slot, cpu_slots, gpu_slots, visible_gpus
from mnist_lab.ui.errors import Refused

POOL = ("hydra/launcher=pool", "hydra.launcher.slots=2")
GRID = ("optimizer=sgd,adam", "model.width=4,8", "seed=0,1,2")  # 12 jobs
GONE_S = 10  # seconds within which no worker of a killed sweep may live


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    data = tmp_path_factory.mktemp("idx") / "data"
    write_data_set(data, num_train=300, num_test=50, seed=0)
    return ("data=idx_folder", f"data.root={data}", "trainer.max_epochs=2", "threads=1")


@pytest.fixture(scope="module")
def reference(tmp_path_factory, settings):
    """Weights of the undisturbed jobs by directory, from Hydra's own launcher."""
    folder = tmp_path_factory.mktemp("basic")
    code, output = run("train", "-m", *settings, *GRID, cwd=folder)
    assert code == 0, output
    jobs = {path.name: weights(path) for path in only_sweep(folder).glob("*/")}
    assert len(set(jobs.values())) == 12
    return jobs


def job_paths(sweep):
    return {int(path.name[:3]): path for path in sweep.glob("[0-9]*/")}


def test_a_job_alone_ends_with_the_weights_that_it_has_in_a_sweep(tmp_path, settings, reference):
    alone = train_run(tmp_path / "run", *settings, "optimizer=adam", "model.width=8", "seed=1")
    assert weights(alone) == reference["010_adam,w8,s1"]


def test_a_sweep_on_the_installed_copy_says_nothing_else(mnist_5k, tmp_path):
    tiny = ("data=mnist_5k", "model=linear", "trainer.max_epochs=1", "threads=1")
    code, output = run("train", "-m", *tiny, *POOL, "seed=0,1", cwd=tmp_path)
    assert code == 0, output
    sweep = only_sweep(tmp_path)
    assert output.splitlines()[-1].endswith(": 2 finished, 0 failed, 0 to do")
    assert {status(sweep, n)["data_sha256"] for n in (0, 1)} == {mnist_5k.sha256}


def test_a_crash_costs_its_own_job_only_and_can_be_retried(tmp_path, settings, reference):
    faults = "001:kill,004:exit,007:raise,009:oom"
    code, output = run("train", "-m", *settings, *GRID, *POOL, cwd=tmp_path, faults=faults)
    sweep = only_sweep(tmp_path)
    jobs = job_paths(sweep)
    bad = {1, 4, 7, 9}
    assert code == 1
    assert "8 finished, 4 failed, 0 to do" in output
    for line in ("killed by SIGKILL", "ended with exit code 0", "RuntimeError: a bug in a model"):
        assert line in output
    assert "the GPU's memory is too small for data.batch_size=" in output
    assert states(sweep) == {n: "failed" if n in bad else "finished" for n in range(12)}
    assert [status(sweep, n)["reason"] for n in sorted(bad)] == ["killed", "exit", "error", "oom"]
    for number, text in ((1, "SIGKILL"), (4, "exit code 0"), (7, "Traceback (most recent call")):
        assert text in (jobs[number] / "train.log").read_text()
    for number in set(jobs) - bad:
        assert weights(jobs[number]) == reference[jobs[number].name]
        assert (jobs[number] / ".hydra/overrides.yaml").exists()
    finished = {number: contents(jobs[number]) for number in set(jobs) - bad}

    code, output = run("resume", sweep, "--retry-failed", cwd=tmp_path)
    assert code == 0
    assert "going on with 4 of 12 jobs" in output
    assert "[4/4]" in output  # in the pool, as before
    assert {number: contents(jobs[number]) for number in finished} == finished
    assert {path.name: weights(path) for path in jobs.values()} == reference
    for number in bad:
        assert (jobs[number] / "train.1.log").exists()
        assert status(sweep, number)["state"] == "finished"
        assert "reason" not in status(sweep, number)
    assert not [path for path, text in contents(tmp_path).items() if SECRET.encode() in text]


def test_a_killed_sweep_leaves_no_worker_and_ends_as_if_undisturbed(tmp_path, settings, reference):
    faults = "002:linger,003:linger"
    process = start("train", "-m", *settings, *GRID, *POOL, cwd=tmp_path, faults=faults)
    wait_until(lambda: reached(tmp_path, 2, 3), process)
    sweep = only_sweep(tmp_path)
    finished = contents(job_paths(sweep)[0]) | contents(job_paths(sweep)[1])

    holder = f"in use by process {process.pid} on "
    code, output = run("resume", sweep, cwd=tmp_path)
    assert (code, holder in output) == (2, True)
    code, output = run("resume", job_paths(sweep)[2], cwd=tmp_path)
    assert (code, "in use by process" in output) == (2, True)
    code, output = run("train", "-m", "seed=0,1", f"hydra.sweep.dir={sweep}", cwd=tmp_path)
    assert (code, "holds a sweep already" in output) == (2, True)

    maps = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in children(process.pid)}
    assert sum("libtorch" in text for text in maps.values()) == 2
    assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()
    started = children(process.pid)
    assert {status(sweep, number)["pid"] for number in (2, 3)} < started
    process.kill()
    process.communicate()
    limit = time.monotonic() + GONE_S
    while started & processes().keys() and time.monotonic() < limit:
        time.sleep(0.05)
    assert not started & processes().keys()

    code, output = run("resume", sweep, "hydra/launcher=basic", cwd=tmp_path)
    assert code == 0, output
    assert "going on with 10 of 12 jobs" in output
    assert output.count("going on after epoch 1 of 2") == 2
    assert {path.name: weights(path) for path in job_paths(sweep).values()} == reference
    assert contents(job_paths(sweep)[0]) | contents(job_paths(sweep)[1]) == finished


class Terminal:
    """A terminal that a process writes to, and what it has shown so far."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.shown = bytearray()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        try:
            while data := os.read(self.master, 4096):
                self.shown.extend(data)
        except OSError:  # no process has the other end any more
            os.close(self.master)

    def text(self):
        """All of it, once the processes have ended."""
        self.reader.join()
        return self.shown.decode()


def test_ctrl_c_stops_jobs_at_a_batchs_end_and_twice_leaves_at_once(tmp_path, settings):
    terminal = Terminal()
    process = start(
        *("train", "-m", *settings, *GRID, *POOL),
        cwd=tmp_path,
        faults="000:linger,001:hang",
        stdout=terminal.slave,
    )
    os.close(terminal.slave)
    wait_until(lambda: reached(tmp_path, 0, 1), process)
    sweep = only_sweep(tmp_path)
    workers = children(process.pid)
    wait_until(lambda: b"0 of 12 done, 10 waiting, 0 failed" in terminal.shown, process)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the workers get it, too
    wait_until(lambda: status(sweep, 0)["state"] == "interrupted", process)
    assert status(sweep, 1)["state"] == "running"  # deaf to SIGINT, and stuck
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130
    wait_until(lambda: not workers & processes().keys())
    text = terminal.text()
    assert "stopping at the next batch" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is given back
    assert "Traceback" not in text
    assert not list(sweep.glob("002*"))


def test_a_failure_can_stop_the_sweep(tmp_path, settings):
    pool = (*POOL, "hydra.launcher.on_failure=stop")
    faults = "000:linger,001:raise second"
    code, output = run("train", "-m", *settings, *GRID, *pool, cwd=tmp_path, faults=faults)
    assert code == 1
    expected = {0: "interrupted", 1: "failed"} | dict.fromkeys(range(2, 12), "pending")
    assert states(only_sweep(tmp_path)) == expected
    assert "stopping the others, since 001_sgd,w4,s1 failed" in output
    assert "0 finished, 1 failed, 11 to do" in output


def test_a_worker_keeps_its_device_through_every_restart(tmp_path):
    worker = Worker(Slot(threads=3, device="GPU-5f1c"), tmp_path / "workers.log")
    try:
        worker.start()
        for _ in range(2):
            assert worker.pid is not None
            pid = worker.pid.result()
            mask = worker.executor.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result()
            threads = worker.executor.submit(os.getenv, "OMP_NUM_THREADS").result()
            assert (mask, threads) == ("GPU-5f1c", "3")
            blocked = worker.executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()
            assert signal.SIGINT in blocked
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(BrokenProcessPool):
                worker.executor.submit(time.sleep, 60).result()
            assert isinstance(worker.submit(tmp_path / "no_sweep").exception(), Exception)
            assert worker.pid.result() != pid
    finally:
        worker.kill()


def test_workers_import_before_there_is_a_job_and_none_of_them_stays(tmp_path):
    """One that dies meanwhile is replaced, and says what it has to say in the log."""
    log = tmp_path / "workers.log"
    with crew([Slot(threads=1, device=None)] * 2, 5) as workers:
        first, second = (worker.pid.result() for worker in workers)
        os.kill(first, signal.SIGKILL)
        workers[1].warm.result()
        assert isinstance(workers[0].warm.exception(), BrokenProcessPool)
        for worker in workers:
            worker.write_to(log)
            assert isinstance(worker.submit(tmp_path / "no_sweep").exception(), Exception)
            worker.executor.submit(print, "something", flush=True).result()
        assert workers[0].pid.result() != first
        assert workers[1].pid.result() == second
        assert log.read_text() == "something\nsomething\n"
        found = {worker.pid.result() for worker in workers}
        assert found <= processes().keys()
    assert not found & processes().keys()
    with crew([Slot(threads=1, device=None)] * 2, 1) as workers:
        assert len(workers) == 1


@pytest.mark.parametrize(
    ("mask", "num_gpus", "entries"),
    [
        (None, 0, []),
        (None, 3, ["0", "1", "2"]),
        ("", 3, []),
        ("-1", 3, []),
        ("2,0", 2, ["2", "0"]),
        ("1,-1,2", 1, ["1"]),  # as in CUDA, an entry that names no device ends the list
        ("0,7", 1, ["0"]),
        ("GPU-8932f937, GPU-d72c", 2, ["GPU-8932f937", "GPU-d72c"]),
        ("MIG-a1b2,MIG-c3d4", 1, ["MIG-a1b2", "MIG-c3d4"]),
        ("MIG-a1b2", 0, []),
    ],
)
def test_the_inherited_mask_is_kept_to(mask, num_gpus, entries):
    environment = {} if mask is None else {"CUDA_VISIBLE_DEVICES": mask}
    assert visible_gpus(environment, [True] * num_gpus) == entries


def test_slots_never_ask_for_more_threads_than_cores():
    def cpu(num_cores, slots=None, threads=None, job_threads=1):
        return cpu_slots(num_cores=num_cores, slots=slots, threads=threads, job_threads=job_threads)

    assert cpu(4) == [Slot(1, None)] * 4
    assert cpu(5, threads=2) == [Slot(2, None)] * 2
    assert cpu(8, job_threads=3) == [Slot(3, None)] * 2
    assert cpu(8, slots=3) == [Slot(1, None)] * 3
    assert cpu(1)[0].environment["CUDA_VISIBLE_DEVICES"] == ""
    for impossible in ({"slots": 5}, {"slots": 3, "threads": 2}, {"threads": 5}):
        with pytest.raises(Refused, match="cores"):
            cpu(4, **impossible)
    with pytest.raises(Refused, match="a job has threads=2"):
        cpu(4, threads=1, job_threads=2)


def test_gpus_are_filled_evenly_and_share_the_cores():
    def gpu(gpus, num_cores=8, slots=None, threads=None, job_threads=1, jobs_per_device=1):
        return gpu_slots(
            gpus,
            num_cores=num_cores,
            slots=slots,
            threads=threads,
            job_threads=job_threads,
            jobs_per_device=jobs_per_device,
        )

    assert gpu(["2", "0"]) == [Slot(4, "2"), Slot(4, "0")]
    shared = gpu(["2", "0"], jobs_per_device=2)
    assert [slot.device for slot in shared] == ["2", "0", "2", "0"]
    assert {slot.threads for slot in shared} == {2}
    assert gpu(["2", "0"], slots=1) == [Slot(8, "2")]
    assert gpu(["MIG-a"], num_cores=1, threads=None)[0].environment == {
        "CUDA_VISIBLE_DEVICES": "MIG-a",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    with pytest.raises(Refused, match="at most 4"):
        gpu(["0", "1"], slots=5, jobs_per_device=2)


def test_a_failed_job_goes_on_by_itself_or_says_what_it_gives_up(tmp_path, settings):
    code, _ = run("train", "-m", *settings, "seed=0,1", cwd=tmp_path, faults="000:raise,001:raise")
    sweep = only_sweep(tmp_path)
    assert (code, states(sweep)) == (1, {0: "failed", 1: "failed"})
    (job,) = sweep.glob("000_*")
    code, output = run("resume", job, cwd=tmp_path)
    assert code == 0, output
    assert "going on after epoch 1 of 2" in output
    code, output = run("resume", sweep, "--retry-failed", cwd=tmp_path)
    assert (code, states(sweep)) == (0, {0: "finished", 1: "finished"}), output
    assert "001_seed=1: starts afresh; finished epochs given up: 1" in output
    assert "going on with 1 of 2 jobs" in output
