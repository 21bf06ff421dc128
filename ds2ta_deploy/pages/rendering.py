"""Sections to HTML. Everything that comes from a file is escaped; only our own drawings are taken as they are."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds2ta_deploy.errors import printable
from ds2ta_deploy.pages.figures.canvas import PREFIX
from ds2ta_deploy.pages.parts import Section

if TYPE_CHECKING:
    from ds2ta_deploy.pages.summary import Summary

_TEMPLATES = Path(__file__).parent / "templates"


def render(summary: "Summary", sections: Sequence[Section]) -> bytes:
    """Return the page. A name from a file is one line of visible letters, whatever it holds."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    numbers = count(1)

    def drawing(svg: str) -> Markup:
        """Give the drawing's inner names a number, so that no two drawings share one."""
        return Markup(svg.replace(PREFIX, f"p{next(numbers)}-"))  # noqa: S704 - made by figures/, numbers and fixed words only

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    environment.filters["drawing"] = drawing
    environment.filters["kind"] = lambda thing: type(thing).__name__
    page: str = environment.get_template("page.html.j2").render(summary=summary, sections=sections, style=style)
    return page.encode()


def _visible(value: Any) -> Any:
    """What a file may have put into a name becomes visible; what is HTML already stays."""
    return printable(value) if type(value) is str else value


def live_page(facts: dict[str, Any], parts: dict[str, str]) -> bytes:
    """Return the page that runs a network.

    Args:
        facts: what its program needs to know; becomes JSON in which no letter is HTML.
        parts: name -> base64 of what is carried.

    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, finalize=_visible)
    read = {name: (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "live.css", "live.js")}
    page: str = environment.get_template("live.html.j2").render(
        facts=facts,
        parts={name: Markup(part) for name, part in parts.items()},  # noqa: S704 - base64
        style=Markup(read["style.css"] + read["live.css"]),  # noqa: S704 - our own files
        program=Markup(read["live.js"]),  # noqa: S704 - our own file
    )
    return page.encode()
