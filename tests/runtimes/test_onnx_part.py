import numpy as np
import onnx
import pytest
from builders import assert_fires, build_small_graph, small_inputs, trace_of
from support import one_more

from ds2ta_deploy.errors import InputError
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph.fragment import cut
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.runtimes.onnx_part import cut_out
from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import RUNTIMES


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("known", ["everything", "populations"])
def test_every_value_is_made_alone_of_what_its_op_reads(still, inline, known):
    graph, inputs = build_small_graph(still=still), small_inputs(still=still)
    trace = {**trace_of(graph, inputs), "images": inputs}
    assert_fires(trace)
    names = graph.observable if known == "everything" else population_values(graph)
    runtime = OnnxRuntime(to_onnx(graph, inline=inline).SerializeToString(), graph)
    for value in names:
        part = runtime.isolate(value, names)
        assert part is not None
        assert set(part.reads) == set(cut(graph, value, names).reads), value
        for engine in ("onnxruntime", "onnx-reference"):
            made = RUNTIMES[engine].run_part(part.data, {name: trace[name] for name in part.reads}, value)
            assert made.dtype == trace[value].dtype
            assert np.array_equal(made, trace[value]), (engine, value)


def test_a_part_is_small_and_holds_the_files_own_constants(small_graph, small_inputs):
    data = to_onnx(small_graph).SerializeToString()
    part = OnnxRuntime(one_more(data, "blocks.0.mlp.fc1.weight", 3), small_graph).isolate(
        "blocks.0.mlp.fc1.product", small_graph.observable
    )
    assert len(part.data) < len(data) / 20
    (weight,) = onnx.load_model_from_string(part.data).graph.initializer
    honest = next(tensor for tensor in to_onnx(small_graph).graph.initializer if tensor.name == weight.name)
    difference = onnx.numpy_helper.to_array(weight).astype(int) - onnx.numpy_helper.to_array(honest)
    assert np.flatnonzero(difference).tolist() == [3]


def test_a_part_reads_what_the_file_reads_whatever_the_graph_says(small_graph):
    model = to_onnx(small_graph)
    node = next(node for node in model.graph.node if node.name == "blocks.0.attn")
    node.input[2] = "blocks.0.attn.k.spikes"
    part = OnnxRuntime(model.SerializeToString(), small_graph).isolate("blocks.0.attn.context", small_graph.observable)
    assert part.reads == ("blocks.0.attn.denoised", "blocks.0.attn.k.spikes")


def test_what_cannot_be_cut_out(small_graph):
    model = to_onnx(small_graph)
    assert OnnxRuntime(model.SerializeToString(), small_graph).isolate("head.logits", ["images"]) is not None  # all of the file
    for node in model.graph.node:
        if node.name == "head":
            node.output[0] = "elsewhere"
    assert OnnxRuntime(model.SerializeToString(), small_graph).isolate("head.logits", small_graph.observable) is None
    model = to_onnx(small_graph)
    model.graph.sparse_initializer.add().values.name = "sparse"
    assert cut_out(model, small_graph, "head.logits", small_graph.observable) is None
    assert ReferenceRuntime(small_graph).isolate("head.logits", small_graph.observable) is None


def test_a_file_that_cannot_be_taken_apart_is_no_part(small_graph):
    model = to_onnx(small_graph)
    model.functions[0].node.add().CopyFrom(onnx.helper.make_node(model.functions[0].name, [], [], domain=model.functions[0].domain))
    assert cut_out(model, small_graph, "head.logits", small_graph.observable) is None


@pytest.mark.parametrize("runtime", [OnnxRuntime, OnnxReferenceRuntime])
@pytest.mark.parametrize(("data", "code"), [(b"garbage", "DS2TA-160"), (b"", "DS2TA-161")])
def test_garbage_instead_of_a_part(runtime, data, code):
    with pytest.raises(InputError, match=rf"{code} \[part\]"):
        runtime.run_part(data, {}, "head.logits")
