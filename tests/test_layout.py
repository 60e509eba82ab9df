"""The house: imports point down, never in a circle, and nobody imports a door or api.py."""

import ast
import re
from pathlib import Path

import mnist_lab

PACKAGE = Path(mnist_lab.__file__).parent
# From the ground up; a folder imports from layers below its own, and from itself.
LAYERS = [
    {"ui"},
    {"pictures"},
    {"data", "optim", "settings"},
    {"models"},
    {"run"},
    {"study", "evaluation"},
    {"sweep"},
    {"prediction"},
    {"drawing"},
    {"api"},
    {"doors"},
]
DOORS = {"train", "resume", "compare", "evaluate", "predict", "export", "demo"}


def module_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("mnist_lab", *parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py")}


def imports_of(path):
    """The modules of the package that a file imports anywhere, also within a function.

    Those for the type checker alone are left out: they are never run.
    """
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mnist_lab"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def folder_of(module):
    part = module.split(".")[1] if "." in module else ""
    return "doors" if part in DOORS else part


ARROWS = {name: set(imports_of(path)) - {name} for name, path in MODULES.items()}


def test_imports_point_down():
    height = {folder: level for level, layer in enumerate(LAYERS) for folder in layer}
    for module, others in ARROWS.items():
        for other in others:
            here, there = folder_of(module), folder_of(other)
            if here != there:
                assert height[there] < height[here], f"{module} imports {other}"


def test_data_knows_nothing_of_settings():
    for module, others in ARROWS.items():
        if folder_of(module) == "data":
            assert {folder_of(other) for other in others} <= {"data", "pictures", "ui"}, module


def test_no_circle():
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, " -> ".join([*open_[open_.index(module) :], module])
        if module not in done:
            open_.append(module)
            for other in sorted(ARROWS.get(module, ())):
                visit(other)
            open_.pop()
            done.add(module)

    for module in MODULES:
        visit(module)


def test_nobody_imports_a_door_or_what_is_there_for_users():
    for module, others in ARROWS.items():
        assert not {other for other in others if folder_of(other) in ("doors", "api")}, module
    for plugin in (PACKAGE.parent / "hydra_plugins").glob("*.py"):
        named = set(re.findall(r"mnist_lab\.(\w+)", plugin.read_text()))
        assert not named & {*DOORS, "api"}, plugin


def test_the_top_is_short_and_each_folder_says_what_it_is():
    flat = [path.stem for path in PACKAGE.glob("*.py")]
    assert len(flat) <= 12
    assert set(flat) == {"__init__", "__main__", "api", *DOORS}
    assert not ARROWS["mnist_lab"]  # mnist_lab.train is a module, and stays one
    for folder in set().union(*LAYERS) - {"api", "doors"}:
        text = (PACKAGE / folder / "__init__.py").read_text()
        assert ast.get_docstring(ast.parse(text)), folder
        assert len(text.splitlines()) == 1
