"""A few hundred cases of the long run, ``make fuzz``, and what must hold for its figures to mean something."""

import random
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from block_marks import blocks_for
from fuzz.contained import Contained
from fuzz.readers import READERS
from fuzz.run import COLUMNS, FAILURES, Campaign

from ds2ta_deploy.artifact import MANIFEST

#: Files that a reader once did something else with than refuse them, a folder a reader.
CORPUS = Path(__file__).parent / "corpus"

#: Cases of each reader; the first ones of a long run, and those of the table in SECURITY.md.
CASES = 20

#: The same for a reader that starts a process for each file, and gives it seconds of computing.
FEWER = {"event-aedat4": 5}

READABLE = [name for name, reader in READERS.items() if reader.available]


@pytest.fixture(scope="module")
def process():
    with Contained() as contained:
        yield contained


def tabled():
    """Return reader -> the row of the table on the page, which has these cases, by column."""
    (block,) = blocks_for("SECURITY.md", __file__)
    heads, *rows = [re.split(r"  +", line) for line in block.text.splitlines()]
    assert heads == ["reader", "cases", *COLUMNS]
    return {name: dict(zip(heads[1:], map(int, row), strict=True)) for name, *row in rows}


def test_the_page_has_every_reader():
    assert list(tabled()) == list(READERS)


@pytest.mark.parametrize("name", READABLE)
def test_spoiled_files_are_refused_or_harmless(tmp_path, process, name):
    campaign, counts = Campaign(name, tmp_path, process), Counter()
    cases = FEWER.get(name, CASES)
    for case in range(cases):
        column, found = campaign.run(case)
        assert column not in FAILURES, f"{name} --case {case}: {found}"
        counts[column] += 1
    assert counts["refused"] >= cases // 5  # the spoiling spoils
    assert tabled()[name] == {"cases": cases, **{column: counts[column] for column in COLUMNS}}
    assert process.written == []


@pytest.mark.parametrize("name", READABLE)
def test_a_case_is_the_same_file_each_time(tmp_path, name):
    READERS[name].seed(tmp_path / "good")
    for target in ("one", "two"):
        READERS[name].spoil(tmp_path / "good", tmp_path / target, random.Random(f"0/{name}/7"))
    one, two = tmp_path / "one", tmp_path / "two"
    if one.is_file():
        assert one.read_bytes() == two.read_bytes()
    else:
        content = [{str(path.relative_to(each)): path.read_bytes() for path in each.rglob("*") if path.is_file()} for each in (one, two)]
        assert content[0] == content[1]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_once_did_harm_is_refused(tmp_path, process, path):
    name = path.parent.name
    if not READERS[name].available:
        pytest.skip(f"needs {READERS[name].needs}")
    target = tmp_path / name
    if name.startswith("artifact"):
        READERS[name].seed(target)
        shutil.copyfile(path, target / MANIFEST)
    else:
        shutil.copyfile(path, target)
    assert process.read(name, target).kind == "refused"


def test_a_full_run_is_as_long_as_promised():
    assert sum(reader.cases for name, reader in READERS.items() if name.startswith("artifact")) >= 10_000
    assert min(READERS[name].cases for name in ("checkpoint", "checkpoint-torch")) >= 1000


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("while True: pass", "hang"),
        ("import os; os.abort()", "crash"),
        ("import ctypes; ctypes.string_at(0)", "crash"),
        ("raise ValueError('plain')", "untyped"),
        ("bytes(2**33)", "untyped"),
        ("raise contained.ViolationError('no')", "violated"),
        ("return 'payload'", "accepted"),
    ],
)
def test_a_reader_that_hangs_crashes_or_eats_memory_is_found_out(tmp_path, body, kind):
    program = f"""
import dataclasses
import fuzz.contained as contained
from fuzz.readers import READERS
def read(path):
    {body}
idx = dataclasses.replace(READERS["idx"], read=read)
READERS.clear()
READERS["idx"] = idx
contained.COMPUTING = 1
contained.serve()
"""
    with Contained(program) as process:
        assert process.read("idx", tmp_path).kind == kind
        assert process.read("idx", tmp_path).kind == kind  # and again, after it died


def test_every_kind_of_outcome_is_told_apart(tmp_path, process, monkeypatch):
    """The run would notice each failure: what a reader does is judged, not assumed."""
    from fuzz.contained import Outcome
    from fuzz.run import judge

    kinds = {kind: judge("artifact", Outcome(kind), "same") for kind in ("refused", "untyped", "violated", "hang", "crash")}
    assert kinds == {"refused": "refused", "untyped": "untyped", "violated": "wrongly accepted", "hang": "hang", "crash": "crash"}
    assert judge("artifact", Outcome("accepted", payload="same"), "same") == "unchanged"
    assert judge("artifact", Outcome("accepted", payload="other"), "same") == "wrongly accepted"
    assert judge("data", Outcome("accepted", payload="other"), "same") == "other numbers"
    assert {*kinds.values(), "unchanged", "other numbers"} == set(COLUMNS)
