"""Decisions: the sequence's logits at first, then those of a window that moves on."""

import numpy as np
import pytest
from builders import build_small_graph
from step_support import frames_for
from stream_graph import build_stream_graph

from ds2ta_deploy.errors import UsageError
from ds2ta_deploy.graph.stepping import StepForm, over_frames
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.streaming.decisions import Decider


@pytest.fixture(scope="module")
def graph():
    return build_small_graph(still=False)


def decider(graph, **options):
    return Decider(ReferenceStepper(StepForm.of(graph), 1), **options)


def test_the_first_decisions_are_those_of_the_sequence(graph):
    frames, made = frames_for(graph, 4, 1), decider(graph)
    assert made.window == 4
    for count in range(1, 5):
        assert made.take(frames[count - 1, 0])
        assert (made.logits == over_frames(graph, count).execute(frames[:count])).all()


def test_then_a_window_moves_over_a_run_that_goes_on(graph):
    frames, made = frames_for(graph, 20, 1), decider(graph, window=3)
    run = ReferenceStepper(StepForm.of(graph), 1)
    increments = [block.increment for block in run.steps(frames)]
    assert len({increment.tobytes() for increment in increments}) > 10  # it fires, and not always the same
    for number, frame in enumerate(frames):
        made.take(frame[0])
        steps = min(number + 1, 3)
        expected = sum(increments[number + 1 - steps : number + 1]) + run.form.bias_over(steps)
        assert (made.logits == expected).all()
        assert made.summed == steps


def test_a_run_can_begin_anew_every_few_frames(graph):
    frames, made = frames_for(graph, 12, 1), decider(graph, restart=4)
    for begin in (0, 4, 8):
        for frame in frames[begin : begin + 4]:
            made.take(frame[0])
        assert (made.logits == over_frames(graph, 4).execute(frames[begin : begin + 4])).all()


def test_a_network_that_is_proven_for_some_steps_begins_anew_behind_them():
    graph = build_stream_graph(still=False)
    frames, made = frames_for(graph, 8, 1), decider(graph)
    assert (made.restart, made.window) == (4, 4)
    assert [made.take(frame[0]) for frame in frames] == [False, True] * 4
    assert (made.logits == over_frames(graph, 4).execute(frames[4:])).all()


def test_the_sum_never_outgrows_its_proof_in_a_run_without_an_end(graph):
    made = decider(graph)
    made.stepper.form.block.__dict__["longest_sum"] = 4
    frame = np.full(graph.input_type.shape[2:], 255, np.uint8)
    for _ in range(30):
        made.take(frame)
    assert made.stepper.taken == 30


@pytest.mark.parametrize("options", [{"window": 0}, {"window": 10**9}, {"restart": 0}])
def test_numbers_of_steps_that_cannot_be(graph, options):
    with pytest.raises(UsageError, match="DS2TA-526"):
        decider(graph, **options)


@pytest.mark.parametrize("options", [{"window": 3}, {"restart": 3}, {"restart": 6}])
def test_chunks_are_whole(options):
    with pytest.raises(UsageError, match="DS2TA-526"):
        decider(build_stream_graph(still=False), **options)
