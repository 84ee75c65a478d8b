"""Matplotlib figures as SVG that belongs to the page: its colours, its fonts, its ids.

Text stays text, drawn by the reader's browser in a font that has the glyphs, so a model named in any script shows no
empty boxes. Colours are written as CSS variables, so a picture follows the page from light to dark. Ids carry the
picture's name, because one page holds many pictures.

Source: matplotlib's SVG backend, `svg.fonttype: none`; colours from Okabe and Ito's colour-blind-safe palette.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1b1d21", "#5b616b", "#d9dce1", "#fdfdfc"
VERDICT_COLOURS = {"A": "#0072b2", "B": "#d55e00", "tie": "#8b8f96"}
WON, LOST = "#009e73", "#cc79a7"
ACCENT = "#44589a"

# The page's style sheet defines these; page.html.jinja.
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    VERDICT_COLOURS["A"]: "--verdict-a",
    VERDICT_COLOURS["B"]: "--verdict-b",
    VERDICT_COLOURS["tie"]: "--verdict-tie",
    WON: "--won",
    LOST: "--lost",
    ACCENT: "--accent",
}

WIDTH = 5.0  # inches: 9 pt text is still 9 px where a telephone shows the whole picture
LABEL_COLUMNS = 26

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a model may have a dollar sign in its name
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def shorten(name: str, columns: int = LABEL_COLUMNS) -> str:
    """The name on one line of at most `columns` columns; a wide character, such as a Chinese one, takes two."""
    printable = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name)
    used = 0
    kept: list[str] = []
    for letter in " ".join(printable.split()):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > columns:
            return "".join(kept[:-1]) + "…"
        kept.append(letter)
    return "".join(kept)


def _natural_width(opening: re.Match[str]) -> str:
    return f'{opening[1]} style="--natural: {580 * float(opening[2]) / 360:.0f}px"'


def _to_svg(figure: Figure, name: str) -> str:
    stream = io.StringIO()
    with warnings.catch_warnings():
        # Only the width is measured with a font that lacks the glyph; the browser draws it with one that has it.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(
            stream,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.05,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    # All pictures come at one scale, so that letters are the same size in each: 5 inches are 580 px.
    text = re.sub(r'(<svg[^>]*?) width="([\d.]+)pt"', _natural_width, text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true" focusable="false"', text, count=1)
    for colour, variable in _VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable})")
    return text


@dataclass(frozen=True)
class Picture:
    """A drawn picture. title: what one sees; svg: markup, already escaped; wide: needs the page's whole width."""

    title: str
    svg: str
    wide: bool = False


class Canvas:
    """Holds the picture while it is drawn; `svg` is filled when the `with` block of `open_canvas` ends."""

    def __init__(self, figure: Figure, axes: Axes):
        self.figure, self.axes, self.svg = figure, axes, ""


@contextmanager
def open_canvas(name: str, height: float, width: float = WIDTH, *, grid: str = "x") -> Iterator[Canvas]:
    """A figure with one pair of axes. name: letters and hyphens, unique on the page; height, width: inches."""
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        canvas = Canvas(figure, figure.add_subplot())
        canvas.axes.grid(False)
        canvas.axes.grid(True, axis=grid)  # type: ignore[arg-type]
        canvas.axes.tick_params(length=0)
        yield canvas
        canvas.svg = _to_svg(figure, name)


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def tints(steps: int = 40) -> ListedColormap:
    """From nearly the page's own colour to the accent: reads on light and dark alike, and a zero is left blank.

    Matplotlib 3.11 draws the colour bar of 50 steps or more as a bitmap, which would not follow the page's colours.
    """
    return ListedColormap([to_rgba(ACCENT, 0.12 + 0.88 * step / (steps - 1)) for step in range(steps)])
