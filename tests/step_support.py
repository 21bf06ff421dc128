"""What every engine's step form must hold: T steps are the sequence of T steps, and a state is all there is to know."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from builders import assert_fires, trace_of
from numpy.typing import NDArray
from step_child import SAVED
from support import assert_all_equal

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.stepping import StepForm, over_frames
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.runtimes.run_state import state_from_bytes, state_to_bytes
from ds2ta_deploy.runtimes.stepper import Stepper

#: Begins a run: step form, batch, wanted values.
Begin = Callable[[StepForm, int, Sequence[str]], Stepper]


def frames_for(graph: Graph, steps: int, batch: int = 2, seed: int = 11) -> NDArray[np.uint8]:
    """Return another picture for every step, ``[steps, batch, H, W, C]``."""
    shape = graph.input_type.shape[-3:]
    return np.random.default_rng(seed).integers(0, 256, (steps, batch, *shape), dtype=np.uint8)


def run_frames(stepper: Stepper, frames: NDArray[np.uint8]) -> Trace:
    """Step through the frames; return the wanted values over all steps, and the logits."""
    blocks = stepper.steps(frames)
    values = {name: np.concatenate([block.values[name] for block in blocks]) for name in stepper.wanted}
    return {**values, stepper.form.block.output: stepper.logits()}


def assert_steps_are_the_sequence(begin: Begin, graph: Graph, steps: Sequence[int] = (1, 4, 10, 17), hidden: Sequence[str] = ()) -> None:
    """For each T that the network can do: every value of the run equals the sequence's, whose neurons fire."""
    form, compared = StepForm.of(graph), 0
    wanted = [name for name in form.block.observable if name not in hidden]
    for count in steps:
        if count % form.span or (form.longest is not None and count > form.longest):
            continue
        frames = frames_for(graph, count)
        expected = trace_of(over_frames(graph, count), frames)
        if count >= 4:
            assert_fires(expected)
        assert_all_equal({name: expected[name] for name in wanted}, run_frames(begin(form, 2, wanted), frames))
        compared += 1
    assert compared > 0


def assert_resumes(begin: Begin, graph: Graph, steps: int = 10) -> None:
    """A state is what the reference's is, and a run that begins with it on any engine goes on as if nothing had been."""
    form = StepForm.of(graph)
    steps = steps if form.longest is None else form.longest
    frames = frames_for(graph, steps, seed=12)
    expected = run_frames(ReferenceStepper(form, 2), frames)
    for middle in {1, steps // 2, steps - 1}:
        first, reference = begin(form, 2, ()), ReferenceStepper(form, 2)
        first.steps(frames[:middle])
        reference.steps(frames[:middle])
        saved = state_to_bytes(first.state(), form)
        assert saved == state_to_bytes(reference.state(), form)
        for again in (first, begin(form, 2, ()), ReferenceStepper(form, 2)):
            again.resume(state_from_bytes(saved, form))
            assert_all_equal(expected, run_frames(again, frames[middle:]))


def assert_survives_kills(runtimes: Sequence[str], artifact: Artifact, folder: Path, steps: int = 10) -> None:
    """Killed with SIGKILL after its state was saved, a run goes on in another process, on the next of the runtimes, as if uncut.

    The runtimes share the steps out among themselves; what the last of them gives is what the reference gives that never stopped.
    """
    form = StepForm.of(artifact.graph)
    steps = steps if form.longest is None else form.longest
    frames = frames_for(artifact.graph, steps, seed=13)
    np.save(folder / "frames.npy", frames)
    uncut = ReferenceStepper(form, frames.shape[1])
    uncut.steps(frames)
    parts = [number * steps // len(runtimes) for number in range(len(runtimes) + 1)]
    for runtime, begin, end in zip(runtimes, parts, parts[1:], strict=False):
        _step_and_be_killed([runtime, artifact.path, folder, begin, end])
    assert np.array_equal(np.load(folder / "logits.npy"), uncut.logits())
    assert (folder / "state").read_bytes() == state_to_bytes(uncut.state(), form)


def _step_and_be_killed(arguments: Sequence[Any]) -> None:
    tests = Path(__file__).resolve().parent
    environment = os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "step_child", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline().strip() == SAVED
        finally:
            child.kill()
    assert child.returncode == -signal.SIGKILL
