import copy
import hashlib

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import EVENTS, assert_fires, pixels_for, tiny_config, trace_of
from support import assert_all_equal, frozen, some_manifest

from ds2ta_deploy.artifact import GRAPH, FileEntry
from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.errors import InputError, UnsupportedError, UsageError
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime
from ds2ta_deploy.runtimes.pytorch import FloatRuntime, PytorchRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import open_runtime
from ds2ta_deploy.staging import stage

# --- the quantized model ---------------------------------------------------------------------------------------------

NETWORKS = {
    "pictures": {},
    "event frames": EVENTS,
    "window longer than the run": {"time_steps": 2, "temporal_window": 3},
    "one step": {"time_steps": 1, "temporal_window": 3},
    "no window": {"temporal_window": 1},
    "two blocks, odd width": {"depth": 2, "image_width": 9, "num_heads": 2},
    "slow leak": {"membrane_time_constant": 4.0},
    "inexact leak": {"membrane_time_constant": 3.0},
    "head of 64 channels": {"embed_dim": 64, "num_heads": 1},
    "scale that needs guard bits": {"attention_scale": 0.3},
    "three channels": {"in_channels": 3, "pixel_mean": (0.5, 0.4, 0.3), "pixel_std": (0.2, 0.3, 0.4)},
}


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_every_value_is_the_same_integer_on_all_four_runtimes(changes):
    config = tiny_config(**changes)
    model = quantize(random_network(config, seed=4))
    graph = freeze(model)
    inputs = pixels_for(config, 3, seed=5)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    data = to_onnx(graph).SerializeToString()
    runtimes = [ReferenceRuntime(graph), PytorchRuntime(model, graph), OnnxRuntime(data, graph), OnnxReferenceRuntime(data, graph)]
    for runtime in runtimes:
        assert_all_equal(expected, runtime.trace(inputs, graph.observable))


@pytest.mark.parametrize(
    "settings",
    [
        Quantization(profile="loihi"),
        Quantization(weight_bits=4),
        Quantization(weight_bits=2, first_layer_bits=8),
        Quantization(first_layer_bits=12),
    ],
    ids=["loihi", "4 bits", "2 bits", "12-bit first layer"],
)
def test_every_value_is_the_same_integer_however_it_was_quantized(settings, tiny_model, tiny_inputs):
    model = quantize(tiny_model, settings)
    graph = freeze(model)
    expected = trace_of(graph, tiny_inputs)
    assert_fires(expected)
    for runtime in (PytorchRuntime(model, graph), OnnxRuntime(to_onnx(graph, inline=True).SerializeToString(), graph)):
        assert_all_equal(expected, runtime.trace(tiny_inputs, graph.observable))


def test_only_what_is_wanted_comes_and_always_the_output(tiny_quantized, tiny_graph, tiny_inputs):
    runtime = PytorchRuntime(tiny_quantized, tiny_graph)
    assert runtime.name == "torch"
    assert set(runtime.trace(tiny_inputs, ())) == {"head.logits"}
    assert set(runtime.trace(tiny_inputs, ["blocks.0.attn.scores"])) == {"blocks.0.attn.scores", "head.logits"}


def test_an_unknown_value_is_refused(tiny_quantized, tiny_graph, tiny_inputs):
    with pytest.raises(UsageError, match=r"DS2TA-505 \[nothing\]"):
        PytorchRuntime(tiny_quantized, tiny_graph).trace(tiny_inputs, ["nothing"])


def test_inputs_that_do_not_fit_are_refused(tiny_quantized, tiny_graph, tiny_inputs):
    runtime = PytorchRuntime(tiny_quantized, tiny_graph)
    with pytest.raises(InputError, match="DS2TA-120"):
        runtime.trace(tiny_inputs.astype(np.float32), ())
    with pytest.raises(InputError, match="DS2TA-121"):
        runtime.trace(tiny_inputs[:, 1:], ())


def test_a_model_that_is_not_quantized_is_refused(tiny_model, tiny_graph):
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        PytorchRuntime(tiny_model, tiny_graph)


def test_a_value_that_is_no_integer_is_refused_not_rounded(tiny_quantized, tiny_graph, tiny_inputs):
    model = copy.deepcopy(tiny_quantized)
    model.blocks[0].mlp.fc1.bias.data[3] += 0.5
    with pytest.raises(UnsupportedError, match=r"DS2TA-203 \[blocks\.0\.mlp\.fc1\.(current|membrane)\]"):
        PytorchRuntime(model, tiny_graph).trace(tiny_inputs, tiny_graph.observable)


def test_inputs_that_are_not_contiguous_are_fine(tiny_quantized, tiny_graph, tiny_inputs):
    runtime = PytorchRuntime(tiny_quantized, tiny_graph)
    straight = runtime.trace(tiny_inputs, ())["head.logits"]
    assert np.array_equal(runtime.trace(tiny_inputs[::-1], ())["head.logits"], straight[::-1])


def test_inputs_that_may_not_be_written_to_cause_no_warning(tiny_quantized, tiny_graph, tiny_model, tiny_inputs):
    assert not tiny_inputs.flags.writeable
    torch.set_warn_always(True)
    try:
        PytorchRuntime(tiny_quantized, tiny_graph).trace(tiny_inputs, ())
        FloatRuntime(tiny_model).trace(tiny_inputs, ())
    finally:
        torch.set_warn_always(False)


# --- from an artifact and a checkpoint -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tiny_model):
    path = tmp_path_factory.mktemp("pytorch") / "tiny.safetensors"
    save_checkpoint(tiny_model, path)
    return path


def artifact_of(graph, path, **manifest):
    with stage(path) as staging:
        staging.write({GRAPH: serialize.to_bytes(graph)})
        return staging.commit(some_manifest(**manifest))


def test_the_artifacts_checkpoint_is_quantized_as_it_was(tmp_path, checkpoint, tiny_model, tiny_inputs):
    settings = Quantization(weight_bits=5, first_layer_bits=9)
    graph = freeze(quantize(tiny_model, settings))
    data = checkpoint.read_bytes()
    entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    artifact = artifact_of(graph, tmp_path / "out", checkpoint=entry, quantization=msgspec.to_builtins(settings))
    expected = trace_of(graph, tiny_inputs)
    assert_fires(expected)
    assert_all_equal(expected, open_runtime("torch", artifact, checkpoint).trace(tiny_inputs, graph.observable))


def test_another_checkpoint_is_refused(tmp_path, checkpoint, tiny_graph):
    entry = FileEntry("0" * 64, 1)
    artifact = artifact_of(tiny_graph, tmp_path / "out", checkpoint=entry)
    with pytest.raises(InputError, match=r"DS2TA-156 .*does not give the artifact's graph"):
        open_runtime("torch", artifact, checkpoint)


def test_a_checkpoint_of_another_network_is_refused_even_when_none_is_recorded(tmp_path, checkpoint, small_graph):
    artifact = artifact_of(frozen(small_graph), tmp_path / "out")
    with pytest.raises(InputError, match="DS2TA-156"):
        open_runtime("torch", artifact, checkpoint)


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path, tiny_graph):
    artifact = artifact_of(tiny_graph, tmp_path / "out")
    with pytest.raises(InputError, match=r"DS2TA-101 \[.*nowhere\]: cannot be read"):
        open_runtime("torch", artifact, tmp_path / "nowhere")


@pytest.mark.parametrize("quantization", [{"bits": 8}, {"weight_bits": "eight"}])
def test_a_manifest_with_settings_that_nobody_knows_is_refused(tmp_path, checkpoint, tiny_graph, quantization):
    artifact = artifact_of(tiny_graph, tmp_path / "out", quantization=quantization)
    with pytest.raises(InputError, match="DS2TA-151"):
        open_runtime("torch", artifact, checkpoint)


# --- the trained model -----------------------------------------------------------------------------------------------


def test_the_float_model_gives_the_values_of_the_same_names(tiny_model, tiny_graph, tiny_inputs):
    runtime = FloatRuntime(tiny_model)
    assert runtime.name == "torch-float"
    assert set(runtime.value_names) == set(tiny_graph.observable)
    trace = runtime.trace(tiny_inputs, runtime.value_names)
    assert set(trace) == set(tiny_graph.observable)
    for name, value in trace.items():
        assert value.dtype == np.float32
        assert value.shape == tuple(4 if size is None else size for size in tiny_graph.types[name].shape), name
        assert np.isfinite(value).all()
    spikes = {name: value for name, value in trace.items() if name.endswith(".spikes")}
    assert all(set(np.unique(value)) == {0.0, 1.0} for value in spikes.values())
    assert_fires(spikes)


def test_the_float_models_logits_are_what_calling_it_gives(tiny_model, tiny_inputs):
    with torch.inference_mode():
        expected = tiny_model(torch.from_numpy(tiny_inputs.copy())).numpy()
    trace = FloatRuntime(tiny_model).trace(tiny_inputs, ())
    assert set(trace) == {"head.logits"}
    assert np.array_equal(trace["head.logits"], expected)


def test_a_model_in_training_is_put_in_evaluation_mode(tiny_model, tiny_inputs):
    expected = FloatRuntime(tiny_model).trace(tiny_inputs, ())["head.logits"]
    again = FloatRuntime(copy.deepcopy(tiny_model).train()).trace(tiny_inputs, ())["head.logits"]
    assert np.array_equal(again, expected)


@pytest.mark.parametrize(
    "change", [lambda x: x.astype(np.float32), lambda x: x[0], lambda x: x[:, 1:], lambda x: x[None]], ids=["float", "rank", "size", "axis"]
)
def test_the_float_model_takes_the_same_inputs_and_no_others(tiny_model, tiny_inputs, change):
    with pytest.raises(InputError, match=r"DS2TA-12[01]"):
        FloatRuntime(tiny_model).trace(change(tiny_inputs), ())
