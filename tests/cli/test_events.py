"""Recordings of events on the command line: from the file to decisions."""

import importlib.util

import numpy as np
import pytest
from event_files import dat_bytes, make_events, write_aedat4
from support import frozen, spiking_chain

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.events.batch import Sensor
from ds2ta_deploy.events.frames import EventReading, read_frames
from ds2ta_deploy.events.nmnist import nmnist_bytes
from ds2ta_deploy.exporting import export

STEPS = 4
SHAPE = (STEPS, None, 3, 5, 2)
EVENTS = make_events(3000, Sensor(34, 30))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Return the artifact of a small network that takes event frames."""
    graph, inputs = spiking_chain(STEPS)
    out = tmp_path_factory.mktemp("events") / "out"
    export(frozen(graph), "onnx", out, inputs=inputs, runtimes=["onnxruntime"])
    return out


def write(folder, suffix):
    """Write the events in a format."""
    path = folder / f"recording{suffix}"
    if suffix == ".aedat4":
        if importlib.util.find_spec("dv_processing") is None:
            pytest.skip("needs dv-processing: pip install '.[events]'")
        return write_aedat4(path, EVENTS, Sensor(34, 30))
    path.write_bytes({".bin": nmnist_bytes, ".dat": dat_bytes}[suffix](EVENTS))
    return path


def logits(artifact, frames):
    return Artifact.open(artifact).graph.execute(frames).tolist()


@pytest.mark.parametrize(
    ("suffix", "options", "reading"),
    [
        (".bin", (), EventReading()),
        (".dat", (), EventReading()),
        (".aedat4", (), EventReading()),
        (".bin", ("--event-frames", "count"), EventReading("count")),
        (".aedat4", ("--event-frames", "5000"), EventReading(5000)),
        (".dat", ("--event-fit", "crop"), EventReading(fit="crop")),
        (".dat", ("--event-sensor", "60x50"), EventReading(sensor=Sensor(60, 50))),
    ],
)
def test_run(cli, artifact, tmp_path, suffix, options, reading):
    recording = write(tmp_path, suffix)
    frames = read_frames(recording, SHAPE, reading)
    assert frames.any()
    outcome = cli("run", artifact, "--inputs", recording, "--json", *options)
    assert outcome.code == 0, outcome.err
    assert outcome.data["logits"] == logits(artifact, frames)


def test_options_change_what_is_seen(tmp_path):
    recording = write(tmp_path, ".bin")
    readings = [EventReading(), EventReading("count"), EventReading(5000), EventReading(fit="crop"), EventReading(sensor=Sensor(60, 50))]
    assert len({read_frames(recording, SHAPE, reading).tobytes() for reading in readings}) == len(readings)


def test_verify_takes_recordings(cli, artifact, tmp_path):
    outcome = cli("verify", artifact, "--inputs", write(tmp_path, ".dat"), "--runtime", "onnxruntime", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.data["samples"] == 1
    assert {result["runtime"]: result["different"] for result in outcome.data["runtimes"]} == {"onnxruntime": 0, "onnxruntime-steps": 0}


def test_eval_over_folders_of_classes(cli, artifact, tmp_path):
    right = 0
    for label in range(4):
        for number in range(3):
            path = tmp_path / "data" / str(label) / f"{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nmnist_bytes(make_events(800, Sensor(34, 34), 10 * label + number)))
            right += int(np.argmax(logits(artifact, read_frames(path, SHAPE))) == label)
    outcome = cli("eval", artifact, "--data", tmp_path / "data", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.data["samples"], outcome.data["correct"]) == (12, right)
    (tmp_path / "data" / "3").rename(tmp_path / "data" / "4")
    assert cli("eval", artifact, "--data", tmp_path / "data").is_error(4, "DS2TA-135")


def test_a_recording_has_no_labels(cli, artifact, tmp_path):
    path = tmp_path / "recording.bin"
    path.write_bytes(nmnist_bytes(EVENTS))
    assert cli("eval", artifact, "--data", path).is_error(4, "DS2TA-134")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("wrong.dat", b"no header", "DS2TA-180"),
        ("unknown.raw", b"% evt 3.0", "DS2TA-132"),
        ("cut.bin", nmnist_bytes(EVENTS)[:-2], "DS2TA-181"),
        ("outside.bin", b"\xc8\0\0\0\0", "DS2TA-182"),
        ("backwards.bin", nmnist_bytes(EVENTS) + nmnist_bytes(EVENTS), "DS2TA-183"),
        ("empty.bin", b"", "DS2TA-184"),
        ("bomb.bin", b"\0\0\0\0\0" + b"\0\0\x7f\xff\xff", "DS2TA-136"),
    ],
)
def test_a_spoiled_recording_is_one_error(cli, artifact, tmp_path, name, content, code):
    path, options = tmp_path / name, (("--event-frames", "1") if name.startswith("bomb") else ())
    path.write_bytes(content)
    assert cli("run", artifact, "--inputs", path, "-o", tmp_path / "trace.npz", *options).is_error(4, code)
    assert not (tmp_path / "trace.npz").exists()


def test_a_network_for_pictures(cli, small_artifact, tmp_path):
    path = tmp_path / "recording.bin"
    path.write_bytes(nmnist_bytes(EVENTS))
    assert cli("run", small_artifact, "--inputs", path).is_error(4, "DS2TA-185")


@pytest.mark.parametrize(
    "option",
    [("--event-frames", "0"), ("--event-frames", "ten"), ("--event-frames", "9" * 14), ("--event-sensor", "34"), ("--event-sensor", "0x4")],
)
def test_options_out_of_range(cli, artifact, tmp_path, option):
    outcome = cli("run", artifact, "--inputs", tmp_path / "any.bin", *option)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"Invalid value for '{option[0]}'" in outcome.err


def test_without_the_library_the_command_is_named(cli, artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("ds2ta_deploy.events.aedat4._LIBRARY", "no_such_library")
    (tmp_path / "recording.aedat4").write_bytes(b"")
    outcome = cli("run", artifact, "--inputs", tmp_path / "recording.aedat4")
    assert outcome.is_error(5, "DS2TA-401")
    assert "ds2ta-deploy[events]" in outcome.err
