"""The step form is the sequence, for any number of steps; and for how long it is proven."""

from dataclasses import replace

import numpy as np
import pytest
from builders import assert_fires, trace_of
from hypothesis import given, settings
from hypothesis import strategies as st
from step_support import frames_for
from support import assert_all_equal, frozen, lif, replaced

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.graph.stepping import StepForm, over_frames, readout_of


def stepped(graph, frames):
    """Run all frames; every value and the sum, and the state behind them."""
    form = StepForm.of(graph)
    state, total, values = form.initial(frames.shape[1]), 0, {}
    for begin in range(0, len(frames), form.span):
        block = frames[begin : begin + form.span]
        increment, state = form.advance(begin, state, block, lambda name, value: values.setdefault(name, []).append(value))
        total = total + increment.astype(np.int64)
    made = {name: np.concatenate(parts) for name, parts in values.items() if name != graph.output}
    return {**made, graph.output: (total + form.bias_over(len(frames))).astype(np.int32)}, state


@pytest.mark.parametrize("steps", [1, 4, 10, 17])
@pytest.mark.parametrize("still", [True, False])
def test_steps_are_the_sequence(steps, still):
    from builders import build_small_graph

    graph = build_small_graph(still=still)
    frames = frames_for(graph, steps)
    expected = trace_of(over_frames(graph, steps), frames)
    if steps >= 4:
        assert_fires(expected)
    assert_all_equal(expected, stepped(graph, frames)[0])


def test_a_still_picture_is_a_frame_at_every_step(small_graph, small_inputs):
    shown = np.repeat(small_inputs[None], 4, axis=0)
    sequence, frames = trace_of(small_graph, small_inputs), trace_of(over_frames(small_graph, 4), shown)
    assert_fires(frames)
    once = {name for name, value in sequence.items() if len(value) == 1 != len(frames[name])}
    assert once  # the encoder
    for name in once:
        assert (frames[name] == sequence[name]).all()
        sequence.pop(name), frames.pop(name)
    assert_all_equal(sequence, frames)


def test_chunks_and_saccades_step_too(stream_graph):
    form = StepForm.of(stream_graph)
    assert (form.span, form.latency, form.longest) == (2, 1, 4)
    frames = frames_for(stream_graph, 4)
    expected = trace_of(over_frames(stream_graph, 4), frames)
    assert_fires(expected)
    assert_all_equal(expected, stepped(stream_graph, frames)[0])


def test_every_family_steps(family_graphs):
    for name, graph in family_graphs.items():
        form = StepForm.of(graph)
        assert (form.longest is None) != name.startswith("snn-vit")
        frames = frames_for(graph, 4)
        expected = trace_of(over_frames(graph, 4), frames)
        assert_fires(expected)
        assert_all_equal(expected, stepped(graph, frames)[0])


def test_the_saccadic_neuron_has_no_more_steps_than_weights(stream_graph):
    with pytest.raises(UnsupportedError, match="DS2TA-260") as caught:
        over_frames(stream_graph, 6)
    assert {problem.where for problem in caught.value.problems} == {
        op.name for op in stream_graph if isinstance(op, ops.TimeMix | ops.Threshold)
    }


def test_the_bias_follows_the_steps(small_graph):
    bias = readout_of(small_graph).bias
    assert bias.any()
    assert readout_of(over_frames(small_graph, 4)).bias.tolist() == bias.tolist()
    assert readout_of(over_frames(small_graph, 8)).bias.tolist() == (2 * bias).tolist()
    assert readout_of(over_frames(small_graph, 1)).bias.tolist() == [int(np.floor(value / 4 + 0.5)) for value in bias.tolist()]
    assert over_frames(small_graph, 8).output_scale == small_graph.output_scale / 2


@given(bias=st.integers(-(2**31), 2**31 - 1), steps=st.integers(1, 100), of=st.integers(1, 100))
def test_the_bias_rounds_half_up(bias, steps, of):
    readout = ops.Readout("head", ("x",), ("y",), weight=np.ones((1, 1), np.int8), bias=np.array([bias], np.int32))
    exact = (2 * bias * steps + of) // (2 * of)
    if -(2**31) <= exact < 2**31:
        assert readout.bias_over(steps, of).tolist() == [exact]
    else:
        with pytest.raises(OverflowError):
            readout.bias_over(steps, of)


def neuron_of(graph):
    return next(op for op in graph if isinstance(op, ops.Lif))


@given(
    numerator=st.integers(0, 8),
    low=st.integers(-50, 0),
    high=st.integers(0, 50),
    theta=st.integers(1, 60),
    data=st.data(),
)
def test_no_run_of_a_neuron_leaves_what_is_proven_for_ever(numerator, low, high, theta, data):
    """The bound for very many steps holds for any currents; without a leak it grows with the steps."""
    neuron = lif("n", "x", [theta])
    neuron = type(neuron)(neuron.name, neuron.inputs, neuron.outputs, neuron.threshold, leak_numerator=numerator, leak_shift=3)
    currents = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=60))
    steps = len(currents) if numerator == 8 else 2**31
    proven = neuron.infer_ranges([Interval.of(low, high)], [ValueType((steps, None, 1, 1), "int32")])[1]
    _, membrane = neuron.execute(np.array(currents, np.int64).reshape(-1, 1, 1, 1))
    assert proven.contains(membrane)
    held = neuron.state_ranges([Interval.of(low, high)], [Interval.of(0, 1), proven])["carried"]
    _, state = neuron.advance(0, {"carried": np.zeros((1, 1, 1), np.int64)}, np.array(currents, np.int64).reshape(-1, 1, 1, 1))
    assert held.contains(state["carried"])


@settings(max_examples=5)
@given(numerator=st.integers(2**16 - 3, 2**16 - 1), low=st.integers(-9, 0), theta=st.integers(1, 9))
def test_a_slow_leak_is_bounded_without_following_every_step(numerator, low, theta):
    neuron = ops.Lif("n", ("x",), ("s", "v"), threshold=np.array([theta], np.int32), leak_numerator=numerator, leak_shift=16)
    proven = neuron.infer_ranges([Interval.of(low, 5)], [ValueType((2**31, None, 1, 1), "int32")])[1]
    _, membrane = neuron.execute(np.full((5000, 1, 1, 1), low, np.int64))
    assert proven.contains(membrane * numerator)


def test_a_run_without_leak_ends_where_the_proof_does(small_graph):
    """A membrane that nothing leaks from may fall by its current at every step: 24 bits are left after so many."""
    name = neuron_of(small_graph).name
    perfect = frozen(replaced(small_graph, name, leak_numerator=2, leak_shift=1))
    form = StepForm.of(perfect)
    assert form.longest is not None
    prove(over_frames(perfect, form.longest), PROFILES["cpu"])
    with pytest.raises(UnsupportedError, match="DS2TA-220"):
        prove(over_frames(perfect, form.longest + 1), PROFILES["cpu"])


def test_sums_end_where_the_proof_does(small_graph):
    narrow = replace(small_graph, facts={**small_graph.facts, "profile": "loihi"})
    form = StepForm.of(narrow)
    assert form.longest is None
    assert form.longest_sum < StepForm.of(small_graph).longest_sum
    prove(over_frames(narrow, form.longest_sum), PROFILES["loihi"])
    with pytest.raises(UnsupportedError, match=r"DS2TA-220 \[head.logits\]"):
        prove(over_frames(narrow, form.longest_sum + 1), PROFILES["loihi"])


def test_the_state_stays_in_its_ranges(small_graph, stream_graph):
    for graph in (small_graph, stream_graph):
        form = StepForm.of(graph)
        _, state = stepped(graph, frames_for(graph, 4))
        held = form.state_ranges(4)
        assert state.keys() == held.keys() == form.state_types.keys()
        assert sum(np.count_nonzero(array) > 0 for array in state.values()) > len(state) // 2
        for name, array in state.items():
            assert held[name].contains(array), name
            assert list(array.shape) == [2 if size is None else size for size in form.state_types[name].shape]


def test_a_network_without_a_readout_has_no_step_form(small_graph):
    headless = Graph("h", small_graph.input_name, small_graph.input_type, small_graph.ops[:4], small_graph.ops[3].outputs[0], 1.0)
    with pytest.raises(UnsupportedError, match="DS2TA-262"):
        StepForm.of(headless)
