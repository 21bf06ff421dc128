"""A stream's state in a file."""

import dataclasses

import numpy as np
import pytest
from builders import build_small_graph
from step_support import frames_for

from ds2ta_deploy.errors import InputError
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.streaming.decisions import Decider
from ds2ta_deploy.streaming.state import StreamState, read_stream_state, write_stream_state


@pytest.fixture(scope="module")
def graph():
    return build_small_graph(still=False)


@pytest.fixture(scope="module")
def form(graph):
    return StepForm.of(graph)


@pytest.fixture
def state(graph, form):
    decider = Decider(ReferenceStepper(form, 1))
    for frame in frames_for(graph, 6, 1):
        decider.take(frame[0])
    return StreamState(1000, 4, None, 6, decider.increments, decider.stepper.state())


def test_a_stream_goes_on(tmp_path, graph, form, state):
    path = tmp_path / "stream.state"
    write_stream_state(path, state, form)
    again = read_stream_state(path, form)
    frames = frames_for(graph, 12, 1)
    whole, rest = Decider(ReferenceStepper(form, 1)), Decider(ReferenceStepper(form, 1))
    rest.stepper.resume(again.run)
    rest.go_on_with(again.increments)
    for number, frame in enumerate(frames):
        whole.take(frame[0])
        if number >= 6:
            rest.take(frame[0])
            assert (rest.logits == whole.logits).all()
    assert (again.interval, again.window, again.restart, again.next_frame) == (1000, 4, None, 6)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"interval": 0}, "176"),
        ({"next_frame": -1}, "176"),
        ({"window": 2}, "176"),  # holds four
        ({"increments": np.zeros((1, 1, 2), np.int32)}, "176"),
        ({"increments": np.zeros((1, 1, 3), np.int64)}, "176"),
        ({"increments": np.full((1, 1, 3), 2**31 - 1, np.int32)}, "176"),
    ],
)
def test_what_no_stream_leaves_is_refused(tmp_path, form, state, changes, code):
    path = tmp_path / "stream.state"
    write_stream_state(path, dataclasses.replace(state, **changes), form)
    with pytest.raises(InputError, match=f"DS2TA-{code}"):
        read_stream_state(path, form)


def test_another_networks_stream_is_refused(tmp_path, form, state, small_graph):
    path = tmp_path / "stream.state"
    write_stream_state(path, state, form)
    with pytest.raises(InputError, match="DS2TA-175"):
        read_stream_state(path, StepForm.of(small_graph))
    for data in (b"", path.read_bytes()[:-1]):
        path.write_bytes(data)
        with pytest.raises(InputError, match="DS2TA-14"):
            read_stream_state(path, form)
