"""docs/trouble.md: what it quotes stands in the package, and it quotes twenty messages."""

import ast
import re
from pathlib import Path

from processes import run_cold

import mnist_lab

PACKAGE = Path(mnist_lab.__file__).parent
TROUBLE = PACKAGE.parent / "docs/trouble.md"
MADE = ("failed (oom): ", "failed (disk): ", "failed (nan): ")  # of a Failed's reason, by the verb


def texts():
    """All that the package may say: its constant text, of f-strings between their braces."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_messages_that_are_quoted_are_those_of_the_package():
    rows = re.findall(r"^\| `(.+?)` \| (.+) \| (.+) \|$", TROUBLE.read_text(), flags=re.M)
    assert len(rows) == 20
    missing = []
    said = "\n".join(texts())
    for message, cause, cure in rows:
        assert cause.strip()
        assert cure.strip()
        reason = next((made for made in MADE if message.startswith(made)), "")
        for part in message.removeprefix(reason).split("…"):
            if part not in said:
                missing.append((message, part))
    assert missing == []


def test_windows_is_told_of_wsl(tmp_path):
    windows = "import sys; sys.platform = 'win32'; import mnist_lab.train"
    path = str(PACKAGE.parent)
    ended = run_cold("-c", windows, cwd=tmp_path, PYTHONPATH=path)
    assert (ended.code, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "in WSL" in line
