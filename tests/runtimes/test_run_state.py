"""A state file: what was put aside is taken up again, and what no run remembers is refused."""

import dataclasses

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from step_support import frames_for, run_frames

from ds2ta_deploy.errors import InputError
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.runtimes.run_state import HEADER_KEY, read_state, state_from_bytes, state_to_bytes, write_state


@pytest.fixture(scope="module")
def form(stream_graph):
    return StepForm.of(stream_graph)


@pytest.fixture(scope="module")
def state(stream_graph, form):
    run = ReferenceStepper(form, 2)
    run_frames(run, frames_for(stream_graph, 3))  # one chunk, and a frame that waits
    return run.state()


def test_a_file_is_written_whole_and_read_back(tmp_path, form, state):
    path = tmp_path / "run.state"
    write_state(path, state, form)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.state"]
    again = read_state(path, form)
    assert (again.taken, again.summed, len(again.pending)) == (2, 2, 1)
    assert state_to_bytes(again, form) == path.read_bytes()


def test_a_file_that_is_not_there(tmp_path, form):
    with pytest.raises(InputError, match="DS2TA-140"):
        read_state(tmp_path / "nothing", form)


def test_another_networks_state_is_refused(small_graph, form, state):
    with pytest.raises(InputError, match="DS2TA-175"):
        state_from_bytes(state_to_bytes(state, form), StepForm.of(small_graph))


def changed(state, form, *, header=None, **tensors):
    """Return the file with other tensors (None takes one out) or other numbers in its header."""
    data = state_to_bytes(state, form)
    length = int.from_bytes(data[:8], "little")
    record = msgspec.json.decode(msgspec.json.decode(data[8 : 8 + length])["__metadata__"][HEADER_KEY])
    arrays = {**safetensors.numpy.load(data), **tensors}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    return safetensors.numpy.save(arrays, {HEADER_KEY: msgspec.json.encode({**record, **(header or {})}).decode()})


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"format": "ds2ta-run-state/9"}, "175"),
        ({"taken": 1}, "176"),
        ({"taken": -2}, "176"),
        ({"taken": 6}, "176"),
        ({"summed": 4}, "176"),
        ({"summed": -2}, "176"),
        ({"summed": "2"}, "141"),
        ({"other": 1}, "141"),
    ],
)
def test_impossible_numbers_of_steps(form, state, header, code):
    with pytest.raises(InputError, match=f"DS2TA-{code}"):
        state_from_bytes(changed(state, form, header=header), form)


def test_nothing_is_remembered_before_the_first_step(form, state):
    with pytest.raises(InputError, match="DS2TA-176"):
        state_from_bytes(changed(state, form, header={"taken": 0, "summed": 0}), form)


def test_tensors_that_are_missing_or_too_many_are_all_named(form, state):
    with pytest.raises(InputError) as caught:
        state_from_bytes(changed(state, form, total=None, strange=np.zeros(1, np.int32)), form)
    assert [problem.code for problem in caught.value.problems] == ["DS2TA-176"] * 2


def test_every_tensor_has_its_shape_type_and_range(form, state):
    files = safetensors.numpy.load(state_to_bytes(state, form))
    for name, array in files.items():
        spoiled = [array.astype(np.int64), array[:, :-1] if array.ndim > 1 else array]
        spoiled += [np.full_like(array, 2**31 - 1)] if array.dtype == np.int32 else [np.repeat(array, 3, axis=0)]
        for wrong in spoiled:
            with pytest.raises(InputError, match="DS2TA-176") as caught:
                state_from_bytes(changed(state, form, **{name: wrong}), form)
            assert any(name in str(problem) for problem in caught.value.problems)


def test_no_bytes_but_ours(form, state):
    for data in (b"", b"nonsense", state_to_bytes(state, form)[:-3]):
        with pytest.raises(InputError, match="DS2TA-140"):
            state_from_bytes(data, form)


def test_a_state_goes_on_bit_for_bit(stream_graph, form, state):
    run = ReferenceStepper(form, 2)
    run.resume(state_from_bytes(state_to_bytes(state, form), form))
    assert dataclasses.asdict(run.state()).keys() == dataclasses.asdict(state).keys()
    assert state_to_bytes(run.state(), form) == state_to_bytes(state, form)
