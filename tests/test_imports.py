"""Start-up: what a verb leaves out when it imports Lightning, and that nothing else notices."""

import pytest
from processes import run_cold

AFTER = """
import gc, sys
from mnist_lab.{verb} import main
try:
    main()
finally:
    from mnist_lab.ui.startup import UNUSED
    imported = [name for name in ("lightning", *UNUSED) if name in sys.modules]
    print(imported, gc.isenabled())
"""
TINY = ("model=linear", "trainer.max_epochs=1", "data=idx_folder", "threads=1")


def test_a_run_imports_no_package_that_it_does_not_use(data_dir, tmp_path):
    command = ("-c", AFTER.format(verb="train"), *TINY, f"data.root={data_dir}")
    ended = run_cold(*command, "hydra.run.dir=run", cwd=tmp_path)
    assert (ended.code, ended.stdout.splitlines()[-1]) == (0, "['lightning'] True")
    command = ("-c", AFTER.format(verb="resume"), "run", "trainer.max_epochs=2")
    ended = run_cold(*command, cwd=tmp_path)
    assert (ended.code, ended.stdout.splitlines()[-1]) == (0, "['lightning'] True")


IMPORTED = """
import gc, sys
from importlib.metadata import version
from mnist_lab.ui.startup import import_lightning
import_lightning()
import_lightning()
assert gc.get_freeze_count() > 100_000
import torch, torchmetrics, lightning.pytorch
import matplotlib.pyplot, scipy.signal, torchvision.utils
for module in (matplotlib, scipy, torchvision):
    assert module.__version__.startswith(version(module.__name__)), module
metric = torchmetrics.classification.MulticlassAccuracy(10, average="micro")
accuracy = metric(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 5])).item()
print("scienceplots" in sys.modules, accuracy)
"""


def test_what_was_left_out_can_be_imported_afterwards(tmp_path):
    ended = run_cold("-W", "error", "-c", IMPORTED, cwd=tmp_path)
    assert (ended.code, ended.stdout) == (0, "False 0.75\n"), ended.stderr


@pytest.mark.parametrize("needed", ["matplotlib.pyplot", "scipy.signal"])
def test_another_package_may_need_what_is_left_out(needed, tmp_path):
    """torchmetrics imports scienceplots where it is installed, and that imports matplotlib."""
    (tmp_path / "scienceplots-2.1.1.dist-info").mkdir()
    metadata = tmp_path / "scienceplots-2.1.1.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: scienceplots\nVersion: 2.1.1\n")
    (tmp_path / "scienceplots.py").write_text(f"import {needed}\n")
    ended = run_cold("-c", IMPORTED, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (ended.code, ended.stdout) == (0, "True 0.75\n"), ended.stderr
