"""One small drawing as SVG: colours that follow the page's theme, text that stays text, the same bytes every time."""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What a colour is for -> what matplotlib writes, which becomes the page's variable of that name.
ROLES = {"ink": "#010203", "muted": "#040506", "line": "#070809", "accent": "#0a0b0c", "second": "#0d0e0f"}

#: Stands where every drawing of a page needs names of its own; no base64 text holds a colon.
PREFIX = "picture:"

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ds2ta",
    "text.parse_math": False,
    "font.size": 9.0,
    "text.color": ROLES["ink"],
    "axes.edgecolor": ROLES["line"],
    "axes.labelcolor": ROLES["muted"],
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.formatter.useoffset": False,
    "xtick.color": ROLES["line"],
    "ytick.color": ROLES["line"],
    "xtick.labelcolor": ROLES["muted"],
    "ytick.labelcolor": ROLES["muted"],
    "path.simplify": False,
}

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def draw(width: float, height: float, margins: tuple[float, float, float, float], paint: Callable[["Axes"], None]) -> str:
    """Return one drawing.

    Args:
        width: in inches.
        height: in inches.
        margins: left, bottom, right and top of the axes, in inches.
        paint: draws on the axes.

    Returns:
        An ``<svg>`` element whose names begin with :data:`PREFIX`.

    """
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.figure import Figure

    left, bottom, right, top = margins
    style = {name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")} | _SETTINGS
    buffer = io.StringIO()
    with rc_context(style):  # a user's own matplotlibrc changes nothing
        figure = Figure(figsize=(width, height))
        box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
        paint(figure.add_axes(box))
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    return themed(buffer.getvalue())


def themed(svg: str) -> str:
    """Keep the element alone, drop the names that nothing refers to, prefix the others, let the page choose the colours."""
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1)
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{PREFIX}{found[1]}"' if found[1] in used else "", svg)
    svg = svg.replace('xlink:href="#', f'xlink:href="#{PREFIX}').replace("url(#", f"url(#{PREFIX}")
    for role, colour in ROLES.items():
        svg = svg.replace(colour, f"var(--{role})")
    return re.sub(r"font-family: [^;\"]*", "font-family: inherit", re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)).strip()
