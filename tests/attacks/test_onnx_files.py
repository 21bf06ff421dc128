"""ONNX files that reach for other files, never end, or lie about their weights. The artifact around them has the right hashes."""

import os
from itertools import pairwise

import builders
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stream_graph import build_stream_graph
from support import rewrite

from ds2ta_deploy.artifact import MODEL, MODEL_STEP
from ds2ta_deploy.errors import InputError
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.exporters.onnx.step_model import to_onnx_step
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.onnx_structure import BRANCHES, FUNCTIONS, MOST_NODES, OPS, require_exported

BOTH = pytest.mark.parametrize("reader", ["onnx", "onnx-reference"])


@pytest.fixture(scope="module")
def exported():
    return to_onnx(builders.build_small_graph())


@pytest.fixture
def model(exported):
    """Return an exported file, parsed, to be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(exported)
    return copy


@pytest.fixture
def rejected(tmp_path, refused, contained):
    """Return a function that asserts that both runtimes refuse a file before their engine sees it."""

    def reject(model: onnx.ModelProto, code: str = "DS2TA-164"):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        refused("onnx", path, code)
        return refused("onnx-reference", path, code)

    return reject


def constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def exports(model: onnx.ModelProto, node: onnx.NodeProto, kind: int = TensorProto.INT32) -> onnx.ModelProto:
    """Append a node whose first output the file gives."""
    model.graph.node.append(node)
    model.graph.output.append(helper.make_tensor_value_info(node.output[0], kind, None))
    return model


# --- other files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "weights/../../secret", "secret", "link", ""])
@pytest.mark.parametrize("place", ["weight", "constant"])
def test_weights_in_another_file(tmp_path, model, rejected, place, location, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(4096))
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    if place == "weight":
        tensor = model.graph.initializer[0]
    else:
        constants = [a.t for f in model.functions for n in f.node for a in n.attribute if a.name == "value" and a.HasField("t")]
        model.functions[0].node.append(helper.make_node("Constant", [], ["more"], value=numpy_helper.from_array(np.zeros(3), "c")))
        tensor = constants[0] if constants else model.functions[0].node[-1].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    assert "in another file" in rejected(model).words


def test_an_artifact_whose_weights_lie_elsewhere_is_refused_by_verify(good, refused):
    artifact = good("artifact")
    model = onnx.load_model_from_string((artifact / MODEL).read_bytes())
    tensor = model.graph.initializer[0]
    (artifact / "weights").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=os.fspath(artifact / "weights")))
    refused("artifact-verified", rewrite(artifact, MODEL, model.SerializeToString(), rehash=True), "DS2TA-164")


# --- without end -----------------------------------------------------------------------------------------------------


def call(name: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return helper.make_node(name, inputs, [output], domain=FUNCTIONS)


def test_a_function_that_calls_itself(model, rejected):
    model.functions[0].node.append(call(model.functions[0].name, list(model.functions[0].input), "again"))
    rejected(model)


def test_two_functions_that_call_each_other(model, rejected):
    one, other = model.functions[:2]
    one.node.append(call(other.name, ["x"] * len(other.input), "again"))
    other.node.append(call(one.name, ["x"] * len(one.input), "again"))
    rejected(model)


def test_functions_that_call_functions_a_billion_times(model, rejected):
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(FUNCTIONS, 1)]
    for level in range(10):
        values = ["x", *(f"y{n}" for n in range(10))]
        kind = {"domain": FUNCTIONS} if level else {}
        body = [helper.make_node(f"L{level - 1}" if level else "Identity", [a], [b], **kind) for a, b in pairwise(values)]
        model.functions.append(helper.make_function(FUNCTIONS, f"L{level}", ["x"], [values[-1]], body, opsets))
    assert "expand to more than" in rejected(exports(model, call("L9", ["head.logits"], "boom"))).words


def test_a_loop_of_years(model, rejected):
    constant(model, "times", np.array(2**62))
    constant(model, "go", np.array(True))
    kinds = {"i": TensorProto.INT64, "c": TensorProto.BOOL}
    given = [helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items()]
    made = [helper.make_tensor_value_info("d", TensorProto.BOOL, [])]
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", given, made)
    model.graph.node.append(helper.make_node("Loop", ["times", "go"], [], body=body))
    rejected(model)


@pytest.mark.parametrize("op", ["If", "Scan", "ConstantOfShape", "Expand", "RandomNormal", "StringConcat", "ImageDecoder", "Shell"])
def test_an_op_that_no_exported_file_has(model, rejected, op):
    rejected(exports(model, helper.make_node(op, ["head.logits"], ["more"])))


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml", "ai.onnx.contrib", "evil"])
def test_an_op_of_another_domain(model, rejected, domain):
    model.opset_import.append(helper.make_opsetid(domain, 1))
    rejected(exports(model, helper.make_node("EPContext", ["head.logits"], ["more"], domain=domain)))


def test_a_graph_hidden_in_an_attribute_of_a_harmless_op(model, rejected):
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "hidden", [], [])
    model.graph.node.append(helper.make_node("Identity", ["head.logits"], ["more"], hidden=graph))
    rejected(model)


@BOTH
@pytest.mark.parametrize("how", ["range", "pad", "add"])
def test_a_value_of_more_bytes_than_memory(tmp_path, model, refused, reader, how):
    match how:
        case "range":
            for name, value in (("from", 0), ("to", 2**40), ("by", 1)):
                constant(model, name, np.array(value))
            exports(model, helper.make_node("Range", ["from", "to", "by"], ["boom"]), TensorProto.INT64)
        case "pad":
            constant(model, "margins", np.array([0, 0, 2**40, 0]))
            exports(model, helper.make_node("Pad", ["head.logits", "margins"], ["boom"]))
        case "add":
            constant(model, "column", np.zeros((200_000, 1), np.int32))
            constant(model, "row", np.zeros((1, 200_000), np.int32))
            exports(model, helper.make_node("Add", ["column", "row"], ["boom"]))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    refused(reader, path, "DS2TA-161")


# --- lies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [[2**40], [2**32, 2**32], [-1, 256], [-2, -256], [0], [1], []])
def test_a_weight_that_lies_about_its_shape(model, rejected, dims):
    model.graph.initializer[0].dims[:] = dims
    assert "announces another size" in rejected(model).words


@pytest.mark.parametrize("kind", [0, 1, 7, 99, 2**31 - 1])
def test_a_weight_that_lies_about_its_type(model, rejected, kind):
    model.graph.initializer[0].data_type = kind
    rejected(model)


@BOTH
@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.INT4])
def test_a_weight_of_an_odd_type(tmp_path, model, contained, reader, kind):
    model.graph.initializer[0].data_type = kind
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert contained.read(reader, path).kind == "refused"


def test_sparse_weights_and_training_steps(model, exported, rejected):
    model.graph.sparse_initializer.add()
    rejected(model)
    model.CopyFrom(exported)
    model.training_info.add()
    rejected(model)


def test_names_of_a_million_letters_and_escapes(model, rejected):
    model.graph.node[0].op_type, model.graph.node[0].domain = "\x1b[2J" * 250_000, "\u202e\n"
    assert len(rejected(model).words) < 5000


@pytest.mark.parametrize("data", [b"\x0a" * 100_000, b"\x0a\x05" * 1000, b"\x3a\x80\x80\x80\x80\x7f", b"\x08" + b"\xff" * 20])
@BOTH
def test_bytes_that_are_no_message(tmp_path, contained, reader, data):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    found = contained.read(reader, path)
    assert found.kind == "refused"
    assert found.codes[0] in ("DS2TA-160", "DS2TA-161", "DS2TA-164")


# --- the choice of a step form ---------------------------------------------------------------------------------------


@pytest.fixture
def chunked():
    """Return the file of a step form that has a choice, to be changed."""
    return to_onnx_step(StepForm.of(build_stream_graph()))


def refusal(model: onnx.ModelProto, *, steps: bool = True) -> str:
    with pytest.raises(InputError, match="DS2TA-164") as caught:
        require_exported(model, "there", steps=steps)
    return str(caught.value)


def test_the_choice_is_let_through_in_a_step_form_alone(chunked):
    require_exported(chunked, MODEL_STEP, steps=True)
    assert "holds the op 'If'" in refusal(chunked, steps=False)


def choice_of(model: onnx.ModelProto) -> onnx.NodeProto:
    (choice,) = [node for node in model.graph.node if node.op_type == "If"]
    return choice


def test_a_second_choice(chunked):
    chunked.graph.node.append(choice_of(chunked))
    assert "holds 2 ops 'If'" in refusal(chunked)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("op", ["Loop", "RandomNormal", "If"])
def test_an_op_inside_the_choice_that_no_exported_file_has(chunked, branch, op):
    (body,) = [attribute.g for attribute in choice_of(chunked).attribute if attribute.name == branch]
    body.node.append(helper.make_node(op, [], ["more"]))
    assert f"holds the op '{op}'" in refusal(chunked)


def test_a_choice_inside_a_function(chunked):
    chunked.functions[0].node.append(choice_of(chunked))
    assert "holds the op 'If'" in refusal(chunked)


def test_a_third_graph_at_the_choice(chunked):
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "hidden", [], [])
    choice_of(chunked).attribute.append(helper.make_attribute("another", graph))
    assert "attribute 'another'" in refusal(chunked)


def test_weights_inside_the_choice_that_lie_in_another_file(chunked):
    tensor = numpy_helper.from_array(np.zeros(3, np.int32), "far")
    tensor.data_location = TensorProto.EXTERNAL
    choice_of(chunked).attribute[0].g.initializer.append(tensor)
    assert "in another file" in refusal(chunked)


def test_functions_that_expand_inside_the_choice(chunked):
    opsets = [helper.make_opsetid(FUNCTIONS, 1), helper.make_opsetid("", 20)]
    body = [call("Again", ["x"], "y")]
    chunked.functions.append(helper.make_function(FUNCTIONS, "Again", ["x"], ["y"], body, opsets))
    choice_of(chunked).attribute[0].g.node.append(call("Again", ["images"], "more"))
    assert "expand to more than" in refusal(chunked)


# --- and nothing that is ours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("still", [False, True])
def test_what_is_exported_is_let_through_and_fills_the_list(inline, still):
    model = to_onnx(builders.build_small_graph(still=still), inline=inline)
    require_exported(model, MODEL)
    require_exported(to_onnx_step(StepForm.of(builders.build_small_graph(still=still)), inline=inline), MODEL_STEP, steps=True)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    assert {node.op_type for node in nodes if not node.domain} <= OPS
    if inline:
        assert 50 * len(nodes) < MOST_NODES
