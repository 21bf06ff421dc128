"""The exported Lava package step by step: runs of any length, each from what the one before left behind."""

import numpy as np
import pytest
from lava_support import chunked_network, needs_lava, write_export
from step_support import assert_resumes, assert_steps_are_the_sequence, frames_for

from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.lava_process import LavaRuntime, LavaStepperRuntime, Left
from ds2ta_deploy.runtimes.lava_steps import LavaStepperSteps, LavaSteps


@pytest.fixture
def begin_stepper(tmp_path):
    """Return a beginner of runs on the NumPy executor of a graph's export."""

    def of(graph):
        runtime = LavaStepperRuntime(write_export(graph, tmp_path), graph)
        return lambda form, batch, wanted: LavaStepperSteps(runtime, form, batch, wanted)

    return of


@pytest.fixture
def begin_lava(tmp_path, leftovers):
    """Return a beginner of runs on Lava."""

    def of(graph):
        runtime = LavaRuntime(write_export(graph, tmp_path), graph)
        return lambda form, batch, wanted: LavaSteps(runtime, form, batch, wanted)

    return of


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_steps_are_the_sequence(name, request, begin_stepper):
    graph = request.getfixturevalue(name)
    assert_steps_are_the_sequence(begin_stepper(graph), graph)


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_a_run_goes_on_from_its_state(name, request, begin_stepper):
    graph = request.getfixturevalue(name)
    assert_resumes(begin_stepper(graph), graph, 6)


def test_frames_and_chunks_of_several_lengths(begin_stepper):
    graph, _ = chunked_network((4, 0, 2), still=False)
    assert_steps_are_the_sequence(begin_stepper(graph), graph, (4, 8, 12))


@needs_lava
@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_steps_on_lava_are_the_sequence(name, request, begin_lava):
    graph = request.getfixturevalue(name)
    assert_steps_are_the_sequence(begin_lava(graph), graph, (1, 4, 17))


@needs_lava
def test_a_run_on_lava_goes_on_from_its_state(small_graph, begin_lava):
    form, frames = StepForm.of(small_graph), frames_for(small_graph, 5)
    begin = begin_lava(small_graph)
    whole, parts = begin(form, 2, ()), begin(form, 2, ())
    whole.steps(frames)
    parts.steps(frames[:2])
    again = begin(form, 2, ())
    again.resume(parts.state())
    again.steps(frames[2:])
    assert (again.logits() == whole.logits()).all()
    for name, array in whole.state().remembered.items():
        assert (again.state().remembered[name] == array).all()


def test_what_stock_processes_remember_cannot_be_had(tmp_path):
    graph, _ = chunked_network((1,), still=False)
    runtime = LavaRuntime(write_export(graph, tmp_path, "stock"), graph)
    assert runtime.hidden
    with pytest.raises(UsageError, match="DS2TA-512"):
        runtime.trace_frames(frames_for(graph, 4), (), None)


def test_a_state_of_another_shape_is_refused(small_graph, tmp_path):
    runtime = LavaStepperRuntime(write_export(small_graph, tmp_path), small_graph)
    frames = frames_for(small_graph, 2)
    _, left = runtime.trace_frames(frames, (), None)
    for remembered in ({}, {name: array[..., :-1] for name, array in left.remembered.items()}):
        with pytest.raises(InputError, match="DS2TA-163"):
            runtime.trace_frames(frames, (), Left(2, remembered))
    assert any(np.count_nonzero(array) for array in left.remembered.values())
