"""ONNX Runtime with the native library's kernels: the same integers as the graph, from the file that everyone else runs too."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from builders import EVENTS, assert_fires, build_small_graph, pixels_for, small_inputs, tiny_config, trace_of
from stream_graph import build_stream_graph
from support import assert_all_equal, attention_on_counts, frozen, some_manifest, spiking_chain

from ds2ta_deploy.artifact import GRAPH, MODEL, Artifact
from ds2ta_deploy.errors import InputError, MissingRuntimeError, UnsupportedError, UsageError
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.ort import OnnxRuntime
from ds2ta_deploy.runtimes.ort_native import KERNELS, OnnxNativeRuntime
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime
from ds2ta_deploy.staging import stage

pytestmark = pytest.mark.skipif(library.library_path() is None, reason="the native library was not built: there is no C compiler")

#: Functions that have no kernel of their own, and are called by name from the main graph.
WITHOUT_KERNEL = {"InputTable"}

MODES = {"still": True, "frames": False}


@pytest.fixture(scope="module", params=MODES)
def small(request):
    """Return a graph, inputs, what it computes, and its file."""
    graph, inputs = build_small_graph(still=MODES[request.param]), small_inputs(still=MODES[request.param])
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    return graph, inputs, expected, to_onnx(graph)


def some_of(inputs, batch):
    """Return the first samples of pictures or frames."""
    return inputs[:batch] if inputs.ndim == 4 else inputs[:, :batch]


# --- the same integers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [1, 3, 5])
def test_every_value_is_that_of_the_graph(small, batch, threads, monkeypatch):
    monkeypatch.setenv("DS2TA_THREADS", str(threads))
    graph, inputs, _, model = small
    chosen = some_of(inputs, batch)
    opened = OnnxNativeRuntime(model.SerializeToString(), graph)
    assert_all_equal(trace_of(graph, chosen), opened.trace(chosen, graph.observable))


def test_on_every_instruction_set(small, monkeypatch):
    graph, inputs, expected, model = small
    assert "scalar" in library.instruction_sets()
    for name in library.instruction_sets():
        monkeypatch.setenv("DS2TA_ISA", name)
        opened = OnnxNativeRuntime(model.SerializeToString(), graph)
        assert_all_equal(expected, opened.trace(inputs, graph.observable))


def test_the_same_file_runs_without_the_library(small):
    graph, inputs, expected, model = small
    data = model.SerializeToString()
    OnnxNativeRuntime(data, graph).trace(inputs, ())
    assert_all_equal(expected, OnnxRuntime(data, graph).trace(inputs, graph.observable))


@pytest.mark.parametrize("steps", [1, 4, 10])
@pytest.mark.parametrize("changes", [{}, EVENTS], ids=["images", "frames"])
def test_the_tiny_network_for_few_steps_and_many(steps, changes):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.models.calibration import random_network
    from ds2ta_deploy.quantization import quantize

    config = tiny_config(**(changes | {"time_steps": steps}))
    graph, inputs = freeze(quantize(random_network(config, seed=1))), pixels_for(config, 3, seed=2)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    opened = OnnxNativeRuntime(to_onnx(graph).SerializeToString(), graph)
    assert_all_equal(expected, opened.trace(inputs, graph.observable))
    assert np.array_equal(opened.trace(some_of(inputs, 1), ())["head.logits"], expected["head.logits"][:1])


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 10, 16])
@pytest.mark.parametrize("counts", [0, 3])
@pytest.mark.parametrize("window", [(1, 0, 0), (1, 0, 3), (3, 2, 4), (3, 2, 1), (64, 8, 0)], ids=str)
def test_windows_leaks_and_counts(steps, counts, window):
    graph, inputs = spiking_chain(steps, window=window, leak=(3, 2) if steps % 2 else (1, 1), counts=counts)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    opened = OnnxNativeRuntime(to_onnx(graph).SerializeToString(), graph)
    assert_all_equal(expected, opened.trace(inputs, graph.observable))


@pytest.mark.slow
def test_the_bundled_network(tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.cli.main import group, run

    example = Path(__file__).parents[2] / "examples" / "fashion_mnist"
    command = ["export", str(example / "ds2ta-2-64.safetensors"), "--inputs", str(example / "ds2ta-2-64.npz")]
    assert run(group, [*command, "--values", "all", "--runtime", "onnxruntime-native", "-o", str(tmp_path / "out")], "ds2ta") == 0
    parity = {entry.runtime: entry for entry in Artifact.open(tmp_path / "out").manifest.parity}
    assert parity["onnxruntime-native"].different == 0
    assert parity["onnxruntime-native"].integers >= 5 * 10**7


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("inline", [False, True])
def test_what_has_no_kernel_is_computed_by_its_body(still, inline):
    graph, inputs = build_stream_graph(still=still), small_inputs(still=still)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    opened = OnnxNativeRuntime(to_onnx(graph, inline=inline).SerializeToString(), graph)
    assert_all_equal(expected, opened.trace(inputs, graph.observable))


def test_the_functions_with_kernels_are_those_that_the_library_registers():
    source = Path(library.__file__).parent / "src" / "onnx_door.c"
    layers = source.read_text().split("LAYERS[] = {")[1].split("\n};")[0]
    assert set(re.findall(r'\{"(\w+)"', layers)) == KERNELS


def test_more_steps_than_a_kernel_runs_are_said_at_once():
    graph, _ = spiking_chain(65)
    with pytest.raises(UnsupportedError, match=r"DS2TA-243 \[conv\].*at most 64 time steps"):
        OnnxNativeRuntime(to_onnx(graph).SerializeToString(), graph)


# --- who computes ----------------------------------------------------------------------------------------------------


def test_the_kernels_need_none_of_the_bodies(small):
    graph, inputs, expected, model = small
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.functions[:]
    bare.functions.extend(function for function in model.functions if function.name in WITHOUT_KERNEL)
    opened = OnnxNativeRuntime(bare.SerializeToString(), graph)
    assert np.array_equal(opened.trace(inputs, ())["head.logits"], expected["head.logits"])
    with pytest.raises(InputError, match=r"DS2TA-161 .*is not a registered function/op"):
        OnnxRuntime(bare.SerializeToString(), graph).trace(inputs, ())


def test_a_file_without_functions_runs_too(small):
    graph, inputs, expected, _ = small
    data = to_onnx(graph, inline=True).SerializeToString()
    assert_all_equal(expected, OnnxNativeRuntime(data, graph).trace(inputs, graph.observable))


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_no_optimization_puts_a_body_in_a_kernels_place(small, level, tmp_path):
    _, inputs, expected, model = small
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that the saved file suits this machine only
    options.register_custom_ops_library(str(library.library_path()))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": inputs})
    assert np.array_equal(logits, expected["head.logits"])
    kept = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node if node.domain == "ai.ds2ta"]
    wanted = [node.op_type for node in model.graph.node if node.domain == "ai.ds2ta" and node.op_type not in WITHOUT_KERNEL]
    assert sorted(kept) == sorted(wanted)
    assert len(kept) > 8


def test_one_session_serves_several_threads(small):
    graph, inputs, expected, model = small
    opened = OnnxNativeRuntime(model.SerializeToString(), graph)
    opened.trace(inputs, ())
    batches = [1 + index % 5 for index in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: opened.trace(some_of(inputs, batch), ())["head.logits"], batches))
    for batch, logits in zip(batches, found, strict=True):
        assert np.array_equal(logits, expected["head.logits"][:batch])


def test_counts_in_an_attention_are_said_to_need_the_bodies():
    graph, inputs = attention_on_counts(1)
    data = to_onnx(graph).SerializeToString()
    assert_all_equal(trace_of(graph, inputs), OnnxRuntime(data, graph).trace(inputs, graph.observable))
    with pytest.raises(UnsupportedError, match=r"DS2TA-243 .*counts up to 2"):
        OnnxNativeRuntime(data, graph)
    session = OnnxNativeRuntime.load(onnx.load_model_from_string(data))  # as whoever registers the library alone
    with pytest.raises(Exception, match=r"counts above 1.* runs without this library"):
        session([graph.output], {graph.input_name: inputs})


# --- opening and settings --------------------------------------------------------------------------------------------


def test_it_opens_by_name(small, tmp_path):
    graph, inputs, expected, model = small
    with stage(tmp_path / "out") as staging:
        staging.write({GRAPH: serialize.to_bytes(frozen(graph)), MODEL: model.SerializeToString()})
        artifact = staging.commit(some_manifest())
    opened = open_runtime("onnxruntime-native", artifact)
    assert isinstance(opened, OnnxNativeRuntime)
    assert opened.name == "onnxruntime-native"
    assert np.array_equal(opened.trace(inputs, ())["head.logits"], expected["head.logits"])


def test_without_the_library_it_says_how_to_get_it(small, monkeypatch):
    graph, _, _, model = small
    library.load.cache_clear()
    monkeypatch.setattr(library, "library_path", lambda: None)
    assert not RUNTIMES["onnxruntime-native"].available
    with pytest.raises(MissingRuntimeError, match="DS2TA-405"):
        OnnxNativeRuntime(model.SerializeToString(), graph)


def test_the_environments_settings_reach_the_library(monkeypatch):
    monkeypatch.setenv("DS2TA_ISA", "scalar")
    monkeypatch.setenv("DS2TA_THREADS", "3")
    options = OnnxNativeRuntime.options(None)
    assert (options.get_session_config_entry("ds2ta.isa"), options.get_session_config_entry("ds2ta.threads")) == ("scalar", "3")
    assert options.intra_op_num_threads == 3
    assert OnnxNativeRuntime.options(2).intra_op_num_threads == 2


@pytest.mark.parametrize(("variable", "value"), [("DS2TA_ISA", "mmx"), ("DS2TA_THREADS", "none"), ("DS2TA_THREADS", "0")])
def test_settings_that_cannot_be(small, monkeypatch, variable, value):
    graph, _, _, model = small
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=rf"\[{variable}\]"):
        OnnxNativeRuntime(model.SerializeToString(), graph)
