"""The file as a whole: what any engine, viewer or auditor may rely on."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import assert_fires, build_small_graph, small_inputs, trace_of
from onnx import checker, numpy_helper, shape_inference
from support import assert_all_equal, assert_exported_equal, on_onnx_reference, on_onnxruntime, spiking_chain

import ds2ta_deploy
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph.populations import group, population_values
from ds2ta_deploy.runtimes.onnx_file import expose

INTEGERS = {getattr(onnx.TensorProto, name) for name in ("UINT8", "INT8", "INT16", "INT32", "INT64")}
FLOATS = {onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS}


@pytest.fixture(scope="module", params=["functions", "inline"])
def model(request, small_graph):
    return to_onnx(small_graph, inline=request.param == "inline")


def every_node(model):
    return [*model.graph.node, *(node for function in model.functions for node in function.node)]


# --- the contract ----------------------------------------------------------------------------------------------------


def test_opset_ir_and_domain_are_those_promised(model):
    assert model.ir_version == 10
    expected = {"": 20, "ai.ds2ta": 1} if model.functions else {"": 20}
    assert {opset.domain: opset.version for opset in model.opset_import} == expected
    assert {function.domain for function in model.functions} <= {"ai.ds2ta"}
    assert {node.domain for node in every_node(model)} <= {"", "ai.ds2ta"}


def test_the_checker_has_nothing_to_say(model):
    checker.check_model(model, full_check=True)
    shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


@pytest.mark.parametrize("inline", [False, True])
def test_what_is_returned_was_checked_in_full(small_graph, monkeypatch, inline):
    checked = []
    monkeypatch.setattr(checker, "check_model", lambda model, *, full_check=False: checked.append((model, full_check)))
    model = to_onnx(small_graph, inline=inline)
    assert [full for seen, full in checked if seen is model] == [True]


def test_uint8_pictures_go_in_and_int32_logits_come_out(model):
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, given.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert (made.name, made.type.tensor_type.elem_type) == ("head.logits", onnx.TensorProto.INT32)
    assert [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim] == ["batch", 7, 5, 2]
    assert [size.dim_param or size.dim_value for size in made.type.tensor_type.shape.dim] == ["batch", 3]


def test_nothing_but_integers_anywhere(model):
    assert {tensor.data_type for tensor in model.graph.initializer} <= INTEGERS
    typed = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    assert {value.type.tensor_type.elem_type for value in typed} <= INTEGERS
    for node in every_node(model):
        for attribute in node.attribute:
            assert attribute.type not in FLOATS, f"{node.op_type}.{attribute.name}"
            if attribute.type == onnx.AttributeProto.TENSOR:
                assert attribute.t.data_type in INTEGERS
            if (node.op_type, attribute.name) == ("Cast", "to"):
                assert attribute.i in INTEGERS
            assert attribute.type not in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}


def test_every_value_between_the_nodes_is_an_integer_or_a_comparison(small_graph):
    inferred = shape_inference.infer_shapes(to_onnx(small_graph, inline=True), check_type=True, strict_mode=True, data_prop=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    made = {name for node in inferred.graph.node for name in node.output} - {"head.logits"}
    assert made <= set(kinds)
    comparisons = {name for node in inferred.graph.node for name in node.output if node.op_type in {"GreaterOrEqual"}}
    joined = {node.output[0] for node in inferred.graph.node if node.op_type == "Concat" and set(node.input) <= comparisons}
    assert {name for name, kind in kinds.items() if kind not in INTEGERS} <= comparisons | joined


def test_only_ops_that_are_exact_on_integers(model):
    called = {node.op_type for node in every_node(model) if node.domain == ""}
    known = "Add BitwiseAnd Cast Concat Constant Div Gather GatherElements GreaterOrEqual Identity MatMulInteger Max Mul Neg Pad Range"
    known += " ReduceSum Reshape Shape Slice Split Squeeze Tile Transpose Unsqueeze Where"
    assert called <= set(known.split())
    assert "MatMulInteger" in called


def test_every_division_is_of_what_a_mask_made_divisible(small_graph):
    # plain Div truncates on some engines and floors on others; behind BitwiseAnd(x, -2^k) they agree
    inlined = to_onnx(small_graph, inline=True)
    maker = {name: node for node in inlined.graph.node for name in node.output}
    divisions = [node for node in inlined.graph.node if node.op_type == "Div"]
    assert len(divisions) > 20
    assert {maker[node.input[0]].op_type for node in divisions} == {"BitwiseAnd"}


def test_weights_are_int8_but_the_first_layers(model, small_graph):
    kinds = {tensor.name: numpy_helper.to_array(tensor).dtype for tensor in model.graph.initializer}
    weights = {name: kind for name, kind in kinds.items() if name.endswith(".weight")}
    assert weights.pop("patch.stages.0.weight") == np.int16
    assert len(weights) == 8
    assert set(weights.values()) == {np.dtype(np.int8)}
    assert {kinds[name] for name in kinds if name.endswith((".bias", ".threshold"))} == {np.dtype(np.int32)}
    assert {kinds[name] for name in kinds if name.endswith(".table")} == {np.dtype(np.int16)}


def test_every_weight_is_stored_once(model, small_graph):
    stored = sum(numpy_helper.to_array(tensor).size for tensor in model.graph.initializer if tensor.name.endswith(".weight"))
    assert stored == sum(op.weight.size for op in small_graph if hasattr(op, "weight"))
    constants = [attribute.t for node in every_node(model) for attribute in node.attribute if attribute.type == onnx.AttributeProto.TENSOR]
    assert all(math.prod(tensor.dims) <= 1 for tensor in constants)


def test_no_external_data_and_no_path_of_this_machine(model):
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT and not tensor.external_data for tensor in model.graph.initializer)
    data = model.SerializeToString()
    strange = [str(Path.cwd()), str(Path.home()), os.sep + "tmp", ".py", "site-packages", "file:", sys.prefix]
    assert [text for text in strange if text.encode() in data] == []


def test_the_file_says_what_it_is(model, small_graph):
    facts = {f"ds2ta.{name}": str(value) for name, value in small_graph.facts.items()}
    expected = facts | {"ds2ta.graph": "small", "ds2ta.output_scale": repr(small_graph.output_scale)}
    assert {entry.key: entry.value for entry in model.metadata_props} == expected
    assert f"{small_graph.output_scale} times the integer logits" in model.doc_string
    assert model.producer_version == ds2ta_deploy.__version__


# --- populations are functions ---------------------------------------------------------------------------------------


def test_every_population_is_one_node_that_viewers_show_by_name(small_graph):
    model = to_onnx(small_graph)
    assert [node.name for node in model.graph.node] == [population.name for population in group(small_graph)]
    assert [node.output[0] for node in model.graph.node] == list(population_values(small_graph))
    defined = {function.name for function in model.functions}
    called = {node.op_type for node in every_node(model) if node.domain == "ai.ds2ta"}
    assert called == defined
    assert {"Lif", "TemporalWindow", "Lookup"} <= defined


def test_functions_stand_before_those_that_call_them(small_graph):
    known = set()
    for function in to_onnx(small_graph).functions:
        assert {node.op_type for node in function.node if node.domain == "ai.ds2ta"} <= known
        known.add(function.name)


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("Lif", "V[t] = ((V[t-1] (1 - s[t-1])) * leak_numerator >> leak_shift) + current[t], s[t] = V[t] >= threshold."),
        ("TemporalWindow", "current[t] = sum_{m=0}^{min(t, TAW-1)} ((product[t-m] << g) >> tau m) + (bias << g); >> floors."),
        ("Lookup", "A[h, i, j] = table[h, S[h, i, j]]"),
        ("SpikingAttention", "S = Q K^T, O = A V, M = K^T V or O = Q M"),
        ("SpikingLinear", "product[t, b, n] = W x[t, b, n]"),
        ("SpikingConv2d", "product[y, x] = sum_{i,j} W[:, i, j] in[y + r (i - k//2), x + r (j - k//2)]"),
        ("Readout", "logits = sum_t sum_n W x[t, n] + bias"),
        ("SpikingConv2d", "Here k = 3, r = 1."),
        ("InputTable", "out[..., c] = table[c, in[..., c]]"),
    ],
)
def test_viewers_see_the_equation_of_every_function(small_graph, name, equation):
    (about,) = [function.doc_string for function in to_onnx(small_graph).functions if function.name == name]
    assert equation in about


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("SpikingNeuron", "s[t] = V[t] >= threshold."),
        ("LinearSynapses", "product[t, b, n] = W x[t, b, n]"),
        ("ComposedSpikingAttention", "out[c, b, h, i N + n] = in[c steps + i, b, h, n]"),
        ("TimeMix", "H[t] = sum over s <= t of matrix[t, s] x[s]"),
        ("Threshold", "s[t] = x[t] >= threshold[t]"),
        ("AxisSum", "out = sum over axis of in"),
        ("AxisSum", "Here axis = 2."),
        ("MaxPool2d", "out[y, x] = max over i, j in -1..1 of in[stride y + i, stride x + j]"),
    ],
)
def test_viewers_see_the_equations_of_a_streams_functions(stream_graph, name, equation):
    (about,) = [function.doc_string for function in to_onnx(stream_graph).functions if function.name == name]
    assert equation in about


def test_what_viewers_see_is_plain_text_and_explains_every_attribute(small_graph, stream_graph):
    for function in (*to_onnx(small_graph).functions, *to_onnx(stream_graph).functions):
        assert not {"``", ":attr:", ":class:", "Attributes:"} & set(function.doc_string.replace("\n", " ").split(" "))
        assert "`" not in function.doc_string
        assert not any(line.startswith(" ") for line in function.doc_string.splitlines())
        for attribute in function.attribute:
            assert f"\n{attribute}: " in function.doc_string


def test_the_types_of_what_passes_between_populations_are_declared(model, small_graph):
    declared = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.value_info
    }
    for name in population_values(small_graph):
        if name != small_graph.output:
            assert declared[name] == ["batch" if size is None else size for size in small_graph.types[name].shape]


def test_inline_has_no_functions_and_every_value_by_its_dotted_name(small_graph):
    model = to_onnx(small_graph, inline=True)
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert set(small_graph.observable) <= {name for node in model.graph.node for name in node.output}


def test_the_two_forms_differ_in_nothing_but_form(small_graph, small_inputs):
    plain, inlined = to_onnx(small_graph), to_onnx(small_graph, inline=True)
    assert [tensor.SerializeToString() for tensor in plain.graph.initializer] == [
        tensor.SerializeToString() for tensor in inlined.graph.initializer
    ]
    expected = trace_of(small_graph, small_inputs)
    assert_fires(expected)
    for model in (plain, inlined):
        for engine in (on_onnxruntime, on_onnx_reference):
            exposed, names = expose(model, small_graph, small_graph.observable)
            found = engine(exposed, {"images": small_inputs})
            assert list(found) == names
            assert_all_equal(expected, found)


# --- the same bytes, any batch ---------------------------------------------------------------------------------------


def test_the_same_graph_gives_the_same_bytes(model):
    again = to_onnx(build_small_graph(), inline=not model.functions)
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def in_another_process(program, *flags):
    """Run a program in a Python that differs in all that must not matter."""
    places = [str(Path(__file__).parents[2]), str(Path(ds2ta_deploy.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    command = [sys.executable, *flags, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")


def test_the_bytes_do_not_depend_on_the_process(model):
    program = (
        "import hashlib, builders; from ds2ta_deploy.exporters.onnx import to_onnx;"
        f"data = to_onnx(builders.build_small_graph(), inline={not model.functions}).SerializeToString(deterministic=True);"
        "print(hashlib.sha256(data).hexdigest())"
    )
    done = in_another_process(program)
    assert done.stdout.split() == [hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()], done.stderr


def test_a_python_that_dropped_the_docstrings_would_write_other_bytes_and_is_refused():
    program = "import builders; from ds2ta_deploy.exporters.onnx import to_onnx; to_onnx(builders.build_small_graph())"
    done = in_another_process(program, "-OO")
    assert done.returncode == 1
    assert "UnsupportedError: DS2TA-232" in done.stderr


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("inline", [True, False])
def test_the_batch_is_free_and_samples_do_not_touch_each_other(still, inline):
    graph, inputs = build_small_graph(still=still), small_inputs(still=still)
    model, _ = expose(to_onnx(graph, inline=inline), graph, population_values(graph))
    axis = graph.input_type.shape.index(None)
    whole = on_onnxruntime(model, {"images": inputs})
    assert_fires(whole)
    for sample in range(5):
        alone = on_onnxruntime(model, {"images": inputs.take([sample], axis)})
        expected = {name: value.take([sample], graph.types[name].shape.index(None)) for name, value in whole.items()}
        assert_all_equal(expected, alone)
    twice = on_onnxruntime(model, {"images": np.concatenate([inputs, inputs], axis)})
    assert np.array_equal(twice["head.logits"], np.concatenate([whole["head.logits"]] * 2))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_any_number_of_time_steps(steps):
    assert_exported_equal(*spiking_chain(steps, window=(1, 0, 0)))


def test_a_graphs_name_is_the_models_name(model, small_graph):
    assert model.graph.name == small_graph.name
    assert model.producer_name == "ds2ta-deploy"
