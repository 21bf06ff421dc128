import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import builders
import numpy as np
import pytest
from builders import assert_fires, trace_of

import ds2ta_deploy
from ds2ta_deploy.errors import InputError, UnsupportedError
from ds2ta_deploy.graph.graph import Graph, store
from ds2ta_deploy.graph.ops import Add, Linear, Lookup, MatMul, Op, SplitHeads, TemporalWindow, ValueType

COUNTS = ValueType((2, None, 3, 4), "uint8")


def graph_of(*ops: Op, output: str = "z", kind: ValueType = COUNTS) -> Graph:
    return Graph("g", "x", kind, ops, output, 1.0)


def add(name: str, left: str, right: str, out: str) -> Add:
    return Add(name, (left, right), (out,))


def linear(name: str, value: str, out: str, inner: int = 4) -> Linear:
    return Linear(name, (value,), (out,), np.ones((5, inner), np.int8))


# --- the small graph that other tests build on -----------------------------------------------------------------------


def test_the_small_graphs_have_every_op_and_fire(small_graph, stream_graph, small_inputs):
    from ds2ta_deploy.graph.ops import OPS

    assert {type(op) for graph in (small_graph, stream_graph) for op in graph} == set(OPS.values())
    streams = trace_of(stream_graph, small_inputs)
    assert_fires(streams)
    assert all(value.min() < value.max() for value in streams.values())
    assert len(np.unique(streams["head.logits"].argmax(axis=1))) > 1
    assert streams["patch.stages.1.pooled"].min() < 0  # currents, not spikes
    assert streams["blocks.1.attn.counts"].max() == 2
    trace = trace_of(small_graph, small_inputs)
    assert_fires(trace)
    assert len(np.unique(trace["head.logits"].argmax(axis=1))) > 1
    assert trace["blocks.0.attn.denoised"].min() < 0  # negative entries of the table are in use
    assert trace["blocks.0.mlp_residual"].max() > 1  # counts, not bits


def test_the_small_graph_is_the_same_every_time(small_graph):
    from ds2ta_deploy.graph.serialize import to_bytes

    assert to_bytes(builders.build_small_graph()) == to_bytes(small_graph)
    assert to_bytes(builders.build_small_graph(seed=4)) != to_bytes(small_graph)


def test_frames_are_a_graph_too():
    graph, frames = builders.build_small_graph(still=False), builders.small_inputs(still=False)
    trace = trace_of(graph, frames)
    assert_fires(trace)
    assert trace["patch.stages.0.current"].shape == (4, 5, 7, 5, 8)


# --- types -----------------------------------------------------------------------------------------------------------


def test_types_of_every_value(small_graph):
    types = small_graph.types
    assert types["images"] == ValueType((None, 7, 5, 2), "uint8")
    assert types["input_values"] == ValueType((1, None, 7, 5, 2), "int16")
    assert types["patch.stages.0.current"] == ValueType((1, None, 7, 5, 8), "int32")
    assert types["patch.stages.0.spikes"] == ValueType((4, None, 7, 5, 8), "uint8")
    assert types["patch.stages.0.pooled"] == ValueType((4, None, 4, 3, 8), "uint8")
    assert types["patch.tokens"] == ValueType((4, None, 12, 8), "uint8")
    assert types["blocks.0.attn.scores"] == ValueType((4, None, 2, 12, 12), "int32")
    assert types["blocks.0.attn.denoised"] == ValueType((4, None, 2, 12, 12), "int16")
    assert types["blocks.0.attn.context"] == ValueType((4, None, 12, 8), "int32")
    assert types["blocks.0.mlp.fc1.spikes"] == ValueType((4, None, 12, 16), "uint8")
    assert types["head.logits"] == ValueType((None, 3), "int32")
    assert list(types) == ["images", *(name for op in small_graph for name in op.outputs)]


def problems_of(graph):
    with pytest.raises(UnsupportedError) as caught:
        _ = graph.types
    return [(problem.code, problem.where) for problem in caught.value.problems]


def test_a_dangling_input_is_named_with_the_op_that_reads_it():
    graph = graph_of(add("first", "x", "nowhere", "y"), add("second", "x", "x", "z"))
    with pytest.raises(UnsupportedError, match="'nowhere'"):
        _ = graph.types
    assert problems_of(graph) == [("DS2TA-211", "first")]


def test_an_op_may_not_read_what_a_later_op_makes():
    assert problems_of(graph_of(add("first", "x", "y", "z"), add("second", "x", "x", "y"))) == [("DS2TA-211", "first")]


@pytest.mark.parametrize("taken", ["x", "y"])
def test_a_value_is_made_once(taken):
    graph = graph_of(add("first", "x", "x", "y"), add("second", "x", "y", taken), add("third", "x", "x", "z"))
    with pytest.raises(UnsupportedError, match=f"'{taken}' a second time"):
        _ = graph.types
    assert problems_of(graph) == [("DS2TA-211", "second")]


def test_one_op_may_not_make_the_same_value_twice():
    from ds2ta_deploy.graph.ops import Lif

    neuron = Lif("neuron", ("y",), ("z", "z"), np.ones(5, np.int32), 1, 1)
    assert problems_of(graph_of(linear("first", "x", "y"), neuron)) == [("DS2TA-211", "neuron")]


def test_two_ops_of_one_name_are_refused():
    """Files, reports and populations find an op by its name."""
    assert ("DS2TA-211", "same") in problems_of(graph_of(add("same", "x", "x", "y"), add("same", "y", "x", "z")))


def test_an_output_that_no_op_makes_is_refused():
    assert problems_of(graph_of(add("first", "x", "x", "y"), output="z")) == [("DS2TA-211", "g")]


def test_every_misfit_is_named_and_only_misfits_are():
    graph = graph_of(
        linear("first", "x", "y", inner=9),
        linear("behind", "y", "w"),
        linear("second", "x", "v", inner=7),
        add("fine", "x", "x", "u"),
        add("dangling", "u", "nothing", "z"),
    )
    assert problems_of(graph) == [("DS2TA-210", "first"), ("DS2TA-210", "second"), ("DS2TA-211", "dangling")]


@pytest.mark.parametrize(
    "op",
    [
        Add("op", ("x",), ("z",)),
        Add("op", ("x", "x", "x"), ("z",)),
        Add("op", ("x", "x"), ("z", "w")),
        Add("op", ("x", "x"), ()),
        Linear("op", (), ("z",), np.ones((4, 4), np.int8)),
        SplitHeads("op", ("x",), ("z",), 0),
    ],
)
def test_an_op_with_the_wrong_number_of_inputs_or_outputs_is_refused(op):
    assert ("DS2TA-210", "op") in problems_of(graph_of(op))


# --- ranges ----------------------------------------------------------------------------------------------------------


def test_every_value_stays_inside_its_proven_range(small_graph):
    ranges = small_graph.ranges
    for seed in range(3):
        trace = trace_of(small_graph, builders.small_inputs(seed))
        for name, value in trace.items():
            assert ranges[name].contains(value.astype(np.int64)), name


@pytest.mark.parametrize("level", [0, 255])
def test_extreme_pictures_stay_inside_too(small_graph, level):
    ranges = small_graph.ranges
    trace = trace_of(small_graph, np.full((2, 7, 5, 2), level, np.uint8))
    assert all(ranges[name].contains(value.astype(np.int64)) for name, value in trace.items())


def test_the_input_may_hold_all_that_its_type_can(small_graph):
    assert (small_graph.ranges["images"].minimum, small_graph.ranges["images"].maximum) == (0, 255)


def test_counts_add_up(small_graph):
    assert (small_graph.ranges["patch.residual"].minimum, small_graph.ranges["patch.residual"].maximum) == (0, 2)
    assert small_graph.ranges["blocks.0.attn_residual"].maximum == 3
    assert small_graph.ranges["blocks.0.mlp_residual"].maximum == 4
    assert small_graph.ranges["blocks.0.attn.scores"].maximum == 4  # the width of a head


def attention_like(entries):
    """Return a graph with two tables, both on products of 4 channels of 0..255."""
    split = SplitHeads("split", ("x",), ("h",), 1)
    ops = [split]
    for name in ("first", "second"):
        ops.append(MatMul(f"{name}.scores", ("h", "h"), (f"{name}.s",), 1))
        ops.append(Lookup(f"{name}.table", (f"{name}.s",), (f"{name}.a",), np.zeros((1, entries), np.int16)))
    return graph_of(*ops, output="second.a")


def test_every_table_that_an_index_could_leave_is_named():
    reachable = 4 * 255 * 255
    assert attention_like(reachable + 1).ranges["second.a"].maximum == 0
    with pytest.raises(UnsupportedError) as caught:
        _ = attention_like(reachable).ranges
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [
        ("DS2TA-221", "first.table"),
        ("DS2TA-221", "second.table"),
    ]


# --- execution -------------------------------------------------------------------------------------------------------


def test_executing_the_graph_is_executing_its_ops_in_order(small_graph, small_inputs):
    values = {"images": small_inputs.astype(np.int64)}
    for op in small_graph:
        values.update(zip(op.outputs, op.execute(*(values[name] for name in op.inputs)), strict=True))
    trace = trace_of(small_graph, small_inputs)
    assert set(trace) == set(small_graph.observable)
    for name, value in trace.items():
        assert np.array_equal(value, values[name]), name


def test_the_sink_gets_observable_values_in_order_in_their_storage_types(small_graph, small_inputs):
    received = []
    logits = small_graph.execute(small_inputs, lambda name, value: received.append((name, value)))
    assert tuple(name for name, _ in received) == small_graph.observable
    for name, value in received:
        kind = small_graph.types[name]
        assert value.dtype == kind.dtype, name
        assert value.shape == tuple(len(small_inputs) if size is None else size for size in kind.shape), name
    assert np.array_equal(logits, received[-1][1])
    assert logits.dtype == np.int32


def test_views_and_the_input_are_not_observable(small_graph):
    observable = small_graph.observable
    assert "images" not in observable
    assert "patch.stages.0._repeated" not in observable
    assert "blocks.0.attn._q_heads" not in observable
    assert {"input_values", "blocks.0.attn.q.spikes", "head.logits"} <= set(observable)
    views = [name for name in small_graph.types if name.rsplit(".", 1)[-1].startswith("_")]
    assert len(views) == 5
    assert len(observable) == len(small_graph.types) - len(views) - 1


def test_without_a_sink_the_output_is_the_same(small_graph, small_inputs):
    assert np.array_equal(small_graph.execute(small_inputs), trace_of(small_graph, small_inputs)["head.logits"])


def test_samples_do_not_mix(small_graph, small_inputs):
    together = trace_of(small_graph, small_inputs)
    for sample in range(len(small_inputs)):
        alone = trace_of(small_graph, small_inputs[sample : sample + 1])
        for name, value in alone.items():
            batch_axis = small_graph.types[name].shape.index(None)
            assert np.array_equal(value, together[name].take([sample], batch_axis)), name


def test_an_empty_batch_is_no_error(small_graph, small_inputs):
    assert small_graph.execute(small_inputs[:0]).shape == (0, 3)


def test_the_input_is_left_alone(small_graph):
    inputs = builders.small_inputs().copy()
    small_graph.execute(inputs)
    assert np.array_equal(inputs, builders.small_inputs())


def test_a_value_read_again_much_later_is_still_there():
    graph = graph_of(add("a", "x", "x", "y"), add("b", "y", "x", "w"), add("c", "w", "y", "v"), add("d", "v", "x", "z"))
    x = np.arange(2 * 1 * 3 * 4, dtype=np.uint8).reshape(2, 1, 3, 4)
    assert np.array_equal(graph.execute(x), 6 * x)


def test_a_value_beyond_its_storage_type_is_an_error_and_never_wraps():
    graph = graph_of(add("a", "x", "x", "z"))
    assert graph.execute(np.full((2, 1, 3, 4), 127, np.uint8)).max() == 254
    with pytest.raises(OverflowError, match=r"z holds \[256, 256\], which uint8 cannot store"):
        graph.execute(np.full((2, 1, 3, 4), 128, np.uint8))


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("int16", -(2**15), 2**15 - 1), ("int32", -(2**31), 2**31 - 1)])
def test_store_takes_exactly_what_the_type_holds(dtype, low, high):
    kind = ValueType((2,), dtype)
    stored = store(np.array([low, high]), kind, "v")
    assert stored.dtype == dtype
    assert stored.tolist() == [low, high]
    for beyond in (low - 1, high + 1):
        with pytest.raises(OverflowError, match=f"v holds .*{beyond}.*{dtype}"):
            store(np.array([0, beyond]), kind, "v")
    assert store(np.zeros(0, np.int64), kind, "v").size == 0


# --- inputs ----------------------------------------------------------------------------------------------------------


def codes(graph, array):
    with pytest.raises(InputError) as caught:
        graph.execute(array)
    assert {problem.where for problem in caught.value.problems} == {"images"}
    return [problem.code for problem in caught.value.problems]


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64, np.bool_, np.uint16])
def test_an_input_of_another_type_is_refused(small_graph, small_inputs, dtype):
    assert codes(small_graph, small_inputs.astype(dtype)) == ["DS2TA-120"]


@pytest.mark.parametrize("shape", [(7, 5, 2), (1, 5, 7, 2), (1, 7, 5, 1), (1, 7, 5, 3), (1, 1, 7, 5, 2), (1, 2, 7, 5), ()])
def test_an_input_of_another_shape_is_refused(small_graph, shape):
    assert codes(small_graph, np.zeros(shape, np.uint8)) == ["DS2TA-121"]


def test_both_are_said_at_once(small_graph):
    assert codes(small_graph, np.zeros((1, 2), np.float32)) == ["DS2TA-120", "DS2TA-121"]


def test_the_message_shows_both_shapes(small_graph):
    with pytest.raises(InputError, match=r"\(1, 5, 7, 2\).*\[batch, 7, 5, 2\]"):
        small_graph.check_input(np.zeros((1, 5, 7, 2), np.uint8))


def test_frames_need_their_number_of_time_steps():
    graph = builders.build_small_graph(still=False)
    graph.check_input(np.zeros((4, 9, 7, 5, 2), np.uint8))
    assert codes(graph, np.zeros((3, 9, 7, 5, 2), np.uint8)) == ["DS2TA-121"]


# --- the house rules -------------------------------------------------------------------------------------------------


def test_a_graph_is_immutable_and_can_be_varied(small_graph):
    with pytest.raises(AttributeError):
        small_graph.name = "other"
    assert replace(small_graph, name="other").types == small_graph.types
    assert tuple(small_graph) == small_graph.ops


def test_the_graph_wing_imports_neither_torch_nor_an_engine():
    modules = ["graph.graph", "graph.ranges", "graph.serialize", "graph.populations", "errors", "datasets", "synthetic", "models.config"]
    program = "; ".join(f"import ds2ta_deploy.{module}" for module in modules)
    program += "; import sys; print([m for m in ('torch', 'onnxruntime', 'onnx', 'lava') if m in sys.modules])"
    root = Path(ds2ta_deploy.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_a_window_of_one_tap_only_adds_the_bias():
    window = TemporalWindow("w", ("y",), ("z",), np.array([1, 2, 3, 4, -5], np.int32), 1, 0, 0)
    x = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
    sums = x.astype(int).sum(axis=-1, keepdims=True)  # the weights are all one
    assert np.array_equal(graph_of(linear("l", "x", "y"), window).execute(x), sums + np.array([1, 2, 3, 4, -5]))


@pytest.mark.parametrize(
    "shape",
    [
        (10**9, None, 3, 3, 1),
        (4, 2, 3, 3, 1),
        (None, None, 3, 3, 1),
        (4, None, 0, 3, 1),
        (4, None, -1, 3, 1),
        (4, 3, None, 3, 1),
        (5000, None, 1),
    ],
)
def test_an_input_shape_that_no_input_has_is_refused_at_once(small_graph, shape):
    lying = replace(small_graph, input_type=ValueType(shape, "uint8"))
    with pytest.raises(UnsupportedError, match="DS2TA-213"):
        _ = lying.types
