"""The networks of the paper at their full size, with random weights that fire. Minutes, not seconds."""

import json
import resource
import subprocess
import sys

import onnx
import pytest
from lava_support import needs_lava
from support import STEPPED

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.artifact import MODEL, Artifact
from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.exporting import export
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.ops import Linear
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.synthetic import synthetic_pixels

pytestmark = pytest.mark.slow

#: Memory that exporting and verifying ds2ta-4-384 on 8 pictures may take.
BYTES = 4 * 2**30


def pixels(config, batch):
    """Return synthetic inputs of the network's shape."""
    return synthetic_pixels(config.input_kind, tuple(batch if size is None else size for size in config.input_shape), 1)


def assert_parity(report, runtimes):
    """Assert that everything was equal and every layer fired."""
    assert report["passed"] is True
    assert report["baseline"] == "torch"
    assert [(result["runtime"], result["different"]) for result in report["runtimes"]] == [(name, 0) for name in runtimes]
    assert all(0.005 < rate < 0.95 for rate in report["firing_rates"].values()), report["firing_rates"]


def test_ds2ta_4_384_with_every_value_in_four_gigabytes(tmp_path):
    save_checkpoint(random_network(PRESETS["ds2ta-4-384"], seed=0), tmp_path / "large.safetensors")
    command = [sys.executable, "-m", "ds2ta_deploy.cli.main", "export", "large.safetensors", "--values", "all", "-o", "out", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["parity"]
    assert_parity(report, ["reference", "onnxruntime", STEPPED])
    assert report["samples"] == 8
    assert len(report["firing_rates"]) == 5 + 4 * 7
    assert min(result["integers"] for result in report["runtimes"]) > 2 * 10**8
    assert (tmp_path / "out" / MODEL).stat().st_size <= 11 * 10**6
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < BYTES


def test_ds2ta_2_256_on_event_frames(tmp_path):
    config = PRESETS["ds2ta-2-256"]
    model = quantize(random_network(config, seed=0, batch=2))
    graph = freeze(model)
    reports = []
    artifact = export(graph, out=tmp_path / "out", model=model, inputs=pixels(config, 1), on_report=reports.append)
    (report,) = reports
    assert report.passed
    assert report.silent == {}
    assert [(result.runtime, result.different) for result in report.results] == [("reference", 0), ("onnxruntime", 0), (STEPPED, 0)]
    assert min(result.integers for result in report.results) > 10**7
    assert Artifact.open(artifact.path).manifest.config["input_kind"] == "frames"


@needs_lava
@pytest.mark.parametrize(("name", "samples"), [("ds2ta-4-384", 4), ("ds2ta-2-256", 2)])
def test_on_lava_at_full_size(name, samples, tmp_path, leftovers):
    config = PRESETS[name]
    model = quantize(random_network(config, seed=0, batch=2), Quantization(profile="loihi"))
    reports = []
    export(freeze(model), "lava", tmp_path / "out", model=model, inputs=pixels(config, samples), on_report=reports.append)
    (report,) = reports
    assert report.passed
    assert report.silent == {}
    assert [(result.runtime, result.different) for result in report.results] == [("reference", 0), ("lava", 0), ("lava-stepper", 0)]
    assert min(result.integers for result in report.results) > 2 * 10**7


IMAGENET = [name for name in PRESETS if "-8-" in name]


@pytest.mark.parametrize("name", ["ds2ta-8-512", "statten-8-512"])
def test_imagenet_shapes_in_six_gigabytes(name, tmp_path):
    """224 x 224 pixels, 196 tokens, 8 blocks of width 512: a map of queries by keys in one, streams and chunks in the other."""
    assert name in IMAGENET
    save_checkpoint(random_network(PRESETS[name], seed=0, batch=1), tmp_path / "large.safetensors")
    options = ["--samples", "1", "--runtime", "onnxruntime", "--runtime", "native", "-o", "out", "--json"]
    command = [sys.executable, "-m", "ds2ta_deploy.cli.main", "export", "large.safetensors", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["parity"]
    assert_parity(report, ["reference", "onnxruntime", STEPPED, "native"])
    assert min(result["integers"] for result in report["runtimes"]) > 6 * 10**7
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 6 * 2**30


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in IMAGENET])
def test_every_preset_is_a_file_that_the_checker_accepts(name):
    graph = freeze(quantize(random_network(PRESETS[name], seed=0, batch=1)))
    model = to_onnx(graph)  # checks itself
    assert not {tensor.data_type for tensor in model.graph.initializer} & {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
    layers = len([op for op in graph if isinstance(op, Linear)])
    assert layers == (5 if name == "snn-vit-2-256" else 6) * PRESETS[name].depth  # the saccade V2 has no keys
    assert len([node for node in model.graph.node if "Linear" in node.op_type]) == layers
