"""What all verbs that read runs do with a command line; as real processes, without torch."""

import pytest
from processes import run_cold

VERBS = {
    "compare": "DIR",
    "evaluate": "RUN_DIR",
    "predict": "RUN_DIR, IMAGE",
    "export": "RUN_DIR",
    "demo": "RUN_DIR",
}


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples_and_a_mistake_gets_one_line(verb, light_verbs, tmp_path):
    def ask(*args):
        ended = light_verbs.run(f"mnist_lab.{verb}", *args, cwd=tmp_path)
        return ended.code, ended.stdout, ended.stderr

    code, said, _ = ask("--help")
    assert (code, f"\nexamples:\n  mnist-{verb} " in said) == (0, True)
    hint = f"(mnist-{verb} --help explains)"
    missing = f"the following arguments are required: {VERBS[verb]} {hint}\n"
    assert ask() == (2, "", missing)
    assert ask("x", "--nonsense") == (2, "", f"unrecognized arguments: --nonsense {hint}\n")


@pytest.mark.parametrize("wanted", ["-1", "51", "two", "1.5"])
def test_a_whole_number_out_of_its_range_is_told_the_range(wanted, light_verbs, tmp_path):
    ended = light_verbs.run("mnist_lab.predict", "x", "--neighbours", wanted, cwd=tmp_path)
    message = f"argument --neighbours: {wanted}: must be a whole number from 0 to 50"
    assert (ended.code, ended.stderr) == (2, f"{message} (mnist-predict --help explains)\n")


MASKED = """
import os, signal
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.verb import verb

def command(_):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            pass
    finally:  # a library that cannot know what has come over it
        raise {error}

verb(command)
"""


@pytest.mark.parametrize(
    "error", ["AttributeError('None')", "Refused('cannot be read')", "OSError"]
)
def test_an_error_that_a_signal_has_brought_about_is_told_as_the_signal(error, tmp_path):
    ended = run_cold("-c", MASKED.format(error=error), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (143, "")
    assert ended.stderr == "interrupted by SIGTERM\n"
