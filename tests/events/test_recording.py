import io
import os
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from event_files import DAT_HEADER, dat_bytes, make_events, same
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.errors import InputError
from ds2ta_deploy.events.batch import EventBatch, Sensor, joined
from ds2ta_deploy.events.nmnist import nmnist_bytes
from ds2ta_deploy.events.recording import open_recording, stream_recording, unwrapped

SENSORS = {".bin": Sensor(34, 34), ".dat": Sensor(40, 30)}
WRITERS = {".bin": nmnist_bytes, ".dat": dat_bytes}
START, SIZE = {".bin": 0, ".dat": len(DAT_HEADER)}, {".bin": 5, ".dat": 8}

both = pytest.mark.parametrize("suffix", [".bin", ".dat"])


def read(path: Path, sensor: Sensor | None = None) -> EventBatch:
    with open_recording(path, sensor) as recording:
        return joined(list(recording.batches))


def written(folder: Path, suffix: str, content: bytes) -> Path:
    path = folder / f"recording{suffix}"
    path.write_bytes(content)
    return path


def changed(events: EventBatch, index: int, **values: int) -> EventBatch:
    """Return events of which one has other values."""
    fields = {name: getattr(events, name).copy() for name in ("timestamps", "x", "y", "polarity")}
    for name, value in values.items():
        fields[name][index] = value
    return EventBatch(**fields)


def the_problem(path: Path, sensor: Sensor | None = None):
    """Return the single problem that reading raises; it names the file."""
    with pytest.raises(InputError) as caught:
        read(path, sensor)
    (problem,) = caught.value.problems
    assert problem.where.startswith(str(path))
    return problem


@both
@given(seed=st.integers(0, 1000), count=st.integers(1, 300))
def test_what_was_written_is_read(tmp_path_factory, suffix, seed, count):
    events = make_events(count, SENSORS[suffix], seed)
    path = written(tmp_path_factory.mktemp("events"), suffix, WRITERS[suffix](events))
    with open_recording(path) as recording:
        assert recording.sensor == SENSORS[suffix]
        assert same(joined(list(recording.batches)), events)


@both
def test_a_long_recording_comes_in_batches_and_lies_about_nothing(tmp_path, suffix):
    events = make_events(200_000, SENSORS[suffix], most_gap=40)
    path = written(tmp_path, suffix, WRITERS[suffix](events))
    with open_recording(path) as recording:
        batches = list(recording.batches)
    assert len(batches) > 2
    assert same(joined(batches), events)
    late = changed(events, 150_000, timestamps=int(events.timestamps[149_999]) - 1)
    place = f"record 150000, byte {START[suffix] + 150_000 * SIZE[suffix]}"
    assert the_problem(written(tmp_path, suffix, WRITERS[suffix](late))).where.endswith(place)


@both
def test_a_pipe_gives_events_before_it_ends(suffix):
    events = make_events(100, SENSORS[suffix])
    content = WRITERS[suffix](events)
    half = START[suffix] + 50 * SIZE[suffix] + 3  # three bytes of the next record
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb", buffering=0) as end:
        end.write(content[:half])
        batches = stream_recording(pipe, suffix).batches
        first = next(batches)
        assert len(first) == 50
        rest = threading.Thread(target=lambda: (end.write(content[half:]), end.close()))
        rest.start()
        assert same(joined([first, *batches]), events)
        rest.join()


@both
@given(kept=st.integers(1, 99), part=st.integers(1, 7))
def test_a_file_cut_in_the_middle(tmp_path_factory, suffix, kept, part):
    content = WRITERS[suffix](make_events(100, SENSORS[suffix]))
    part = min(part, SIZE[suffix] - 1)
    end = START[suffix] + kept * SIZE[suffix]
    problem = the_problem(written(tmp_path_factory.mktemp("cut"), suffix, content[: end + part]))
    assert problem.code == "DS2TA-181"
    assert problem.where.endswith(f", record {kept}, byte {end}")


@both
@pytest.mark.parametrize("values", [{"x": "width"}, {"y": "height"}])
def test_an_event_outside_the_sensor(tmp_path, suffix, values):
    ((name, size),) = values.items()
    events = changed(make_events(100, SENSORS[suffix]), 42, **{name: getattr(SENSORS[suffix], size)})
    path = written(tmp_path, suffix, WRITERS[suffix](events))
    problem = the_problem(path)
    assert problem.code == "DS2TA-182"
    assert problem.where.endswith(f", record 42, byte {START[suffix] + 42 * SIZE[suffix]}")
    assert f"({events.x[42]}, {events.y[42]})" in problem.what
    assert "--event-sensor" in problem.mend
    assert same(read(path, Sensor(41, 41)), events)


@both
def test_time_that_runs_backwards(tmp_path, suffix):
    events = make_events(100, SENSORS[suffix])
    for index in (1, 42, 99):
        back = changed(events, index - 1, timestamps=int(events.timestamps[index]) + 1)
        problem = the_problem(written(tmp_path, suffix, WRITERS[suffix](back)))
        assert problem.code == "DS2TA-183"
        assert problem.where.endswith(f", record {index}, byte {START[suffix] + index * SIZE[suffix]}")
        assert f"{events.timestamps[index]} microseconds, after one at {int(events.timestamps[index]) + 1}" in problem.what


@both
def test_a_recording_without_events(tmp_path, suffix):
    assert the_problem(written(tmp_path, suffix, WRITERS[suffix](make_events(0, SENSORS[suffix])))).code == "DS2TA-184"


@both
@given(data=st.binary(max_size=200))
def test_any_bytes_are_events_or_one_error(suffix, data):
    try:
        recording = stream_recording(io.BytesIO((DAT_HEADER if suffix == ".dat" else b"") + data), suffix)
        events = joined(list(recording.batches))
    except InputError as error:
        assert len(error.problems) == 1
        return
    assert len(events) > 0
    assert (np.diff(events.timestamps) >= 0).all()
    assert events.x.max() < recording.sensor.width
    assert events.y.max() < recording.sensor.height


def test_an_unknown_name(tmp_path):
    path = tmp_path / "recording.raw"
    path.write_bytes(b"% evt 3.0\n")
    problem = the_problem(path)
    assert problem.code == "DS2TA-180"
    assert ".aedat4" in problem.mend


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.bin")
    for name in ("pipe.bin", "none.bin"):
        assert the_problem(tmp_path / name).code == "DS2TA-180"


# --- N-MNIST ---------------------------------------------------------------------------------------------------------


def test_a_record_is_five_bytes_most_significant_first(tmp_path):
    path = written(tmp_path, ".bin", bytes([7, 33, 0x80 | 0x01, 0x02, 0x03, 8, 9, 0x01, 0x02, 0x04]))
    events = read(path)
    assert [events.x.tolist(), events.y.tolist(), events.polarity.tolist()] == [[7, 8], [33, 9], [1, 0]]
    assert events.timestamps.tolist() == [0x010203, 0x010204]


def test_a_mark_of_the_clock_moves_what_follows(tmp_path):
    """Row 240 is no event: 2^13 microseconds have gone by."""
    first, second, mark = bytes([1, 2, 0, 0, 5]), bytes([3, 4, 0, 0, 1]), bytes([0, 240, 0, 0, 0])
    events = read(written(tmp_path, ".bin", first + mark + second + mark + mark + second))
    assert events.timestamps.tolist() == [5, 8193, 3 * 8192 + 1]
    assert the_problem(written(tmp_path, ".bin", mark + bytes([1, 34, 0, 0, 5]))).where.endswith("record 1, byte 5")
    assert the_problem(written(tmp_path, ".bin", mark)).code == "DS2TA-184"


@pytest.mark.parametrize("values", [{"x": 256}, {"y": 256}, {"y": 240}, {"x": -1}, {"timestamps": 2**23}, {"timestamps": -1}])
def test_what_has_no_room_in_a_record_is_not_written(values):
    events = make_events(3, Sensor(34, 34))
    with pytest.raises(ValueError, match="no room"):
        nmnist_bytes(changed(events, 1, **values))


# --- Prophesee -------------------------------------------------------------------------------------------------------


def test_a_header_without_a_size_means_n_cars(tmp_path):
    header = b"% Data file containing Event2d events.\n% Version 2\n% Date 2017-10-31 11:29:21\n\x00\x08"
    path = written(tmp_path, ".dat", dat_bytes(make_events(10, Sensor(40, 30)), header))
    with open_recording(path) as recording:
        assert recording.sensor == Sensor(120, 100)
    with open_recording(path, Sensor(304, 240)) as recording:
        assert recording.sensor == Sensor(304, 240)


def test_both_types_of_pixel_events(tmp_path):
    events = make_events(10, Sensor(40, 30))
    assert same(read(written(tmp_path, ".dat", dat_bytes(events, DAT_HEADER[:-2] + b"\x0c\x08"))), events)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "no header"),
        (b"no header", "no header"),
        (b"% Version 2\n", "ends with its header"),
        (b"% Version 2\n\x00", "ends with its header"),
        (b"% Version 1\n\x00\x08", "version 1"),
        (b"% Height 3\n\x00\x08", "version unknown"),
        (b"% Version 2\n\x0e\x08", "type 14"),
        (b"% Version 2\n\x00\x10", "16 bytes"),
        (b"% Version 2\n% Width 0\n% Height 3\n\x00\x08", "size of a sensor"),
        (b"% Version 2\n% Width 40\n\x00\x08", "size of a sensor"),
        (b"% Version 2\n% Width 99999\n% Height 9\n\x00\x08", "size of a sensor"),
        (b"% Version 2\n% Width \xb2\n% Height 9\n\x00\x08", "size of a sensor"),
        (b"%" + b"x" * 5000 + b"\n% Version 2\n\x00\x08", "does not end"),
        (b"% Version 2\n" + b"% more\n" * 100 + b"\x00\x08", "does not end"),
    ],
)
def test_a_wrong_header(tmp_path, header, words):
    problem = the_problem(written(tmp_path, ".dat", header))
    assert problem.code == "DS2TA-180"
    assert words in problem.what


def test_time_goes_on_where_the_clock_begins_again():
    """72 minutes and later, a .dat file's 32 bits are full: an endless recording goes on."""
    events = make_events(1000, Sensor(40, 30))
    late = EventBatch(events.timestamps + 2**32 - 9000, events.x, events.y, events.polarity)
    assert late.timestamps[0] < 2**32 < late.timestamps[-1]
    found = joined(list(stream_recording(io.BytesIO(dat_bytes(late)), ".dat").batches))
    assert same(found, late)


@given(st.lists(st.lists(st.integers(0, 40), min_size=0, max_size=9), min_size=1, max_size=9))
def test_however_the_batches_are_cut_time_is_unwrapped(gaps):
    """Steps of less than half the clock's period, in batches of any length, some empty."""
    flat = np.cumsum([gap for part in gaps for gap in part], dtype=np.int64)
    edges = np.cumsum([0, *map(len, gaps)])
    batches = []
    for first, last in pairwise(edges):
        times, silent = flat[first:last] % 100, np.zeros(last - first)
        batches.append((EventBatch(times, silent.astype(np.int16), silent.astype(np.int16), silent.astype(np.uint8)), str))
    made = [batch.timestamps for batch, _ in unwrapped(batches, 100)]
    assert np.concatenate(made).tolist() == flat.tolist()
