"""The step form as a file: what a stranger may rely on who has nothing but the file."""

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from block_marks import blocks_for
from builders import trace_of
from onnx import checker, shape_inference
from step_support import frames_for
from support import on_onnx_reference, on_onnxruntime

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.exporters.onnx.step_model import to_onnx_step
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.stepping import StepForm, over_frames
from ds2ta_deploy.runtimes.onnx_structure import OPS
from ds2ta_deploy.runtimes.ort_native import KERNELS
from ds2ta_deploy.step_interface import StepInterface

NUMPY = {onnx.TensorProto.UINT8: np.uint8, onnx.TensorProto.INT32: np.int32, onnx.TensorProto.INT64: np.int64}
INTEGERS = {*NUMPY, onnx.TensorProto.INT8, onnx.TensorProto.INT16}

BOTH = pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
FORMS = pytest.mark.parametrize("inline", [False, True])


def properties(model):
    return {entry.key.removeprefix("ds2ta."): entry.value for entry in model.metadata_props}


def shape_of(value):
    return tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim)


def every_node(model):
    """Return the nodes of the main graph, of its branches and of all functions."""
    branches = [attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [node for body in (model.graph, *branches, *model.functions) for node in body.node]


def snippet() -> str:
    """Return the script of the section "Step by step"."""
    (block,) = blocks_for("docs/onnx.md", __file__)
    return block.text


# --- a stranger ------------------------------------------------------------------------------------------------------


@BOTH
@FORMS
def test_the_documented_script_gives_the_logits_of_the_sequence(name, inline, request, tmp_path, monkeypatch, capsys):
    graph = request.getfixturevalue(name)
    onnx.save(to_onnx_step(StepForm.of(graph), inline=inline), tmp_path / "model_step.onnx")
    monkeypatch.chdir(tmp_path)
    for steps in (4, 10) if name == "small_graph" else (4,):
        frames = frames_for(graph, steps, batch=3)
        found = {"frames": frames}
        exec(compile(snippet(), "docs/onnx.md", "exec"), found)  # noqa: S102 - our own document
        expected = trace_of(over_frames(graph, steps), frames)[graph.output]
        assert np.array_equal(found["made"][graph.output], expected)
        assert capsys.readouterr().out == f"{expected.argmax(axis=1)}\n"


def test_the_script_needs_nothing_of_ours():
    assert re.findall(r"^(?:import|from) (\w+)", snippet(), re.MULTILINE) == ["json", "numpy", "onnxruntime"]


@BOTH
def test_the_state_is_what_the_interface_says(name, request):
    form = StepForm.of(request.getfixturevalue(name))
    model, interface = to_onnx_step(form), StepInterface.of(form)
    frame, *state = model.graph.input
    assert (frame.name, shape_of(frame)) == ("frame", ("batch", *form.block.input_type.shape[2:]))
    outputs = {value.name: (shape_of(value), value.type.tensor_type.elem_type) for value in model.graph.output}
    assert outputs.pop("head.logits") == (("batch", 3), onnx.TensorProto.INT32)
    pairs = json.loads(properties(model)["step.state"])
    assert pairs == interface.pairs
    assert [value.name for value in state] == list(pairs)
    assert {pairs[value.name]: (shape_of(value), value.type.tensor_type.elem_type) for value in state} == outputs
    remembered = {name: tuple("batch" if size is None else size for size in kind.shape) for name, kind in form.state_types.items()}
    assert remembered.items() <= {value.name.removeprefix("state."): shape_of(value) for value in state}.items()


def test_it_says_how_far_behind_and_how_long(small_graph, stream_graph):
    form = StepForm.of(small_graph)
    told = properties(to_onnx_step(form))
    assert (told["step.span"], told["step.latency"], told["step.longest"]) == ("1", "0", "endless")
    assert (told["step.longest_sum"], told["step.trained_steps"]) == (str(form.longest_sum), "4")
    model = to_onnx_step(StepForm.of(stream_graph))
    told = properties(model)
    assert (told["step.span"], told["step.latency"], told["step.longest"], told["step.longest_sum"]) == ("2", "1", "4", "4")
    assert "the logits lag behind by up to 1 frame." in model.doc_string


# --- the contract of every exported file -----------------------------------------------------------------------------


@BOTH
@FORMS
def test_it_is_made_of_integers_and_of_the_ops_that_engines_are_let_see(name, inline, request):
    model = to_onnx_step(StepForm.of(request.getfixturevalue(name)), inline=inline)
    checker.check_model(model, full_check=True)
    shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert {tensor.data_type for tensor in model.graph.initializer} <= INTEGERS
    standard = [node.op_type for node in every_node(model) if not node.domain]
    assert set(standard) <= OPS | {"If"}
    assert standard.count("If") == (name == "stream_graph")
    assert bool(model.functions) != inline
    assert all(node.name for node in model.graph.node)


@BOTH
def test_no_native_kernel_takes_a_function_that_remembers(name, request):
    model = to_onnx_step(StepForm.of(request.getfixturevalue(name)))
    taken = {function.name for function in model.functions if re.sub(r"_[0-9]+$", "", function.name) in KERNELS}
    assert taken <= {"SpikeMaxPool2d"}


@BOTH
def test_equal_step_forms_are_equal_bytes(name, request):
    graph = request.getfixturevalue(name)
    one, two = (to_onnx_step(StepForm.of(graph)).SerializeToString(deterministic=True) for _ in range(2))
    assert one == two


def test_a_value_with_a_name_of_the_state_is_refused(small_graph):
    def named(value):
        return "state.of.mind" if value == "patch.tokens" else value

    parts = tuple(replace(op, inputs=tuple(map(named, op.inputs)), outputs=tuple(map(named, op.outputs))) for op in small_graph)
    with pytest.raises(UnsupportedError, match=r"DS2TA-233 \[state\.of\.mind\]"):
        to_onnx_step(StepForm.of(replace(small_graph, ops=parts)))


# --- arithmetic at its edges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [on_onnxruntime, on_onnx_reference])
def test_the_bias_follows_the_steps_as_its_class_says(engine, small_graph):
    """Of any sign, over any number of steps: what the file adds to the sum is ``Readout.bias_over``."""
    bias = np.array([-7, 2**31 // 40, -(2**31) // 40], np.int32)
    parts = tuple(replace(op, bias=bias) if isinstance(op, ops.Readout) else op for op in small_graph)
    form = StepForm.of(replace(small_graph, ops=parts))
    model = to_onnx_step(form)
    feeds = {
        value.name: np.zeros([1 if size == "batch" else size for size in shape_of(value)], NUMPY[value.type.tensor_type.elem_type])
        for value in model.graph.input
    }
    for summed in (0, 1, 2, 3, 10, 16):
        made = engine(model, feeds | {"state.summed": np.array([summed])})
        assert (made["head.logits"] - made["next.head.total"] == form.bias_over(summed + 1)).all()
        assert made["next.summed"].tolist() == [summed + 1]
