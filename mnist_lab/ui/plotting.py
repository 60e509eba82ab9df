"""The look that all figures share, and how they become files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mnist_lab.ui.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart with every kind of colour vision. Source: Okabe & Ito (2008), "Color Universal Design";
# without black, and without yellow, which is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLUE, ORANGE = COLORS[:2]
GREY, INK = "#B5B5B5", "#333333"
DPI = 150
STYLE: Any = {
    "font.size": 9,
    "text.parse_math": False,  # a name may hold a $
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#808080",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8E8E8",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
styled = mpl.rc_context(STYLE)
"""Decorates a function that draws."""


def save(figure: Figure, path: Path, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a PNG, in a folder that is made if need be; `metadata` goes into its text chunks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A name may hold characters that the font lacks; boxes stand for them.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        write_atomically(
            path, lambda file: figure.savefig(file, format="png", dpi=DPI, metadata=metadata)
        )
    return path


def count_epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def write_percent(axes: Axes) -> None:
    """Label fractions on the vertical axis in percent."""
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
