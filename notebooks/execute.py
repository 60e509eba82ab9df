"""Run the notebooks again and keep what they show: python notebooks/execute.py [NAME.ipynb ...]

Kept are the cells with their text and pictures, and nothing of when and where they ran.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parent
WATCHDOG_S = 400  # against a hang of one cell, on however busy a machine
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(notebook: NotebookNode, *, cwd: Path) -> None:
    """Run every cell in a fresh kernel that starts in `cwd`, and put what it shows into the cells.

    Raises:
        nbclient.exceptions.CellExecutionError: names the cell and holds its traceback.
    """
    with tempfile.TemporaryDirectory() as profile:  # not the settings of whoever runs it
        # Files in a folder of its own: no port that others could reach.
        connection = {"transport": "ipc", "connection_file": f"{profile}/kernel.json"}
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            config=Config(KernelManager=connection),
            timeout=WATCHDOG_S,
            startup_timeout=WATCHDOG_S,
            resources={"metadata": {"path": str(cwd)}},
            record_timing=False,
            coalesce_streams=True,
        )
        fixed = {"IPYTHONDIR": profile, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        client.execute(env={**os.environ, **fixed})
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(path.name for path in FOLDER.glob("*.ipynb"))
    for name in names:
        path = FOLDER / name
        notebook = nbformat.read(path, as_version=4)
        execute(notebook, cwd=FOLDER)
        nbformat.write(notebook, path)
        print(f"{name}: {len(notebook.cells)} cells")
