"""The native library step by step."""

from functools import partial

import pytest
from native_support import Recipe, build, needs_library
from step_support import assert_resumes, assert_steps_are_the_sequence, frames_for, run_frames
from stream_networks import StreamRecipe, build_streams
from support import assert_all_equal

from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.stepper import NativeStepper
from ds2ta_deploy.runtimes.reference import ReferenceStepper

pytestmark = needs_library


def sets():
    """Return the instruction sets that work here; the module is skipped without the library."""
    return library.instruction_sets() if library.library_path() else ()


@pytest.mark.parametrize("instruction_set", sets())
@pytest.mark.parametrize("name", ["small_graph", "stream_graph", "tiny_graph"])
def test_steps_are_the_sequence(name, instruction_set, request):
    graph = request.getfixturevalue(name)
    for threads in (1, 2):
        assert_steps_are_the_sequence(partial(NativeStepper, threads=threads, instruction_set=instruction_set), graph)


@pytest.mark.parametrize("instruction_set", sets())
@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_a_run_goes_on_from_its_state(name, instruction_set, request):
    assert_resumes(partial(NativeStepper, instruction_set=instruction_set), request.getfixturevalue(name))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_samples_side_by_side(small_graph, batch, threads):
    form, frames = StepForm.of(small_graph), frames_for(small_graph, 5, batch)
    wanted = list(form.block.observable)
    expected = run_frames(ReferenceStepper(form, batch, wanted), frames)
    assert_all_equal(expected, run_frames(NativeStepper(form, batch, wanted, threads), frames))


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("heads", [0, 1])
def test_windows_of_any_length(taps, heads):
    for leak in [(1, 1), (3, 2)]:
        recipe = Recipe(window=(taps, 1, 3), leak=leak, width=65, heads=heads, doublings=1, pool=True, seed=taps)
        graph, _ = build(recipe)
        assert_steps(graph, 9)


@pytest.mark.parametrize("chunk", [2, 4])
def test_windows_longer_than_a_chunk_and_shorter(chunk):
    for taps in (2, 3, 6):
        recipe = StreamRecipe(steps=8, chunk=chunk, attention="key value", window=(taps, 1, 2), leak=(3, 2), head_width=33, still=False)
        assert_steps(build_streams(recipe)[0], 12)


@pytest.mark.parametrize("attention", ["masked", "plain", "table", "saccadic"])
def test_every_attention_on_a_stream(attention):
    for still in (True, False):
        recipe = StreamRecipe(attention=attention, still=still, steps=6, window=(3, 1, 1), head_width=7, heads=3)
        assert_steps(build_streams(recipe)[0], 6)


def test_every_family(family_graphs):
    for graph in family_graphs.values():
        assert_steps_are_the_sequence(NativeStepper, graph, (4,))
        assert_resumes(NativeStepper, graph, 8)


def assert_steps(graph, steps):
    """Every instruction set, on one thread and two, gives every value, and remembers what the reference does."""
    form, frames = StepForm.of(graph), frames_for(graph, steps, 3)
    wanted = list(form.block.observable)
    reference = ReferenceStepper(form, 3, wanted)
    expected = run_frames(reference, frames)
    for instruction_set in sets():
        for threads in (1, 2):
            run = NativeStepper(form, 3, wanted, threads, instruction_set)
            assert_all_equal(expected, run_frames(run, frames))
            assert_all_equal(reference.state().remembered, run.state().remembered)
