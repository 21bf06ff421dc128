import numpy as np
import onnxruntime
import pytest
from builders import trace_of

from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.runtimes.ort import OnnxRuntime


def test_it_is_the_runtime_of_its_name():
    assert (OnnxRuntime.name, OnnxRuntime.engine) == ("onnxruntime", "ONNX Runtime")


@pytest.mark.parametrize("inline", [False, True])
def test_a_stock_session_without_any_code_of_ours_gives_the_same_logits(inline, small_graph, small_inputs):
    data = to_onnx(small_graph, inline=inline).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": small_inputs})
    assert np.array_equal(logits, trace_of(small_graph, small_inputs)["head.logits"])
    assert len(np.unique(logits.argmax(axis=1))) > 1


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_no_optimization_of_onnx_runtime_changes_an_integer(level, small_graph, small_inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    data = to_onnx(small_graph).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": small_inputs})
    assert np.array_equal(logits, trace_of(small_graph, small_inputs)["head.logits"])


def test_it_runs_on_the_cpu_and_says_nothing(small_graph, small_inputs, capfd):
    OnnxRuntime(to_onnx(small_graph).SerializeToString(), small_graph).trace(small_inputs, small_graph.observable)
    assert capfd.readouterr() == ("", "")
