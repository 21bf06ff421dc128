"""The simulated event camera and the script that trains on it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from click.testing import CliRunner
from event_files import same
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.events.frames import read_frames
from ds2ta_deploy.events.nmnist import NMNIST_SENSOR, nmnist_bytes
from ds2ta_deploy.events.recording import open_recording

FOLDER = Path(__file__).parents[2] / "examples" / "events"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


simulation = load("simulate")


def pictures(count, seed=0):
    """Return pictures with a few bright rectangles."""
    generator = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        for _ in range(3):
            top, left, high, wide = generator.integers(0, 20, 2).tolist() + generator.integers(2, 9, 2).tolist()
            image[top : top + high, left : left + wide] = generator.integers(60, 256)
    return images


# --- the camera ------------------------------------------------------------------------------------------------------


def test_events_follow_the_intensity_of_every_pixel():
    """Looked at step by step, a pixel's events add up to its change of log intensity, to within one threshold."""
    (image,) = pictures(1)
    (events,) = simulation.simulate(image[None], 7, seed=3)
    thresholds = simulation._thresholds(7, 3, NMNIST_SENSOR)
    points = simulation.path()
    started = simulation.seen(image[None] / 255.0, *points[0][1:], NMNIST_SENSOR)[0]
    sign = events.polarity.astype(np.int64) * 2 - 1
    for time, row, column in points[1:]:
        until = events.timestamps <= time
        counts = np.zeros((34, 34), np.int64)
        np.add.at(counts, (events.y[until], events.x[until]), sign[until])
        change = simulation.seen(image[None] / 255.0, row, column, NMNIST_SENSOR)[0] - started
        assert (np.abs(change - counts * thresholds) < thresholds + 1e-9).all()
    assert len(events) > 200
    assert 0.2 < events.polarity.mean() < 0.8


@given(seed=st.integers(0, 100))
def test_recordings_are_ordered_and_fit_the_format(seed):
    for events in simulation.simulate(pictures(2, seed), seed=seed):
        assert (np.diff(events.timestamps) >= 0).all()
        assert events.timestamps[-1] <= 300_000
        assert len(nmnist_bytes(events)) == 5 * len(events)


def test_a_recording_depends_on_seed_and_number_only():
    images = pictures(5)
    together = list(simulation.simulate(images, seed=2))
    (alone,) = simulation.simulate(images[3:4], 3, seed=2)
    (other,) = simulation.simulate(images[3:4], 3, seed=1)
    assert same(together[3], alone)
    assert not same(together[3], other)


def test_a_dark_picture_gives_no_event():
    (events,) = simulation.simulate(np.zeros((1, 28, 28), np.uint8))
    assert len(events) == 0


def write_set(folder):
    """Write a data set of pictures that are bright where their class says."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for stem, count in (("train", 48), ("t10k", 16)):
        labels = generator.integers(0, 10, count).astype(np.uint8)
        images = np.zeros((count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 6, 4:24] = 220
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + np.array(images.shape, ">u4").tobytes() + images.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + np.array([count], ">u4").tobytes() + labels.tobytes())
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("events") / "data")


def test_files_and_frames_of_the_training_are_the_same(data, tmp_path):
    training = load("train")
    assert CliRunner().invoke(simulation.main, ["--data", str(data), "-o", str(tmp_path / "files"), "--count", "6"]).exit_code == 0
    split = training.load(data, "test", tmp_path / "cache")
    files = sorted((tmp_path / "files").glob("*/*.bin"), key=lambda path: path.name)
    assert [int(path.parent.name) for path in files] == split.labels[:6].tolist()
    for number, path in enumerate(files):
        with open_recording(path) as recording:
            assert recording.sensor == NMNIST_SENSOR
        assert (read_frames(path, training.CONFIG.input_shape)[:, 0] == split.frames[number]).all()


# --- training --------------------------------------------------------------------------------------------------------


def train(script, data, folder, output, *options):
    paths = ["--data", data, "--cache", folder / "cache", "-o", folder / output]
    return CliRunner().invoke(script.main, [*map(str, paths), "--epochs", "2", "--batch", "24", *options])


def test_an_interrupted_training_goes_on_to_the_same_network(data, tmp_path, monkeypatch):
    script = load("train")
    assert train(script, data, tmp_path, "whole.safetensors").exit_code == 0
    trained = load_checkpoint(tmp_path / "whole.safetensors")
    assert trained.config == script.CONFIG
    assert all(torch.isfinite(parameter).all() for parameter in trained.parameters())
    once = script.train_epoch

    def interrupted(*arguments, **options):
        if arguments[3] == 1:
            raise KeyboardInterrupt
        return once(*arguments, **options)

    monkeypatch.setattr(script, "train_epoch", interrupted)
    assert train(script, data, tmp_path, "resumed.safetensors").exit_code == 1
    monkeypatch.setattr(script, "train_epoch", once)
    assert train(script, data, tmp_path, "resumed.safetensors", "--resume").exit_code == 0
    assert (tmp_path / "resumed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_augmentation_shifts_and_invents_no_event():
    frames = torch.randint(1, 9, (3, 5, 34, 34, 2), dtype=torch.uint8)
    changed = load("train").shifted(frames, torch.Generator().manual_seed(3))
    assert changed.shape == frames.shape
    for number in range(5):
        padded = torch.nn.functional.pad(frames[:, number], (0, 0, 2, 2, 2, 2))
        assert any(torch.equal(changed[:, number], padded[:, y : y + 34, x : x + 34]) for y in range(5) for x in range(5))
