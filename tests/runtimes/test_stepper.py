"""What all steppers have in common, tried on the reference."""

import numpy as np
import pytest
from step_support import assert_resumes, assert_steps_are_the_sequence, frames_for, run_frames

from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.reference import ReferenceStepper


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_steps_are_the_sequence(name, request):
    assert_steps_are_the_sequence(ReferenceStepper, request.getfixturevalue(name))


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_a_run_goes_on_from_its_state(name, request):
    assert_resumes(ReferenceStepper, request.getfixturevalue(name))


def test_frames_wait_until_a_chunk_is_full(stream_graph):
    run = ReferenceStepper(StepForm.of(stream_graph), 2)
    first, second = frames_for(stream_graph, 2)
    assert run.step(first) is None
    assert (run.waiting, run.taken) == (1, 0)
    block = run.step(second)
    assert block is not None
    assert (block.steps, run.waiting, run.taken, run.summed) == (2, 0, 2, 2)


def test_a_sum_begins_anew_while_membranes_stay(small_graph):
    form, frames = StepForm.of(small_graph), frames_for(small_graph, 7)
    run = ReferenceStepper(form, 2)
    increments = [block.increment for frame in frames if (block := run.step(frame)) is not None]
    again = ReferenceStepper(form, 2)
    run_frames(again, frames[:4])
    again.begin_sum()
    assert again.logits().tolist() == [form.bias_over(0).tolist()] * 2
    later = run_frames(again, frames[4:])[small_graph.output]
    assert (later == sum(increments[4:]) + form.bias_over(3)).all()
    fresh = run_frames(ReferenceStepper(form, 2), frames[4:])[small_graph.output]
    assert (later != fresh).any()  # it remembers


def test_a_restart_forgets_everything(small_graph):
    form, frames = StepForm.of(small_graph), frames_for(small_graph, 4)
    run = ReferenceStepper(form, 2)
    before = run_frames(run, frames)[small_graph.output]
    run.restart()
    assert (run.taken, run.summed) == (0, 0)
    assert (run_frames(run, frames)[small_graph.output] == before).all()


def test_what_is_not_proven_is_refused_and_nothing_done(stream_graph):
    run = ReferenceStepper(StepForm.of(stream_graph), 2)
    frames = frames_for(stream_graph, 4)
    logits = run_frames(run, frames)[stream_graph.output]
    with pytest.raises(UsageError, match="DS2TA-520") as caught:
        run.step(frames[0])
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-520", "DS2TA-521"}
    assert (run.taken, run.waiting) == (4, 0)
    assert (run.logits() == logits).all()


def test_a_sum_may_not_grow_beyond_its_proof(small_graph):
    form = StepForm.of(small_graph)
    run = ReferenceStepper(form, 2)
    run._summed = form.longest_sum
    with pytest.raises(UsageError, match="DS2TA-521"):
        run.step(frames_for(small_graph, 1)[0])


def test_frames_that_do_not_fit_are_refused(small_graph):
    run = ReferenceStepper(StepForm.of(small_graph), 2)
    frame = frames_for(small_graph, 1)[0]
    with pytest.raises(InputError, match="DS2TA-120"):
        run.step(frame.astype(np.int32))
    with pytest.raises(InputError, match="DS2TA-121"):
        run.step(frame[:, 1:])
    with pytest.raises(InputError, match="DS2TA-121"):
        run.step(frame[:1])


def test_an_unknown_value_is_refused(small_graph):
    with pytest.raises(UsageError, match="DS2TA-505"):
        ReferenceStepper(StepForm.of(small_graph), 1, ["nothing"])


def test_frames_at_once_or_one_by_one(stream_graph):
    form, frames = StepForm.of(stream_graph), frames_for(stream_graph, 4)
    one, all_at_once = ReferenceStepper(form, 2), ReferenceStepper(form, 2)
    assert [one.step(frame) is None for frame in frames[:3]] == [True, False, True]
    assert len(all_at_once.steps(frames[:3])) == 1
    assert (one.waiting, one.taken) == (all_at_once.waiting, all_at_once.taken) == (1, 2)
    one.step(frames[3])
    assert len(all_at_once.steps(frames[3:])) == 1
    assert (one.logits() == all_at_once.logits()).all()
