"""What the two runtimes of the exported file have in common; each test runs on both."""

import numpy as np
import onnx
import pytest
from builders import assert_fires, build_small_graph, small_inputs, trace_of
from onnx import helper
from support import assert_all_equal, one_more

from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.runtimes.onnx_file import expose
from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime

both = pytest.mark.parametrize("runtime", [OnnxRuntime, OnnxReferenceRuntime], ids=lambda runtime: runtime.name)
either_form = pytest.mark.parametrize("form", ["functions", "inline"])


@pytest.fixture(scope="module")
def models(small_graph):
    return {form: to_onnx(small_graph, inline=form == "inline") for form in ("functions", "inline")}


@pytest.fixture(scope="module")
def files(models):
    return {form: model.SerializeToString() for form, model in models.items()}


# --- the same integers -----------------------------------------------------------------------------------------------


@both
@either_form
def test_every_value_is_that_of_the_graph(runtime, form, files, small_graph, small_inputs):
    expected = trace_of(small_graph, small_inputs)
    assert_fires(expected)
    assert_all_equal(expected, runtime(files[form], small_graph).trace(small_inputs, small_graph.observable))


@both
def test_event_frames_give_the_same_too(runtime):
    graph, inputs = build_small_graph(still=False), small_inputs(still=False)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    data = to_onnx(graph).SerializeToString()
    assert_all_equal(expected, runtime(data, graph).trace(inputs, graph.observable))


@both
def test_a_file_whose_weight_was_changed_gives_other_integers(runtime, files, small_graph, small_inputs):
    expected = trace_of(small_graph, small_inputs)
    changed = runtime(one_more(files["functions"], "blocks.0.attn.q.weight", 3), small_graph).trace(small_inputs, small_graph.observable)
    assert np.array_equal(changed["patch.tokens"], expected["patch.tokens"])
    assert not np.array_equal(changed["blocks.0.attn.q.product"], expected["blocks.0.attn.q.product"])


# --- wanted values ---------------------------------------------------------------------------------------------------


@both
@either_form
def test_only_what_is_wanted_comes_and_always_the_output(runtime, form, files, small_graph, small_inputs):
    opened = runtime(files[form], small_graph)
    assert list(opened.trace(small_inputs, ())) == ["head.logits"]
    wanted = ["blocks.0.attn.membrane", "patch.tokens", "blocks.0.attn.q.spikes"]
    trace = opened.trace(small_inputs, wanted)
    assert set(trace) == {"head.logits", *wanted}
    assert_all_equal({name: trace_of(small_graph, small_inputs)[name] for name in trace}, trace)


@both
def test_asking_for_one_thing_after_another_gives_each_its_own(runtime, files, small_graph, small_inputs):
    opened = runtime(files["functions"], small_graph)
    for name in ("blocks.0.attn.scores", "blocks.0.attn.denoised", "blocks.0.attn.scores"):
        assert set(opened.trace(small_inputs, [name])) == {"head.logits", name}


@both
def test_an_unknown_value_is_refused(runtime, files, small_graph, small_inputs):
    with pytest.raises(UsageError, match=r"DS2TA-505 \[blocks\.9\.attn\.spikes\]"):
        runtime(files["functions"], small_graph).trace(small_inputs, ["head.logits", "blocks.9.attn.spikes"])


# --- inputs ----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda x: x.astype(np.int64), ["DS2TA-120"]),
        (lambda x: x.astype(np.float32) / 255, ["DS2TA-120"]),
        (lambda x: x[:, :, :-1], ["DS2TA-121"]),
        (lambda x: x[0], ["DS2TA-121"]),
        (lambda x: np.moveaxis(x, -1, 1), ["DS2TA-121"]),
        (lambda x: x[None].astype(np.int8), ["DS2TA-120", "DS2TA-121"]),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_the_engine_sees_them(runtime, change, codes, small_graph, small_inputs):
    opened = runtime(b"", small_graph)  # an empty file would fail with another code
    with pytest.raises(InputError) as caught:
        opened.trace(change(small_inputs), ())
    assert [problem.code for problem in caught.value.problems] == codes


@both
def test_a_batch_of_one_and_inputs_that_are_not_contiguous(runtime, files, small_graph, small_inputs):
    opened = runtime(files["functions"], small_graph)
    expected = trace_of(small_graph, small_inputs)["head.logits"]
    assert np.array_equal(opened.trace(small_inputs[2:3], ())["head.logits"], expected[2:3])
    assert np.array_equal(opened.trace(small_inputs[::-1], ())["head.logits"], expected[::-1])


# --- files that are not what they should be --------------------------------------------------------------------------


@both
@pytest.mark.parametrize("data", [b"not an ONNX file", b"\xff" * 64, b"PK\x03\x04", b'{"json": true}'])
def test_garbage_is_no_onnx_file(runtime, data, small_graph):
    with pytest.raises(InputError, match=r"DS2TA-160 \[there/model\.onnx\]: is not an ONNX file"):
        runtime(data, small_graph, "there/model.onnx")


@both
def test_a_truncated_file_is_refused(runtime, files, small_graph, small_inputs):
    data = files["functions"]
    for length in (1, len(data) // 3, len(data) - 1):
        with pytest.raises(InputError) as caught:
            runtime(data[:length], small_graph).trace(small_inputs, ())
        assert caught.value.problems[0].code in {"DS2TA-160", "DS2TA-161"}
        assert len(str(caught.value).splitlines()) == 1


def broken(model, how):
    """Return a copy of the model that no engine can run."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    match how:
        case "unknown op":
            copy.graph.node[0].op_type = "NoSuchOp"
        case "unknown function":
            del copy.functions[:]
        case "another input":
            copy.graph.input[0].name = copy.graph.node[0].input[0] = "pictures"
        case "missing weight":
            del copy.graph.initializer[5]
        case "no output":
            copy.graph.node.pop()
        case "wrong shape":
            (tensor,) = [tensor for tensor in copy.graph.initializer if tensor.name == "head.weight"]
            tensor.dims[:] = [tensor.dims[1], tensor.dims[0]]
    return copy.SerializeToString()


@both
@pytest.mark.parametrize("how", ["unknown op", "unknown function", "another input", "missing weight", "no output", "wrong shape"])
def test_a_file_that_cannot_run_is_one_error_with_the_engines_reason(runtime, how, models, small_graph, small_inputs):
    opened = runtime(broken(models["functions"], how), small_graph, "model.onnx")
    with pytest.raises(InputError) as caught:
        opened.trace(small_inputs, small_graph.observable)
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("DS2TA-161", "model.onnx")
    assert problem.what.startswith(f"{runtime.engine} cannot run it: ")
    assert len(problem.what.splitlines()) == 1


@both
def test_an_empty_file_is_a_model_that_cannot_run(runtime, small_graph, small_inputs):
    with pytest.raises(InputError, match=r"DS2TA-16[01]"):
        runtime(b"", small_graph).trace(small_inputs, ())


# --- exposing --------------------------------------------------------------------------------------------------------


@either_form
def test_exposing_changes_a_copy(form, models, small_graph):
    before = models[form].SerializeToString(deterministic=True)
    exposed, names = expose(models[form], small_graph, small_graph.observable)
    assert models[form].SerializeToString(deterministic=True) == before
    assert [output.name for output in exposed.graph.output] == names
    assert sorted(names) == sorted(small_graph.observable)
    assert len(set(names)) == len(names)


def test_exposed_values_have_their_types(models, small_graph):
    exposed, _ = expose(models["functions"], small_graph, small_graph.observable)
    for output in exposed.graph.output:
        kind = small_graph.types[output.name]
        assert helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type) == kind.dtype
        assert [size.dim_param or size.dim_value for size in output.type.tensor_type.shape.dim] == [
            "batch" if size is None else size for size in kind.shape
        ]
    onnx.checker.check_model(exposed, full_check=True)


def test_the_files_own_output_stays_the_first(models, small_graph):
    _, names = expose(models["functions"], small_graph, ["blocks.0.attn.spikes", "head.logits"])
    assert names == ["head.logits", "blocks.0.attn.spikes"]


def test_what_a_file_does_not_compute_is_left_out(models, small_graph):
    shorter = onnx.ModelProto()
    shorter.CopyFrom(models["functions"])
    dropped = shorter.graph.node.pop(2).output[0]
    _, names = expose(shorter, small_graph, population_values(small_graph))
    assert dropped == "patch.stages.0.pooled"
    assert set(names) == set(population_values(small_graph)) - {dropped}
