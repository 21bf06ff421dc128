"""The trained event network that is bundled, from a recording to decisions."""

from pathlib import Path

import numpy as np
import pytest
from support import STEPPED

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import read_npz
from ds2ta_deploy.inputs import read_inputs
from ds2ta_deploy.verification import available_runtimes

EXAMPLE = Path(__file__).parents[2] / "examples" / "events"
CHECKPOINT = EXAMPLE / "ds2ta-2-64-events.safetensors"
RECORDINGS = sorted((EXAMPLE / "recordings").glob("*/*.bin"))


def test_the_files_are_small_and_belong_together():
    assert CHECKPOINT.stat().st_size < 1_000_000
    bundled = read_npz(CHECKPOINT.with_suffix(".npz"))
    shape = load_checkpoint(CHECKPOINT).config.input_shape
    for path in RECORDINGS:
        number = int(path.stem)
        assert (read_inputs(path, shape).images[:, 0] == bundled.images[:, number]).all()
        assert bundled.labels[number] == int(path.parent.name)


def test_a_recording_is_recognised_by_the_float_network(cli):
    assert RECORDINGS
    for path in RECORDINGS:
        shown = cli("run", CHECKPOINT, "--inputs", path, "--json")
        assert shown.code == 0, shown.err
        assert shown.data["decisions"] == [int(path.parent.name)]


@pytest.mark.slow
def test_on_every_runtime(cli, tmp_path, leftovers):
    """The recordings beside the checkpoint are what it is verified on."""
    out = tmp_path / "out"
    shown = cli("export", CHECKPOINT, "--target", "all", "--runtime", "all", "--values", "all", "-o", out, "--json")
    assert shown.code == 0, shown.err
    parity = shown.data["parity"]
    assert parity["samples"] == 64
    assert {"reference", STEPPED, *available_runtimes("all", with_checkpoint=False)} == {result["runtime"] for result in parity["runtimes"]}
    assert all(result["different"] == 0 and result["integers"] > 10**7 for result in parity["runtimes"])
    assert len(parity["firing_rates"]) == 19
    assert all(0.005 < rate < 0.95 for rate in parity["firing_rates"].values()), parity["firing_rates"]
    graph = Artifact.open(out).graph
    for path in RECORDINGS:
        decided = cli("run", out, "--inputs", path, "--json").data
        expected = graph.execute(read_inputs(path, graph.input_type.shape).images)
        assert np.array_equal(decided["logits"], expected)
        assert decided["decisions"] == [int(path.parent.name)]
    scored = cli("eval", out, "--data", EXAMPLE / "recordings", "--json").data
    assert (scored["samples"], scored["correct"]) == (len(RECORDINGS), len(RECORDINGS))
