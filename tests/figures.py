"""Measured numbers on the pages: where each stands, and whether what a test measures is what the page says.

A figure stands in a sentence or a row of a table, whose words are a template with a hole for each number (:class:`Phrase`), or
is a whole table between two marks of a page (:data:`MARK`). The test that measures it calls the fixture ``figures``::

    figures.check("bytes of weights", eight=160144, four=80144)
    figures.check_table("energy: our networks", text)

``pytest --write-figures`` puts what is measured into the pages instead.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Any

ROOT = Path(__file__).parents[1]

#: What stands before and behind a table that is a figure, each on a line of its own.
MARK = re.compile(r"^<!-- figure: (?P<name>.+?) -->\n(?P<table>.*?)^<!-- /figure -->$", re.MULTILINE | re.DOTALL)

#: A number as pages write it, or a version.
_NUMBER = r"(-?\d(?:[\d,.]*\d)?)"


@dataclass(frozen=True)
class Phrase:
    """Words of a page, with ``{name:format}`` where a number stands; a line may end wherever a space is.

    Attributes:
        page: path in the project.
        says: the template.

    """

    page: str
    says: str

    @cached_property
    def holes(self) -> list[tuple[str, str]]:
        """Name and format of each number."""
        return [(name, form or "") for _, name, form, _ in Formatter().parse(self.says) if name is not None]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the words, with any numbers in the holes, which are its groups."""
        parts = []
        for words, name, _, _ in Formatter().parse(self.says):
            parts.append(re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(words)))
            if name is not None:
                parts.append(_NUMBER)
        return re.compile("".join(parts))

    def find(self, text: str) -> re.Match[str]:
        """Find the words in the page's text, where they must stand exactly once."""
        found = list(self.pattern.finditer(text))
        assert len(found) == 1, f"{self.page} says {len(found)} times: {self.says}"
        return found[0]


@dataclass(frozen=True)
class Figure:
    """Numbers that are measured together.

    Attributes:
        by: the test module that measures them.
        phrases: where they stand.
        table: the page that has them as a table between marks.

    """

    by: str
    phrases: tuple[Phrase, ...] = ()
    table: str | None = None


@dataclass
class Figures:
    """Compares figures with the pages, or writes them.

    Attributes:
        known: the figures by name.
        writing: whether pages are changed instead of compared.
        root: where the pages are.

    """

    known: dict[str, Figure]
    writing: bool = False
    root: Path = field(default=ROOT)

    def check(self, name: str, **measured: Any) -> None:
        """Compare numbers with every phrase of the figure; each number must be said somewhere, and in its format."""
        phrases = self.known[name].phrases
        assert {hole for phrase in phrases for hole, _ in phrase.holes} == set(measured)
        for phrase in phrases:
            path = self.root / phrase.page
            text = path.read_text(encoding="utf-8")
            found = phrase.find(text)
            wanted = [format(measured[hole], form) for hole, form in phrase.holes]
            if self.writing:
                for group, number in reversed(list(enumerate(wanted, 1))):
                    text = text[: found.start(group)] + number + text[found.end(group) :]
                path.write_text(text, encoding="utf-8")
            else:
                assert list(found.groups()) == wanted, f"{phrase.page} is stale (pytest --write-figures): {found.group()}"

    def read(self, name: str) -> dict[str, float]:
        """Return the numbers of a figure as the pages have them; one that stands at several places as the first one has it."""
        found: dict[str, float] = {}
        for phrase in self.known[name].phrases:
            match = phrase.find((self.root / phrase.page).read_text(encoding="utf-8"))
            for (hole, _), number in zip(phrase.holes, match.groups(), strict=True):
                found.setdefault(hole, float(number.replace(",", "")))
        return found

    def check_table(self, name: str, table: str) -> None:
        """Compare a table, whole lines, with the one between the figure's marks."""
        page = self.known[name].table
        assert page is not None
        path = self.root / page
        text = path.read_text(encoding="utf-8")
        (found,) = [mark for mark in MARK.finditer(text) if mark["name"] == name]
        if self.writing:
            path.write_text(f"{text[: found.start('table')]}{table}{text[found.end('table') :]}", encoding="utf-8")
        else:
            assert found["table"] == table, f"{page} is stale (pytest --write-figures): the table {name!r}"


def owned(name: str, figures: dict[str, Figure], text: str) -> list[tuple[int, int]]:
    """Return the places of a page's text, ``[start, end)``, that some figure answers for."""
    phrases = [phrase for figure in figures.values() for phrase in figure.phrases if phrase.page == name]
    return [mark.span() for mark in MARK.finditer(text)] + [phrase.find(text).span() for phrase in phrases]
