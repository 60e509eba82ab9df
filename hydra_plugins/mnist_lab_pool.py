"""Where Hydra finds the launcher of this lab; its work is done in mnist_lab.sweep."""

from mnist_lab.sweep.launcher import SlotLauncher


class PoolLauncher(SlotLauncher):
    """hydra/launcher=pool."""
