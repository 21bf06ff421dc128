import importlib.util
import struct
import subprocess
import sys

import numpy as np
import pytest
from event_files import make_events, same, write_aedat4

from ds2ta_deploy.errors import InputError, MissingRuntimeError
from ds2ta_deploy.events import aedat4
from ds2ta_deploy.events.batch import Sensor, joined
from ds2ta_deploy.events.recording import open_recording

needs_library = pytest.mark.skipif(importlib.util.find_spec("dv_processing") is None, reason="needs dv-processing: pip install '.[events]'")

SENSOR = Sensor(40, 30)

#: Bytes before the header: magic and the header's size.
PREFIX = 18


@pytest.fixture(scope="module")
def events():
    return make_events(3000, SENSOR)


@pytest.fixture(scope="module")
def whole(events, tmp_path_factory) -> bytes:
    """Return an AEDAT4 file."""
    pytest.importorskip("dv_processing", reason="needs dv-processing: pip install '.[events]'")
    return write_aedat4(tmp_path_factory.mktemp("aedat4") / "whole.aedat4", events, SENSOR).read_bytes()


def read(folder, content: bytes):
    path = folder / "recording.aedat4"
    path.write_bytes(content)
    with open_recording(path) as recording:
        return recording.sensor, joined(list(recording.batches))


def the_problem(folder, content: bytes):
    with pytest.raises(InputError) as caught:
        read(folder, content)
    (problem,) = caught.value.problems
    assert problem.where.startswith(str(folder / "recording.aedat4"))
    return problem


def table_field(content: bytes) -> int:
    """Return the byte where the position of the table of contents is written."""
    root = PREFIX + struct.unpack_from("<I", content, PREFIX)[0]
    fields = root - struct.unpack_from("<i", content, root)[0]
    return root + struct.unpack_from("<H", content, fields + 6)[0]


def packets(content: bytes) -> list[int]:
    """Return where every packet begins, and where the last one ends."""
    (table,) = struct.unpack_from("<q", content, table_field(content))
    places = [PREFIX + struct.unpack_from("<I", content, 14)[0]]
    while places[-1] < table:
        places.append(places[-1] + 8 + struct.unpack_from("<I", content, places[-1] + 4)[0])
    return places


@needs_library
def test_what_was_written_is_read(tmp_path, whole, events):
    sensor, found = read(tmp_path, whole)
    assert sensor == SENSOR
    assert same(found, events)


@needs_library
def test_an_event_outside_the_sensor_that_is_given(tmp_path, whole, events):
    path = tmp_path / "recording.aedat4"
    path.write_bytes(whole)
    first = int(np.flatnonzero((events.x >= 20) | (events.y >= 10))[0])
    with pytest.raises(InputError, match=f"DS2TA-182.*event {first}\\]"), open_recording(path, Sensor(20, 10)) as recording:
        list(recording.batches)


@needs_library
def test_time_that_runs_backwards(tmp_path, monkeypatch, whole, events):
    """The library's writer refuses such events, so the unpacked ones are changed."""
    unpacked = aedat4.EventBatch

    def backwards(timestamps, *others):
        timestamps[17] = timestamps[18] + 1
        return unpacked(timestamps, *others)

    monkeypatch.setattr(aedat4, "EventBatch", backwards)
    problem = the_problem(tmp_path, whole)
    assert problem.code == "DS2TA-183"
    assert problem.where.endswith(", event 18")


@needs_library
def test_a_file_cut_anywhere(tmp_path, whole):
    places = packets(whole)
    for end in (15, 100, places[0] + 3, places[0] + 20, places[-1] - 1):
        problem = the_problem(tmp_path, whole[:end])
        assert problem.code == "DS2TA-181", end
        assert "byte" in problem.where
    assert the_problem(tmp_path, whole[: places[-1] + 5]).code == "DS2TA-180"  # within the table, which only the library reads


@needs_library
def test_a_file_without_a_table_is_read_to_its_end_and_no_further(tmp_path, whole, events):
    """Its recorder was stopped: the header still says that there is no table."""
    at, places = table_field(whole), packets(whole)
    open_end = whole[:at] + struct.pack("<q", -1) + whole[at + 8 :]
    assert same(read(tmp_path, open_end[: places[-1]])[1], events)
    problem = the_problem(tmp_path, open_end[: places[-1] - 7])
    assert problem.code == "DS2TA-181"
    assert problem.where.endswith(f"byte {places[-2]}")


@needs_library
@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"#!AER-DAT3.1\r\n"), (14, b"\xff\xff\xff\xff"), (14, b"\0\0\0\0"), (18, b"\xff\xff\xff\xff"), (22, b"none")],
)
def test_a_wrong_header(tmp_path, whole, at, value):
    assert the_problem(tmp_path, whole[:at] + value + whole[at + len(value) :]).code == "DS2TA-180"


@needs_library
@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import ctypes; ctypes.string_at(0)",
        "everything = [bytes(2**28) for _ in range(100)]",
        "raise RuntimeError('no')",
    ],
)
def test_a_library_that_hangs_crashes_or_eats_memory_is_one_error(tmp_path, monkeypatch, whole, body):
    (tmp_path / "dv_processing.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(aedat4, "_SECONDS", 1)
    assert the_problem(tmp_path, whole).code == "DS2TA-180"


@needs_library
def test_no_process_is_left_when_reading_stops_early(tmp_path, monkeypatch, whole):
    started = []
    popen = subprocess.Popen

    def noted(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    path = tmp_path / "recording.aedat4"
    path.write_bytes(whole)
    with open_recording(path) as recording:
        next(recording.batches)
    assert [process.returncode is not None for process in started] == [True]


def test_without_the_library_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dv_processing", None)
    with pytest.raises(MissingRuntimeError) as caught:
        read(tmp_path, b"")
    (problem,) = caught.value.problems
    assert problem.code == "DS2TA-401"
    assert problem.mend == "pip install 'ds2ta-deploy[events]'"
