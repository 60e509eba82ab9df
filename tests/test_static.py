"""What no line of the code may do, read from its syntax trees."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("mnist_lab", "hydra_plugins", "benchmarks", "docs")


def loads_unsafely(tree):
    """Lines that read with torch, but not with a literal weights_only=True."""
    for node in ast.walk(tree):
        names = node.names if isinstance(node, ast.ImportFrom) and node.module == "torch" else ()
        if any(alias.name == "load" for alias in names):
            yield node.lineno
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            literal = given.get("weights_only")
            if not (isinstance(literal, ast.Constant) and literal.value is True):
                yield node.lineno


def test_torch_reads_nothing_but_data():
    safe = "torch.load(file, weights_only=True)"
    for text in (
        "torch.load(file)",
        "torch.load(file, weights_only=safe)",
        "torch.load(file, **{'weights_only': True})",
        "from torch import load",
    ):
        assert [*loads_unsafely(ast.parse(f"{safe}\n{text}"))] == [2], text
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    assert sum("torch.load(" in file.read_text() for file in files) == 1
    for file in files:
        assert not [*loads_unsafely(ast.parse(file.read_text()))], file


def test_the_linter_refuses_what_it_should(tmp_path):
    """Ruff's own rules, as they are chosen in pyproject.toml."""
    wrong = {
        "import pickle": "TID251",
        "import hydra.utils\nhydra.utils.instantiate(1)": "TID251",
        "from hydra.utils import instantiate": "TID251",
        "import yaml\nyaml.load('x', yaml.UnsafeLoader)": "S506",
        "import yaml\nyaml.unsafe_load('x')": "TID251",
        "HOST = '0.0.0.0'": "S104",
        "import os\nos.system('x' + input())": "S605",
        "eval('1')": "S307",
    }
    command = [sys.executable, "-m", "ruff", "check", "--no-cache"]
    command += ["--config", str(ROOT / "pyproject.toml")]
    for number, (text, rule) in enumerate(wrong.items()):
        file = tmp_path / f"wrong{number}.py"
        file.write_text(f'"""Wrong."""\n\n{text}\n')
        done = subprocess.run(
            [*command, "--output-format", "concise", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert rule in done.stdout, (text, done)
