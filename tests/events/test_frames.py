import numpy as np
import pytest
from event_files import make_events

from ds2ta_deploy.errors import InputError
from ds2ta_deploy.events import frames
from ds2ta_deploy.events.batch import Sensor
from ds2ta_deploy.events.binning import count_frames
from ds2ta_deploy.events.fitting import fit_sensor
from ds2ta_deploy.events.folder import is_recording_directory, read_recordings
from ds2ta_deploy.events.frames import EventReading, read_frames
from ds2ta_deploy.events.nmnist import nmnist_bytes

SENSOR = Sensor(34, 34)
SHAPE = (4, None, 17, 20, 2)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "recording.bin"
    path.write_bytes(nmnist_bytes(make_events(500, SENSOR)))
    return path


def the_problem(read, *arguments):
    with pytest.raises(InputError) as caught:
        read(*arguments)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("rule", ["time", "count"])
@pytest.mark.parametrize("fit", ["downsample", "crop"])
def test_a_recording_is_one_sample(recording, rule, fit):
    made = read_frames(recording, SHAPE, EventReading(rule, fit))
    assert made.shape == (4, 1, 17, 20, 2)
    assert (made[:, 0] == count_frames(make_events(500, SENSOR), 4, fit_sensor(SENSOR, 17, 20, fit), rule)).all()


def test_frames_of_a_fixed_duration_fill_samples(recording):
    events = make_events(500, SENSOR)
    duration = int(events.timestamps[-1] - events.timestamps[0])
    made = read_frames(recording, SHAPE, EventReading(duration // 9))
    assert made.shape == (4, 3, 17, 20, 2)
    assert made.sum() == 500
    assert made[:2, 2].any()
    assert not made[2:, 2].any()  # ten frames, and two empty ones


def test_too_many_events(recording, monkeypatch):
    monkeypatch.setattr(frames, "MOST_EVENTS", 499)
    problem = the_problem(read_frames, recording, SHAPE)
    assert (problem.code, problem.where) == ("DS2TA-136", str(recording))
    assert read_frames(recording, SHAPE, EventReading(10**6)).sum() == 500


def test_too_many_frames(recording, monkeypatch):
    monkeypatch.setattr(frames, "most_expanded", lambda stored: 20 * stored)
    assert the_problem(read_frames, recording, SHAPE, EventReading(1)).code == "DS2TA-136"


@pytest.mark.parametrize("shape", [(None, 28, 28, 1), (4, None, 17, 20, 1), (4, None, 17, 20, 3)])
def test_a_network_that_takes_no_event_frames(recording, shape):
    assert the_problem(read_frames, recording, shape).code == "DS2TA-185"


# --- folders of classes ----------------------------------------------------------------------------------------------


def fill(folder, names):
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(2):
            (folder / name / f"{index}.bin").write_bytes(nmnist_bytes(make_events(50, SENSOR, 2 * number + index)))
    return folder


@pytest.mark.parametrize(("names", "labels"), [(("2", "10", "0"), [0, 2, 10]), (("cars", "background"), [0, 1]), (("1", "one"), [0, 1])])
def test_folders_are_classes(tmp_path, names, labels):
    folder = fill(tmp_path / "data", names)
    (folder / "README").write_text("not a folder")
    (folder / names[0] / ".hidden").write_text("not a recording")
    assert is_recording_directory(folder)
    made, found = read_recordings(folder, SHAPE)
    assert found.tolist() == [label for label in labels for _ in range(2)]
    ordered = sorted(names, key=int) if labels == [0, 2, 10] else sorted(names)
    for place, name in enumerate(ordered):
        assert (made[:, [2 * place]] == read_frames(folder / name / "0.bin", SHAPE)).all()


def test_every_sample_of_a_recording_has_its_label(tmp_path):
    made, labels = read_recordings(fill(tmp_path, ("3", "5")), SHAPE, EventReading(100))
    assert made.shape[1] == len(labels) > 4
    assert np.count_nonzero(labels == 3) + np.count_nonzero(labels == 5) == len(labels)


def test_all_wrong_recordings_are_named(tmp_path):
    folder = fill(tmp_path, ("0", "1"))
    (folder / "0" / "1.bin").write_bytes(b"123")
    (folder / "1" / "0.bin").write_bytes(b"")
    (folder / "1" / "notes.txt").write_text("no recording")
    with pytest.raises(InputError) as caught:
        read_recordings(folder, SHAPE)
    assert [problem.code for problem in caught.value.problems] == ["DS2TA-181", "DS2TA-184", "DS2TA-180"]
    for number in range(20):
        (folder / "0" / f"cut{number}.bin").write_bytes(b"123")
    with pytest.raises(InputError) as caught:
        read_recordings(folder, SHAPE)
    assert len(caught.value.problems) == 10
