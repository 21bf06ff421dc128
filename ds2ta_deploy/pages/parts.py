"""What a section is made of: sentences, tables, and pictures that have their numbers beside them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A number with its length.

    Attributes:
        text: the number, as it is read.
        share: its part of the whole, 0 to 1.

    """

    text: str
    share: float


@dataclass(frozen=True)
class Code:
    """A name or a hash, in letters of equal width.

    Attributes:
        text: all of it.
        shown: characters that are shown; the rest is one tap or hover away. 0 for all.

    """

    text: str
    shown: int = 0


@dataclass(frozen=True)
class Mark:
    """A verdict.

    Attributes:
        text: in words.
        tone: ``good``, ``bad``, or ``doubtful``.

    """

    text: str
    tone: str


#: Integers are shown with thousands separators; None is an empty cell.
Cell = str | int | Bar | Code | Mark | None


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell of a row names it.

    Attributes:
        title: what it counts.
        columns: their heads.
        rows: the cells.
        folded: whether it is opened by its reader.

    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture with its numbers.

    Attributes:
        title: what it belongs to; may come from a file.
        svg: the drawing, made here: nothing in it comes from a file but numbers.
        alt: what is to be seen, in words.
        numbers: the same, in numbers.

    """

    title: str
    svg: str
    alt: str
    numbers: Table


@dataclass(frozen=True)
class Gallery:
    """Pictures of one kind side by side.

    Attributes:
        title: what they show.
        note: how to read them.
        pictures: in graph order.
        size: how wide each is: ``narrow``, ``middle`` or ``wide``.
        key: what the colours mean: a role of the theme and what is drawn in it.

    """

    title: str
    note: str
    pictures: tuple[Picture, ...]
    size: str = "middle"
    key: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


Block = Text | Table | Gallery


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
        anchor: the end of links to it.
        title: its name.
        lead: what it answers, one sentence.
        blocks: its content.

    """

    anchor: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Card:
    """One figure of the summary.

    Attributes:
        figure: the number, large.
        label: what it counts.
        note: what to know of it.
        tone: as in :class:`Mark`, or empty.

    """

    figure: str
    label: str
    note: str
    tone: str = ""


def percent(share: float) -> str:
    """Return a share as people read it.

    Example:
        >>> percent(0.4301), percent(0.00012), percent(0.0)
        ('43.0 %', '0.012 %', '0 %')

    """
    number = 100 * share
    return f"{number:.1f} %" if number >= 1 else f"{number:.2g} %" if number else "0 %"


def share_bar(share: float) -> Bar:
    """Return a share with its bar."""
    return Bar(percent(share), share)


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the numbers 0 to count - 1, the first and the last among them, evenly spread.

    Example:
        >>> spread(12, 4), spread(3, 8)
        ([0, 4, 7, 11], [0, 1, 2])

    """
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)] if most > 1 else [0]
