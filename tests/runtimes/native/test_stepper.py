"""The native library step by step."""

import dataclasses
import tracemalloc
from functools import partial

import numpy as np
import pytest
from builders import assert_fires
from native_support import Recipe, build, needs_library
from step_support import assert_resumes, assert_steps_are_the_sequence, frames_for, run_frames
from stream_networks import StreamRecipe, build_streams
from support import assert_all_equal, replaced

from ds2ta_deploy.errors import UsageError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.plan import Plan
from ds2ta_deploy.runtimes.native.stepper import NativeStepper
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.runtimes.table import open_stepper

pytestmark = needs_library


def sets():
    """Return the instruction sets that work here; the module is skipped without the library."""
    return library.instruction_sets() if library.library_path() else ()


def assert_steps(graph, steps, instruction_sets, threads=(1, 2), batch=3):
    """Every value of a run that fires is the reference's, and so is what is remembered behind it."""
    form, frames = StepForm.of(graph), frames_for(graph, steps, batch)
    wanted = list(form.block.observable)
    reference = ReferenceStepper(form, batch, wanted)
    expected = run_frames(reference, frames)
    assert_fires(expected)
    for instruction_set in instruction_sets:
        for count in threads:
            run = NativeStepper(form, batch, wanted, count, instruction_set)
            assert (run.plan.instruction_set, run.plan.state_size > 0) == (instruction_set, True)
            assert_all_equal(expected, run_frames(run, frames))
            assert_all_equal(reference.state().remembered, run.state().remembered)


@pytest.mark.parametrize("instruction_set", sets())
@pytest.mark.parametrize("name", ["small_graph", "stream_graph", "tiny_graph"])
def test_steps_are_the_sequence(name, instruction_set, request):
    graph = request.getfixturevalue(name)
    for threads in (1, 2):
        assert_steps_are_the_sequence(partial(NativeStepper, threads=threads, instruction_set=instruction_set), graph)


@pytest.mark.parametrize("instruction_set", sets())
def test_a_run_goes_on_from_its_state(small_graph, instruction_set):
    assert_resumes(partial(NativeStepper, threads=2, instruction_set=instruction_set), small_graph)


def test_a_run_with_chunks_and_saccades_goes_on_from_its_state(stream_graph):
    assert_resumes(NativeStepper, stream_graph)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_samples_side_by_side(small_graph, batch):
    assert_steps(small_graph, 5, sets()[-1:], (1, 2, 3), batch)


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 7])
def test_windows_of_any_length(taps):
    recipe = Recipe(window=(taps, 1, 3), leak=(3, 2), width=65, heads=taps % 2, doublings=1, pool=True, seed=taps)
    assert_steps(build(recipe)[0], 9, sets())


@pytest.mark.parametrize(("chunk", "taps"), [(2, 3), (2, 6), (4, 2), (4, 6)])
def test_windows_longer_than_a_chunk_and_shorter(chunk, taps):
    recipe = StreamRecipe(steps=8, chunk=chunk, window=(taps, 1, 2), leak=(3, 2), head_width=33, picture=(3, 4, 2), still=False)
    assert_steps(build_streams(recipe)[0], 8, sets())


@pytest.mark.parametrize("attention", ["masked", "plain", "table", "saccadic"])
def test_every_attention_on_a_stream(attention):
    recipe = StreamRecipe(attention=attention, still=attention == "plain", steps=5, window=(3, 1, 1), head_width=7, heads=3, seed=2)
    assert_steps(build_streams(recipe)[0], 5, sets())


def test_a_first_layer_with_a_window_reads_every_frame(small_graph):
    # In the sequence of a still picture its window sees one product; step by step it sees one a frame.
    name = "patch.stages.0.window"
    assert {op.name: op.taps for op in small_graph if isinstance(op, ops.TemporalWindow)}[name] == 1
    assert_steps(replaced(small_graph, name, taps=3, decay=1), 6, sets())


def test_a_window_of_heads_that_no_neuron_follows(small_graph):
    scores = "blocks.0.attn.scores"
    bias = np.zeros(small_graph.types[scores].shape[-1], np.int32)
    window = ops.TemporalWindow("odd", (scores,), ("odd.scores",), bias=bias, taps=3, decay=8, guard_bits=0)
    graph = replaced(small_graph, "blocks.0.attn.denoiser", inputs=("odd.scores",))
    parts = [part for op in graph for part in ([window, op] if op.name == "blocks.0.attn.denoiser" else [op])]
    assert_steps(dataclasses.replace(graph, ops=tuple(parts)), 6, sets())


def test_every_family(family_graphs):
    for graph in family_graphs.values():
        assert_steps(graph, 4, sets()[-1:], (2,), 2)


@pytest.mark.slow
def test_every_family_on_every_instruction_set(family_graphs):
    for graph in family_graphs.values():
        for instruction_set in sets():
            begin = partial(NativeStepper, instruction_set=instruction_set)
            assert_steps_are_the_sequence(begin, graph)
            assert_resumes(begin, graph, 8)


def test_a_restart_forgets_everything(small_graph):
    form, frames = StepForm.of(small_graph), frames_for(small_graph, 4)
    run = NativeStepper(form, 2)
    before = run_frames(run, frames)[small_graph.output]
    assert any(array.any() for array in run.state().remembered.values())
    run.restart()
    assert not any(array.any() for array in run.state().remembered.values())
    assert (run_frames(run, frames)[small_graph.output] == before).all()


def test_a_long_run_takes_no_memory(small_graph):
    form, frames = StepForm.of(small_graph), frames_for(small_graph, 8)
    run = NativeStepper(form, 2, (), 2)
    held = run.plan.memory
    tracemalloc.start()
    try:
        for number in range(2000):
            if number == 200:
                before = tracemalloc.get_traced_memory()[0]
            run.step(frames[number % 8])
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert (run.taken, run.plan.memory) == (2000, held)
    assert grown < 4096  # less than three bytes a step
    reference = ReferenceStepper(form, 2)
    reference.resume(run.state())
    assert_all_equal(run_frames(reference, frames), run_frames(run, frames))


def test_it_opens_by_name_from_an_artifact(small_graph, monkeypatch):
    monkeypatch.setenv(library.ISA, "scalar")

    class Opened:
        graph = small_graph

    run = open_stepper("native", Opened, 2, ["patch.tokens"], threads=2)
    assert isinstance(run, NativeStepper)
    assert (run.name, run.plan.instruction_set, run.wanted) == ("native", "scalar", ("patch.tokens",))
    with pytest.raises(UsageError, match="DS2TA-513"):
        open_stepper("native", Opened, threads=0)


def test_steps_that_there_are_no_weights_for_change_nothing(stream_graph):
    form, frames = StepForm.of(stream_graph), frames_for(stream_graph, 4)
    run = NativeStepper(form, 2)
    run_frames(run, frames)
    before = run.state().remembered
    for taken in (1, 4, -2, 2**62):
        with pytest.raises(UsageError, match=rf"DS2TA-520 \[stream\]: cannot go on behind {taken} time steps"):
            run.plan.advance(taken, run._memory.array, frames[:2])
    assert_all_equal(before, run.state().remembered)


def test_a_plan_of_a_block_says_what_it_remembers(small_graph):
    form = StepForm.of(small_graph)
    plan = Plan(form.block)
    places = [plan.state_place(index) for index in range(len(plan.steps))]
    assert places == sorted(places)
    assert {place % library.TILE for place in places} == {0}
    remembered = sum(int(np.prod(kind.shape[1:])) for name, kind in form.state_types.items() if name.endswith(".carried"))
    assert plan.state_size >= remembered > 0
