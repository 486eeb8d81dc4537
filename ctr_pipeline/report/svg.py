"""Drawings as inline SVG: drawn by matplotlib with stand-in colours, which become the page's own.

The same drawing gives the same bytes: ids have a fixed salt, and neither a date nor a version is written. matplotlib is
imported when the first figure is drawn, so that nothing else waits for it.
"""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK: Final = "#010101"
SOFT: Final = "#020202"
RULE: Final = "#030303"
A: Final = "#040404"
B: Final = "#050505"
PAPER: Final = "#060606"
_VARIABLES: Final = {INK: "ink", SOFT: "soft", RULE: "rule", A: "a", B: "b", PAPER: "paper"}
_DPI: Final = 72
_WIDTH: Final = 420
_FONT: Final = 11
# The keys are a closed list to matplotlib's types, and ours are among them.
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.id": None,
    "path.simplify": True,
    "font.family": "DejaVu Sans",
    "font.size": _FONT,
    "text.usetex": False,
    # A user's column name with dollar signs is no formula.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": _FONT,
    "ytick.labelsize": _FONT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
}
# What matplotlib writes and a page does not want: a prologue, metadata, a style for the whole document, its fonts, ids
# that repeat from figure to figure, the size in points. Ids that are referred to stand elsewhere and are salted.
_UNWANTED: Final = re.compile(
    r"^.*?(?=<svg)|\s*<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|"
    r" font-family: [^;\"]*;|(?<=<g) id=\"[^\"]*\"",
    re.DOTALL,
)
_HEAD: Final = re.compile(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', re.DOTALL)
_BETWEEN: Final = re.compile(r">\s*\n\s*<")


def draw(name: str, height: int, paint: "Callable[[Axes], None]") -> str:
    """Return a drawing as an `svg` element.

    Args:
        name: of the figure, unique in its page: its ids are salted with it.
        height: in the units of the view, of which the width has 420.
        paint: draws into the axes; colours are this module's.
    """
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only pages with figures need
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above

    with mpl.rc_context(_SETTINGS | {"svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        paint(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _themed(file.getvalue())


def _themed(svg: str) -> str:
    """Replace stand-in colours by the page's variables and fonts by the page's own."""
    svg = _HEAD.sub(r'<svg viewBox="\1" aria-hidden="true" focusable="false">', _UNWANTED.sub("", svg), count=1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return _BETWEEN.sub("><", svg).strip()
