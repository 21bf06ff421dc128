"""An export that is killed leaves its output absent or whole; what it leaves besides has a temporary name and is in nobody's way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults.victim import TYPED, moments, spread
from support import files_of, names_in

from ds2ta_deploy.artifact import MANIFEST, Artifact

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def victim():
    """Return a function that runs exports in processes of their own and tells how each ended."""
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "faults.victim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:

        def run(*requests):
            server.stdin.write(json.dumps(requests, default=str) + "\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        yield run
        server.stdin.close()


@pytest.fixture(scope="module")
def undisturbed(victim, tmp_path_factory):
    """Return the files of an export that nothing disturbed, its number of steps, and the seconds it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ((status, steps, _),) = victim({"out": folder / "counted", "at": 0})
    assert status == 0
    ((status, _, seconds),) = victim({"out": folder / "out"})
    assert status == 0
    assert files_of(folder / "out") == files_of(folder / "counted")
    return files_of(folder / "out"), int(steps), seconds


def is_temporary(name: str) -> bool:
    return name.startswith(".out.") and name.endswith(".partial")


def assert_absent_or_whole(folder: Path, expected: dict[str, bytes], name: str = "out") -> bool:
    """Assert that there is nothing but a whole artifact and temporary directories; returns whether there is the artifact."""
    assert all(each == name or is_temporary(each) or is_temporary(each.replace(".out.failed.", ".out.")) for each in names_in(folder))
    if not (folder / name).exists():
        return False
    opened = Artifact.open(folder / name)
    assert {each: opened.read(each) for each in opened.manifest.files} == {each: expected[each] for each in expected if each != MANIFEST}
    return True


def kill(victim, folder: Path, undisturbed, **how) -> tuple[bool, bool]:
    """Kill one export; returns whether it was killed and whether the artifact is there. A second export then succeeds."""
    expected, _, _ = undisturbed
    folder.mkdir()
    ((status, words, _),) = victim({"out": folder / "out"} | how)
    assert status in (-9, 0), words
    there = assert_absent_or_whole(folder, expected)
    ((again, code, _),) = victim({"out": folder / "out"})
    assert (again, code) == ((TYPED, "DS2TA-501") if there else (0, ""))
    assert files_of(folder / "out") == expected
    return status == -9, there


def kill_many(victim, tmp_path, undisturbed, at_steps: int, at_moments: int) -> None:
    _, steps, seconds = undisturbed
    assert steps > 60
    ways = [{"at": step} for step in spread(at_steps, steps)] + [{"after": moment} for moment in moments(at_moments, seconds)]
    ended = [kill(victim, tmp_path / str(number), undisturbed, **way) for number, way in enumerate(ways)]
    assert all(killed for killed, _ in ended[:at_steps])
    assert {there for _, there in ended[:at_steps]} == {True, False}  # before the rename, and after it


def test_a_few_kills_at_steps_all_over_an_export(victim, tmp_path, undisturbed):
    kill_many(victim, tmp_path, undisturbed, 7, 2)


@pytest.mark.slow
def test_200_kills(victim, tmp_path, undisturbed, figures):
    kill_many(victim, tmp_path, undisturbed, 140, 60)
    figures.check("kills", all=140 + 60, steps=140, moments=60, broken=0)


def failing_kills(victim, tmp_path, count: int) -> None:
    """Kill an export that fails and replaces what an earlier failure left."""
    ((_, steps, _),) = victim({"out": tmp_path / "count" / "out", "at": 0, "failing": True})
    expected = files_of(tmp_path / "count" / "out.failed")
    # the second time there is a failure to replace, which takes more steps
    ((_, steps, _),) = victim({"out": tmp_path / "count" / "out", "at": 0, "failing": True})
    states = set()
    for number, step in enumerate(spread(count, int(steps))):
        folder = tmp_path / str(number)
        victim({"out": folder / "out", "failing": True})
        ((status, words, _),) = victim({"out": folder / "out", "at": step, "failing": True})
        assert status == -9, words
        states.add(assert_absent_or_whole(folder, expected, "out.failed"))
        ((status, words, _),) = victim({"out": folder / "out", "failing": True})
        assert (status, files_of(folder / "out.failed")) == (0, expected), words
    assert True in states


def test_a_few_kills_of_an_export_that_replaces_an_earlier_failure(victim, tmp_path):
    failing_kills(victim, tmp_path, 5)


@pytest.mark.slow
def test_many_kills_of_an_export_that_replaces_an_earlier_failure(victim, tmp_path, figures):
    failing_kills(victim, tmp_path, 80)
    figures.check("kills of failing exports", all=80, broken=0)


# --- other faults that need a process of their own -------------------------------------------------------------------


def test_files_may_not_grow_beyond_a_limit(victim, tmp_path, undisturbed):
    sizes = sorted(len(data) for data in undisturbed[0].values())
    for limit in (0, 1, *sizes[:-1]):  # every file in turn is the first that does not fit
        ((status, code, _),) = victim({"out": tmp_path / "out", "limit": limit})
        assert (status, code) == (TYPED, "DS2TA-502"), limit
        assert names_in(tmp_path) == []


@pytest.mark.parametrize("round_", range(4))
def test_of_two_exports_to_one_directory_at_once_one_wins(victim, tmp_path, undisturbed, round_):
    ended = victim(*[{"out": tmp_path / "out"}] * 3)
    assert sorted((status, code) for status, code, _ in ended) == [(0, ""), (TYPED, "DS2TA-501"), (TYPED, "DS2TA-501")]
    assert files_of(tmp_path / "out") == undisturbed[0]
    assert names_in(tmp_path) == ["out"]
