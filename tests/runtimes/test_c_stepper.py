"""The C code step by step: compiled once for each network, stepped by many runs."""

from functools import cache

import pytest
from builders import build_small_graph, small_inputs
from step_support import assert_resumes, assert_steps_are_the_sequence, frames_for, run_frames
from stream_graph import build_stream_graph
from support import frozen

from ds2ta_deploy.errors import RuntimeFailedError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.runtimes.c_program import CRuntime
from ds2ta_deploy.runtimes.c_stepper import CStepper
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.runtimes.table import open_stepper

BUILD = {"small": build_small_graph, "stream": build_stream_graph}


@cache
def compiled(name, still):
    return CRuntime(BUILD[name](still=still), flags=["-O0"])


def beginning(code):
    """How a run begins, whoever asks."""
    return lambda _form, batch, wanted: CStepper(code, batch, wanted)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("name", BUILD)
def test_steps_are_the_sequence(name, still):
    code = compiled(name, still)
    assert_steps_are_the_sequence(beginning(code), code.program.graph)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("name", BUILD)
def test_a_run_goes_on_from_its_state(name, still):
    code = compiled(name, still)
    assert_resumes(beginning(code), code.program.graph)


def test_a_network_of_the_kind_that_is_trained(tiny_graph):
    code = CRuntime(tiny_graph, flags=["-O0"])
    assert_steps_are_the_sequence(beginning(code), tiny_graph)
    assert_resumes(beginning(code), tiny_graph)


@pytest.mark.slow
def test_every_family(family_graphs):
    for graph in family_graphs.values():
        code = CRuntime(graph, flags=["-O0"])
        assert_steps_are_the_sequence(beginning(code), graph, (1, 4, 10))
        assert_resumes(beginning(code), graph)


def test_runs_that_share_the_compiled_code_know_nothing_of_each_other():
    code = compiled("small", still=True)
    frames = frames_for(code.program.graph, 5)
    alone = run_frames(CStepper(code, 2), frames)
    one, other = CStepper(code, 2), CStepper(code, 2)
    for frame, backwards in zip(frames, frames[::-1], strict=True):
        one.step(frame)
        other.step(backwards)
    output = code.program.graph.output
    assert (one.logits() == alone[output]).all()
    assert (other.logits() != alone[output]).any()
    one.restart()
    assert (run_frames(one, frames)[output] == alone[output]).all()


def test_an_exported_artifact(tmp_path):
    artifact = export(frozen(build_small_graph()), "c", tmp_path / "out", inputs=small_inputs())
    frames = frames_for(artifact.graph, 6)
    run = open_stepper("c", artifact, batch=2, wanted=["blocks.0.attn.scores"])
    expected = ReferenceStepper(run.form, 2, run.wanted)
    for frame in frames:
        made, wanted = run.step(frame), expected.step(frame)
        assert (made.increment == wanted.increment).all()
        assert (made.values["blocks.0.attn.scores"] == wanted.values["blocks.0.attn.scores"]).all()
    assert (run.logits() == expected.logits()).all()


def test_code_that_refuses_a_step_that_is_proven_is_told_of():
    code = compiled("stream", still=False)
    run = CStepper(code, 1)
    run._states["step"] = code.program.form.longest
    frames = frames_for(code.program.graph, 2, batch=1)
    run.step(frames[0])
    with pytest.raises(RuntimeFailedError, match="DS2TA-606"):
        run.step(frames[1])
