"""Verify the step forms: as many time steps as one likes, against the sequence of so many, integer for integer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import GRAPH, Artifact
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.stepping import StepForm, over_frames
from ds2ta_deploy.parity import ParityReport, compare_runtimes
from ds2ta_deploy.runtimes.base import Runtime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.stepped import SteppedRuntime
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime, open_stepper
from ds2ta_deploy.verification import Values, available_runtimes, golden_inputs, wanted_values


def frames_of(inputs: NDArray[np.uint8], graph: Graph, steps: int) -> NDArray[np.uint8]:
    """Return frames for so many time steps: a still picture at each, a recording from its beginning again and again."""
    still = graph.input_type.shape[0] is None
    recording = inputs[None] if still else inputs
    return recording[np.arange(steps) % len(recording)]


def verify_steps(
    artifact: Artifact | str | Path,
    steps: Sequence[int],
    runtimes: str | Sequence[str] | None = None,
    *,
    inputs: NDArray[np.uint8] | None = None,
    lava_python: str | Path | None = None,
    values: Values | None = None,
) -> dict[int, ParityReport]:
    """Run the step form of every runtime for each number of time steps and compare it with the NumPy sequence of as many.

    Args:
        artifact: what to verify, opened or its directory.
        steps: numbers of time steps; each a multiple of the network's chunks.
        runtimes: names; by default every one here that has a step form.
        inputs: uint8; by default the artifact's golden inputs.
        lava_python: interpreter that has Lava.
        values: which values to compare; by default ``populations``.

    Returns:
        Number of time steps -> its report.

    Raises:
        InputError: when artifact or inputs are invalid; DS2TA-170 when the certificate does not hold.
        UsageError: DS2TA-523 for a runtime without a step form, 524 for numbers of steps that the network has not, 509 when
            nothing would be compared.
        UnsupportedError: DS2TA-262 for a network without a step form.

    Example:
        >>> all(report.passed for report in verify_steps("build/", [1, 4, 17]).values())  # doctest: +SKIP
        True

    """
    opened = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
    graph = opened.graph
    if GRAPH not in opened.modified:
        opened.check_certificate()
    form = StepForm.of(graph)
    _require_possible(form, steps)
    given = golden_inputs(opened) if inputs is None else inputs
    graph.check_input(given)
    lava = Path(lava_python) if lava_python is not None else None
    names = [runtimes] if isinstance(runtimes, str) else runtimes
    chosen = list(dict.fromkeys(able_runtimes(opened.manifest.target, lava) if names is None else names))
    if not chosen:
        raise UsageError(Problem("DS2TA-509", "there is nothing to compare the sequence with", mend="name a runtime"))
    reports = {}
    for count in steps:
        sequence = over_frames(graph, count)
        others = [_stepped(name, opened, sequence, lava) for name in chosen]
        wanted = wanted_values(sequence, values or "populations")
        reports[count] = compare_runtimes(sequence, frames_of(given, graph, count), ReferenceRuntime(sequence), others, wanted)
    return reports


def able_runtimes(target: str, lava_python: Path | None = None) -> list[str]:
    """Names of the runtimes that have a step form and can run an artifact of this target here; not Lava, which has to be asked for."""
    names = [ReferenceRuntime.name, *available_runtimes(target, with_checkpoint=False, lava_python=lava_python)]
    return [name for name in names if RUNTIMES[name].step is not None and (name != "lava" or lava_python is not None)]


def _require_possible(form: StepForm, steps: Sequence[int]) -> None:
    most = min(form.longest or form.longest_sum, form.longest_sum)
    impossible = [count for count in steps if not 1 <= count <= most or count % form.span]
    if impossible or not steps:
        multiples = f" and a multiple of {form.span}" if form.span > 1 else ""
        where = ", ".join(map(str, impossible))
        raise UsageError(Problem("DS2TA-524", f"a number of time steps has to be one of 1..{most}{multiples}", where))


def _stepped(name: str, artifact: Artifact, sequence: Graph, lava_python: Path | None) -> Runtime:
    hidden = open_runtime(name, artifact, lava_python=lava_python).hidden if name == "lava" else frozenset[str]()
    return SteppedRuntime.named(name)(
        sequence, lambda batch, wanted: open_stepper(name, artifact, batch, wanted, lava_python=lava_python), hidden
    )
