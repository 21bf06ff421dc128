from builders import assert_fires, trace_of
from support import assert_all_equal

from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime


def test_it_is_the_runtime_of_its_name():
    assert (OnnxReferenceRuntime.name, OnnxReferenceRuntime.engine) == ("onnx-reference", "onnx's ReferenceEvaluator")


def test_two_engines_that_share_no_code_agree_on_every_value(small_graph, small_inputs):
    data = to_onnx(small_graph).SerializeToString()
    traces = [runtime(data, small_graph).trace(small_inputs, small_graph.observable) for runtime in (OnnxRuntime, OnnxReferenceRuntime)]
    assert_fires(traces[0])
    assert_all_equal(*traces)
    assert_all_equal(trace_of(small_graph, small_inputs), traces[1])
