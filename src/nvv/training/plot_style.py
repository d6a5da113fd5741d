"""What all pictures of this package have in common: colours, tidy axes, and how a figure becomes a file.

Figures are of their own: pyplot and its global state are not used, and no display is needed. What is drawn is the
neighbours' business. Own work.
"""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..files import replaced_when_complete

BLUE, ORANGE, GREY, INK = "#2b6cb0", "#dd6b20", "#a0aec0", "#2d3748"
_DOTS_PER_INCH = 150


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, whole or not at all."""
    FigureCanvasAgg(figure)
    with replaced_when_complete(path) as temporary:
        # No software entry in the file's metadata: the same numbers give the same bytes.
        figure.savefig(
            temporary,
            format="png",
            dpi=_DOTS_PER_INCH,
            bbox_inches="tight",  # a square matrix leaves the layout engine too little room for its labels
            pad_inches=0.12,
            metadata={"Software": None},
        )
    return Path(path)


def percent_axis() -> PercentFormatter:
    """Return a formatter of shares as whole per cent."""
    return PercentFormatter(xmax=1, decimals=0, symbol=" %")


def tidy(axes: Axes) -> None:
    """Take away the frame's upper and right side, and put the grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.set_axisbelow(True)
