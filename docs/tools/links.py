"""A hook of MkDocs: pages that lie beside ``docs/`` join the site, and links that lead out of ``docs/`` still arrive.

The same files are read in a checkout, where ``../examples/cifar10/README.md`` is a file, and on the site, where it is a page.
A link to a page of the site becomes one within the site; a link to any other file of the project becomes its words; a link to
nothing stays as it is, and ``mkdocs build --strict`` fails on it.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = "docs/"

_LINK = re.compile(r"(?P<words>!?\[[^\]]*\])\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_FENCE = re.compile(r"\s*(```|~~~)")


def guests() -> dict[str, str]:
    """Return the pages from outside ``docs/``: path in the project -> path on the site."""
    top = {"README.md": "readme.md", **{f"{name}.md": f"{name.lower()}.md" for name in ("CONTRIBUTING", "SECURITY", "CHANGELOG")}}
    examples = sorted((ROOT / "examples").glob("*/README.md"))
    return {**top, "benchmarks/README.md": "benchmarks.md"} | {
        path.relative_to(ROOT).as_posix(): f"examples/{path.parent.name}.md" for path in examples
    }


def moved(markdown: str, source: str) -> str:
    """Return a page's text with its links as the site needs them.

    Args:
        markdown: the page.
        source: its path in the project, ``docs/onnx.md``.

    """
    lines, fenced = [], False
    for line in markdown.split("\n"):
        fenced ^= bool(_FENCE.match(line))
        lines.append(line if fenced else _LINK.sub(lambda link: _moved_link(link, source), line))
    return "\n".join(lines)


def _moved_link(link: re.Match[str], source: str) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
    page = _page_of(path)
    if page is not None:
        here = posixpath.dirname(_page_of(source) or "")
        return f"{link['words']}({posixpath.relpath(page, here or '.')}{link['anchor'] or ''})"
    return link["words"][1:-1] if (ROOT / path).exists() else link[0]


def _page_of(path: str) -> str | None:
    """Return the path on the site of a file of the project; None if it is not there."""
    return path.removeprefix(DOCS) if path.startswith(DOCS) else guests().get(path)


def on_files(files: "Files", *, config: "MkDocsConfig") -> "Files":
    """Add the guests."""
    from mkdocs.structure.files import File

    for source, page in guests().items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Mend the links of a page; MkDocs passes the rest by name."""
    source = next((source for source, guest in guests().items() if guest == page.file.src_uri), DOCS + page.file.src_uri)
    return moved(markdown, source)
