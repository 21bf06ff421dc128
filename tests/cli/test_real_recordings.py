"""Real recordings of three cameras, from the file to logits, on every engine. Minutes, not seconds."""

import importlib.util

import pytest
from support import STEPPED

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from event_files import REAL_EVENTS

from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.events.recording import open_recording
from ds2ta_deploy.inputs import read_inputs
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.verification import available_runtimes

#: Width and height of the sensor, and the number of events.
RECORDINGS = {"sample_nmnist.bin": (34, 34, 4325), "sample_ncars.dat": (120, 100, 2009), "sample.aedat4": (320, 240, 111_954)}

CONFIG = PRESETS["ds2ta-2-256"]


@pytest.fixture(params=RECORDINGS)
def recording(request):
    path = REAL_EVENTS / request.param
    if not path.exists():
        pytest.skip(f"needs the recording {request.param}, which is not part of the project")
    if path.suffix == ".aedat4" and importlib.util.find_spec("dv_processing") is None:
        pytest.skip("needs dv-processing: pip install '.[events]'")
    return path


def test_every_event_is_read(recording):
    width, height, count = RECORDINGS[recording.name]
    with open_recording(recording) as opened:
        assert (opened.sensor.width, opened.sensor.height) == (width, height)
        assert sum(len(batch) for batch in opened.batches) == count
    frames = read_inputs(recording, CONFIG.input_shape).images
    assert frames.shape == (10, 1, 128, 128, 2)
    assert frames.max() < 255
    assert frames.sum() == count  # nothing is cut off, in space, time or number


@pytest.mark.slow
def test_from_the_file_to_logits_on_every_runtime(cli, tmp_path, leftovers, figures, recording):
    """Random weights that fire on this very recording; compared is what passes between populations."""
    checkpoint = tmp_path / "network.safetensors"
    save_checkpoint(random_network(CONFIG, pixels=read_inputs(recording, CONFIG.input_shape).images), checkpoint)
    arguments = ["--target", "all", "--inputs", recording, "--runtime", "all", "-o", tmp_path / "out", "--json"]
    shown = cli("export", checkpoint, *arguments)
    assert shown.code == 0, shown.err
    parity = shown.data["parity"]
    assert (parity["baseline"], parity["samples"]) == ("torch", 1)
    assert {"reference", STEPPED, *available_runtimes("all", with_checkpoint=False)} == {result["runtime"] for result in parity["runtimes"]}
    for result in parity["runtimes"]:
        assert result["different"] == 0
        figures.check(f"recording: {recording.name}", events=RECORDINGS[recording.name][2], integers=result["integers"], different=0)
    assert len(parity["firing_rates"]) == 19
    assert all(0.005 < rate < 0.95 for rate in parity["firing_rates"].values()), parity["firing_rates"]
    decided = cli("run", tmp_path / "out", "--inputs", recording, "--runtime", "onnxruntime", "--json").data
    assert len(set(decided["logits"][0])) > 1
