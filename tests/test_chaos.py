"""A few of each fault of `make chaos`, so that it cannot rot."""

from pathlib import Path

import pytest
from processes import run_cold

HERE = Path(__file__).resolve().parent


@pytest.mark.slow
def test_a_few_of_each_fault(tmp_path):
    chaos = str(HERE / "chaos" / "chaos.py")
    few = ("--share", "0.02")
    ended = run_cold(chaos, *few, cwd=tmp_path, limit_s=1200, PYTHONPATH=str(HERE))
    assert ended.code == 0, ended.stdout + ended.stderr
    assert not [*tmp_path.iterdir()]
