"""Every number on the pages that looks measured has a test that measures it, or is said here to be none."""

import re
from pathlib import Path

import pytest
from figures import MARK, ROOT, Figure, Figures, Phrase, owned
from page_figures import FIGURES

PAGES = [
    *("README.md", "SECURITY.md", "benchmarks/README.md"),
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if path.name != "commands.md"),
    *sorted(f"examples/{path.parent.name}/README.md" for path in (ROOT / "examples").glob("*/README.md")),
]

#: A share, a number with thousands, a number with a unit.
LOOKS_MEASURED = re.compile(
    r"\d(?:[\d,.]*\d)?\s?%"
    r"|\b\d{1,3}(?:,\d{3})+\b"
    r"|\b\d(?:[\d,.]*\d)?\s(?:bytes|kB|MB|GB|KiB|MiB|GiB|ms|s|seconds|minutes|hours|nJ|pJ|million|times)\b"
)

_BLOCK = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)

#: The table of docs/families.md, which examples/families/works.py writes and its test repeats.
_WORKS = re.compile(r"<!-- works: begin -->.*?<!-- works: end -->", re.DOTALL)

#: What looks measured and is not: rules, what is asked for, what others have measured or written (with their source), and what
#: benchmarks/README.md measures and says where.
NOT_MEASURED = {
    "README.md": ["On all 10,000 test images"],
    "SECURITY.md": ["and 1 s a MiB"],
    "benchmarks/README.md": ["`ds2ta-4-384-10%`, `-15%`, `-20%`", "(`attn.proj`, `mlp.fc2`) at 4 %", "and fires at 15 %", "pages of 2 MB"],
    "docs/energy.md": [
        "32-bit integer add 0.1, 8-bit integer multiply 0.2; Horowitz, ISSCC 2014",
        "one pass over 16,000 pictures",
        "on all 10,000 test pictures",
        "far from the paper's 88 to 92 %",
    ],
    "docs/events.md": ["5 bytes an event", "8 bytes an event", "two bytes (type 0 or 12, size 8)"],
    "docs/families.md": ["uint8 times 1/255"],
    "docs/lava.md": ["on the 10,000 test pictures"],
    "docs/numerics.md": ["outside 0.5 % .. 95 %"],
    "docs/streaming.md": ["events of 20,000 microseconds", "after 72 minutes"],
    "examples/events/README.md": ["for every frame of 100 ms", "first 1,000 simulated", "300 ms"],
    "examples/cifar10/README.md": ["10,000 test pictures"],
    "examples/fashion_mnist/README.md": ["On all 10,000 test images", "of the 10,000 images"],
}


def unowned(page, text, figures, excused):
    """Return what looks measured on a page and belongs to no figure, no block, and nothing that is said not to be measured."""
    spans = [match.span() for pattern in (_BLOCK, _WORKS) for match in pattern.finditer(text)] + owned(page, figures, text)
    for words in excused:
        found = list(re.finditer(r"\s+".join(map(re.escape, words.split())), text))
        assert found, f"{page} no longer says: {words}"
        spans += [match.span() for match in found]
    return [
        match.group()
        for match in LOOKS_MEASURED.finditer(text)
        if not any(start < match.end() and match.start() < end for start, end in spans)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_number_that_looks_measured_is_measured(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert unowned(page, text, FIGURES, NOT_MEASURED.get(page, [])) == []


def test_a_number_that_nobody_owns_is_found():
    figures = {"owned": Figure("x.py", (Phrase("page.md", "holds {count:,} bytes"),))}
    text = "It holds 1,234 bytes, takes 12 s, 3.5 %,\n4,000 of 7\nMiB; rule 0.5 %.\n\n```\n99 %\n```\n"
    assert unowned("page.md", text, figures, ["rule 0.5 %"]) == ["12 s", "3.5 %", "4,000", "7\nMiB"]
    with pytest.raises(AssertionError, match="no longer says"):
        unowned("page.md", text, figures, ["rule 0.6 %"])


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_stands_on_its_page_once_and_a_test_measures_it(name):
    figure = FIGURES[name]
    asked = name if ":" not in name else name[: name.index(":") + 1]
    assert f'"{asked}' in (ROOT / figure.by).read_text(encoding="utf-8")
    assert bool(figure.phrases) is (figure.table is None)
    for phrase in figure.phrases:
        phrase.find((ROOT / phrase.page).read_text(encoding="utf-8"))


def test_every_marked_table_is_a_figure():
    marked = {mark["name"]: page for page in PAGES for mark in MARK.finditer((ROOT / page).read_text(encoding="utf-8"))}
    assert marked == {name: figure.table for name, figure in FIGURES.items() if figure.table is not None}
    assert sum((ROOT / page).read_text(encoding="utf-8").count("<!-- figure:") for page in PAGES) == len(marked)


# --- the comparison itself -------------------------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path):
    """Return figures of a page of their own, a function of whether they are written."""
    page = "It weighs 1,200\nbytes, 3.4 % less.\n\n<!-- figure: table -->\n| a |\n<!-- /figure -->\n"
    (tmp_path / "page.md").write_text(page)
    phrases = (Phrase("page.md", "weighs {bytes:,} bytes, {less:.1f} % less"), Phrase("page.md", "It weighs {bytes:,}"))
    known = {"weight": Figure("x.py", phrases), "table": Figure("x.py", table="page.md")}
    return lambda writing=False: Figures(known, writing, tmp_path)


def test_what_is_on_the_page_passes(known):
    known().check("weight", bytes=1200, less=3.449)
    known().check_table("table", "| a |\n")
    assert known().read("weight") == {"bytes": 1200, "less": 3.4}


@pytest.mark.parametrize("measured", [{"bytes": 1201, "less": 3.4}, {"bytes": 1200, "less": 3.46}])
def test_anything_else_is_stale(known, measured):
    with pytest.raises(AssertionError, match=r"page\.md is stale"):
        known().check("weight", **measured)
    with pytest.raises(AssertionError, match=r"page\.md is stale"):
        known().check_table("table", "| b |\n")


def test_every_number_that_is_measured_is_said(known):
    for measured in ({"bytes": 1200}, {"bytes": 1200, "less": 3.4, "more": 1}):
        with pytest.raises(AssertionError):
            known().check("weight", **measured)


def test_writing_changes_the_numbers_and_nothing_else(known, tmp_path):
    known(writing=True).check("weight", bytes=99, less=12.34)
    known(writing=True).check_table("table", "| b |\n| c |\n")
    text = "It weighs 99\nbytes, 12.3 % less.\n\n<!-- figure: table -->\n| b |\n| c |\n<!-- /figure -->\n"
    assert Path(tmp_path / "page.md").read_text() == text


def test_words_that_stand_twice_or_not_at_all_are_no_place(known, tmp_path):
    page = tmp_path / "page.md"
    for text in (page.read_text() * 2, "nothing\n"):
        page.write_text(text)
        with pytest.raises(AssertionError, match="times"):
            known().check("weight", bytes=1200, less=3.4)
