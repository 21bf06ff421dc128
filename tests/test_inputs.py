import numpy as np
import pytest
from event_files import make_events

from ds2ta_deploy.datasets import npz_bytes
from ds2ta_deploy.errors import InputError
from ds2ta_deploy.events.batch import Sensor
from ds2ta_deploy.events.frames import EventReading, read_frames
from ds2ta_deploy.events.nmnist import nmnist_bytes
from ds2ta_deploy.inputs import read_inputs

SHAPE = (4, None, 17, 20, 2)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "3" / "recording.BIN"
    path.parent.mkdir()
    path.write_bytes(nmnist_bytes(make_events(500, Sensor(34, 34))))
    return path


def test_a_recording_becomes_frames_without_a_label(recording):
    reading = EventReading("count", "crop")
    data = read_inputs(recording, SHAPE, reading)
    assert data.labels is None
    assert (data.images == read_frames(recording, SHAPE, reading)).all()


def test_a_directory_of_recordings_has_labels(recording, tmp_path):
    data = read_inputs(tmp_path, SHAPE)
    assert data.labels.tolist() == [3]
    assert (data.images == read_frames(recording, SHAPE)).all()


def test_what_is_no_recording_is_read_as_it_is(tmp_path):
    frames = np.arange(4 * 2 * 3 * 3 * 2, dtype=np.uint8).reshape(4, 2, 3, 3, 2)
    path = tmp_path / "frames.npz"
    path.write_bytes(npz_bytes({"frames": frames}))
    assert (read_inputs(path, SHAPE).images == frames).all()


@pytest.mark.parametrize("name", ["none.bin", "none.npz", "none"])
def test_nothing_there(tmp_path, name):
    with pytest.raises(InputError, match="DS2TA-130"):
        read_inputs(tmp_path / name, SHAPE)
