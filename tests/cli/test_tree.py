import re

import msgspec
import pytest

from ds2ta_deploy.cli.tree import can_draw, tree
from ds2ta_deploy.report import PopulationEntry, RangeEntry, Report

SHAPE = (4, None, 8)


def report(*populations, **ranges):
    """Return a report of these populations."""
    bounds = {name.replace("_", "."): RangeEntry(0, 1, *bits) for name, bits in ranges.items()}
    nothing = {"facts": {}, "memory": {}, "dense_operations": 0, "beyond_float32": (), "firing_rates": {}, "silent": (), "parity": ()}
    return Report(graph="made", populations=populations, ranges=bounds, **nothing)


def single(name, **fields):
    return PopulationEntry(name=name, kind="Single", ops=("Add",), shape=SHAPE, **fields)


def test_a_population_with_others_below_it_stands_above_them_once():
    lines = tree(report(single("in"), single("b.0.attn.q"), single("b.0.attn"), single("b.0.attn.proj"), single("b.1")), {})
    assert [line.split("[")[0].rstrip() for line in lines] == [
        "in              Add",
        "b",
        " ├─ 0",
        " │  └─ attn     Add",
        " │     ├─ q     Add",
        " │     └─ proj  Add",
        " └─ 1           Add",
    ]


def test_where_lines_cannot_be_drawn_ascii_does():
    lines = tree(report(single("a.b"), single("a.c.d")), {}, drawn=False)
    assert [re.split(r"(?<=[a-z]) ", line)[0] for line in lines] == ["a", " |- b", " `- c", "    `- d"]


@pytest.mark.parametrize(("encoding", "can"), [("utf-8", True), ("ascii", False), ("latin-1", False), (None, False), ("no-such", False)])
def test_what_a_stream_can_show(encoding, can):
    assert can_draw(encoding) is can


@pytest.mark.parametrize(
    ("leak", "exact", "said"),
    [((1, 1), True, "leak shift 1"), ((3, 2), False, "leak 3/4 (floors)"), ((1, 3), False, "leak shift 3 (floors)")],
)
def test_leak_and_state_are_said(leak, exact, said):
    (line,) = tree(report(single("n", leak=leak, leak_exact=exact), n_membrane=(14, 24)), {})
    assert line.endswith(f"{said}, state 14 of 24 bits")


def test_names_of_strangers_neither_recurse_nor_stretch_the_tree():
    deep, wide = ".".join("d" * 50_000), "w" * 1_000_000
    lines = tree(report(single(deep), single(wide), *(single(f"n{number}") for number in range(1000))), {})
    assert len(lines) == 17 + 1 + 1000
    assert sum(map(len, lines)) < 2 * (len(deep) + len(wide)) + 1000 * 200


def test_no_population_is_no_line():
    assert tree(msgspec.structs.replace(report(), populations=()), {}) == []
