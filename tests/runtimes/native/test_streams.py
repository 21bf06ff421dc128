"""Membrane streams and the attentions of other families, on every instruction set, value by value."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
from builders import assert_fires, small_inputs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from native_support import assert_native_equal, needs_library, provable
from stream_graph import build_stream_graph
from stream_networks import Attention, StreamRecipe, Weights, build_streams
from support import assert_all_equal

from ds2ta_deploy.benchmark import benchmark
from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.runtimes.native.streams import parts_of
from ds2ta_deploy.runtimes.native.translate import translate
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

pytestmark = needs_library

ATTENTIONS = get_args(Attention)


def check(recipe, *, threads=(1,), batch=3):
    """Assert that every value is equal; a network that cannot be proved proves nothing."""
    graph, inputs = build_streams(recipe, batch=batch)
    assert provable(graph), "the recipe is too extreme"
    return assert_native_equal(graph, inputs, threads)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_hand_made_graph_of_all_ops(still, batch):
    graph, inputs = build_stream_graph(still=still), small_inputs(still=still)
    taken = np.take(inputs, range(batch), axis=0 if still else 1, mode="wrap")
    trace = assert_native_equal(graph, taken, (1, 2, 5))
    if batch == 8:
        assert_fires(trace)


@pytest.mark.parametrize("wanted", ["blocks.3.attn.scores", "blocks.1.attn.key_value", "blocks.0.attn.key_value.pooled", "patch.tokens"])
def test_one_value_alone_is_the_same(wanted):
    graph, inputs = build_stream_graph(), small_inputs()
    assert_all_equal(ReferenceRuntime(graph).trace(inputs, [wanted]), NativeRuntime(graph).trace(inputs, [wanted]))


def test_no_samples_give_no_values():
    graph = build_stream_graph()
    assert_all_equal(
        ReferenceRuntime(graph).trace(small_inputs()[:0], graph.observable),
        NativeRuntime(graph).trace(small_inputs()[:0], graph.observable),
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("steps", [1, 3, 5, 16])
def test_any_number_of_time_steps(attention, steps):
    trace = check(StreamRecipe(steps=steps, attention=attention, still=steps != 5, seed=steps), threads=(2,))
    if steps > 1:
        assert_fires(trace)


@pytest.mark.parametrize(("steps", "chunk"), [(4, 1), (4, 2), (4, 4), (6, 3), (16, 8), (1, 1)])
@pytest.mark.parametrize("heads", [1, 3])
def test_chunks(steps, chunk, heads):
    assert_fires(check(StreamRecipe(steps=steps, chunk=chunk, heads=heads, head_width=7, seed=2), threads=(1, 2)))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(("heads", "head_width"), [(1, 1), (3, 1), (3, 16), (2, 33), (1, 64), (1, 65), (1, 130)])
def test_heads_of_any_width(attention, heads, head_width):
    check(StreamRecipe(attention=attention, heads=heads, head_width=head_width, picture=(3, 2, 1), weights="int8"), threads=(2,))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("picture", [(1, 1, 1), (1, 9, 2), (9, 8, 1)])
def test_pictures_of_any_size(attention, picture):
    for stride in (1, 2):
        check(StreamRecipe(attention=attention, picture=picture, stride=stride, dilation=3, seed=4), threads=(1, 4))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_counts_in_attention(attention):
    assert_fires(check(StreamRecipe(attention=attention, counted=True, chunk=2, seed=5), threads=(1, 2)))


@pytest.mark.parametrize("weights", get_args(Weights))
@pytest.mark.parametrize("activity", ["some", "none", "all"])
def test_weights_of_any_width(weights, activity):
    trace = check(StreamRecipe(weights=weights, activity=activity, attention="plain", steps=3, seed=6))
    spikes = np.concatenate([value.ravel() for name, value in trace.items() if name.endswith(".spikes")])
    assert set(np.unique(spikes)) == {"some": {0, 1}, "none": {0}, "all": {1}}[activity]


@pytest.mark.parametrize("window", [(2, 1, 0), (3, 2, 1), (3, 1, 4)])
@pytest.mark.parametrize("leak", [(1, 1), (0, 0), (1, 0), (3, 2)])
def test_windows_and_leaks_behind_wide_weights(window, leak):
    assert_fires(check(StreamRecipe(window=window, leak=leak, steps=5, seed=7)))


@given(
    weight=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=20),
)
def test_the_parts_of_weights_are_the_weights(weight):
    array = np.array(weight, np.int16)
    parts = parts_of(array)
    assert all(part.dtype == np.int8 for _, part in parts)
    assert sum(part.astype(int) << shift for shift, part in parts).tolist() == weight
    narrow = array.min() >= -128 and array.max() <= 127
    assert len(parts) == 1 if narrow else len(parts) in (2, 3)


def test_weights_of_14_bits_take_two_parts():
    assert [shift for shift, _ in parts_of(np.array([-8192, 8191], np.int16))] == [7, 0]


def test_a_residual_sum_is_made_by_the_layer_before_it():
    graph = build_stream_graph()
    steps = translate(graph).steps
    assert library.SUM not in {step.kind for step in steps}
    assert {step.output for step in steps} >= {op.outputs[0] for op in graph if isinstance(op, ops.Add)}


def test_what_is_read_elsewhere_too_is_summed_by_itself():
    graph, inputs = build_stream_graph(), small_inputs()
    twice = ops.Add("twice", ("blocks.3.mlp.fc2.current", "blocks.3.mlp_residual"), ("twice",))
    parts = []
    for op in graph:
        parts += [twice, dataclasses.replace(op, inputs=("twice",))] if op.name == "head.sum" else [op]
    changed = dataclasses.replace(graph, ops=tuple(parts))
    assert sum(step.kind == library.SUM for step in translate(changed).steps) == 2
    assert_native_equal(changed, inputs, (1, 2))


def test_a_stream_added_to_itself():
    graph, inputs = build_stream_graph(), small_inputs()
    double = ops.Add("double", ("patch.residual", "patch.residual"), ("doubled",))
    parts = []
    for op in graph:
        parts += [double, dataclasses.replace(op, inputs=("doubled",))] if op.name == "patch.flatten" else [op]
    assert_native_equal(dataclasses.replace(graph, ops=tuple(parts)), inputs, (1, 2))


def test_sums_of_parts_that_32_bits_may_not_hold_are_refused():
    # 32767 is 2 2^14 - 1: the upper parts of 401 * 128 such products reach 2^31, all parts together do not.
    graph, _ = build_streams(StreamRecipe(picture=(1, 1, 1), attention="masked", head_width=100), batch=1)
    counts = [ops.Add(f"c{n}", (f"c{n - 1}" if n else "mlp.fc1.spikes",) * 2, (f"c{n}",)) for n in range(7)]
    parts = []
    for op in graph:
        wide = (
            dataclasses.replace(op, inputs=("c6",), weight=np.full((200, 401), 32767, np.int16)) if op.name == "mlp.fc2.weights" else None
        )
        parts += [*counts, wide] if wide else [op]
    changed = dataclasses.replace(graph, ops=tuple(parts))
    assert changed.ranges["mlp.fc2.product"].maximum < 2**31
    with pytest.raises(UnsupportedError, match=r"DS2TA-243 \[mlp\.fc2\.weights\].*parts of its weights"):
        translate(changed)


recipes = st.builds(
    StreamRecipe,
    steps=st.sampled_from([2, 4, 6]),
    chunk=st.sampled_from([0, 1, 2]),
    still=st.booleans(),
    picture=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    heads=st.integers(1, 3),
    head_width=st.sampled_from([1, 2, 7, 21, 32, 43, 64, 65]),
    attention=st.sampled_from(ATTENTIONS),
    weights=st.sampled_from(get_args(Weights)),
    window=st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)),
    leak=st.sampled_from([(1, 1), (0, 0), (1, 0), (3, 2)]),
    dilation=st.integers(1, 4),
    stride=st.integers(1, 2),
    counted=st.booleans(),
    activity=st.sampled_from(["some", "some", "some", "none", "all"]),
    seed=st.integers(0, 2**20),
)


@given(recipe=recipes, batch=st.integers(1, 3), threads=st.sampled_from([1, 2, 3]))
@settings(max_examples=20)
def test_any_stream(recipe, batch, threads):
    graph, inputs = build_streams(recipe, batch=batch)
    assume(provable(graph))
    assert_native_equal(graph, inputs, (threads,))


@pytest.mark.long
@given(recipe=recipes, batch=st.integers(1, 3), threads=st.sampled_from([1, 2, 3, 5]))
@settings(max_examples=1000)
def test_very_many_streams(recipe, batch, threads):
    graph, inputs = build_streams(recipe, batch=batch)
    assume(provable(graph))
    assert_native_equal(graph, inputs, (threads,))


def test_bench_measures_every_operation_of_a_stream():
    class Opened:
        graph = build_stream_graph()

    timings = benchmark(Opened, ["native"], small_inputs(), batches=[1, 3], repeats=1)
    steps = [step.name for step in translate(Opened.graph).steps]
    assert len(set(steps)) == len(steps)
    assert [list(timing.populations) for timing in timings] == [steps, steps]
    assert {"blocks.0.attn.proj (part 1 of 2)", "blocks.0.attn.proj", "blocks.1.attn.key_value"} <= set(steps)
