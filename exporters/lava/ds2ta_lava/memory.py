"""What ops remember from one time step to the next: as a cell keeps it, and as arrays that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .arithmetic import IntArray

if TYPE_CHECKING:
    from .cell import Step


def keeps(step: Step) -> int | None:
    """Return of how many steps an op remembers something, 0 when it is one membrane; None when nothing is."""
    counts = {"Lif": 0, "TemporalWindow": step.integers.get("taps", 1) - 1 or None}
    return len(step.tensors["matrix"]) - 1 or None if step.op == "TimeMix" else counts.get(step.op)


def memory_of(step: Step, part: IntArray, taken: int) -> Any:
    """Turn an array, as ``remembering`` describes it, into what ``cell`` keeps for the op after ``taken`` steps."""
    if step.op == "Lif":
        return part << step.integers["leak_shift"]
    return tuple(part[::-1]) if step.op == "TemporalWindow" else tuple(part[:taken])


def remembered_by(steps: Sequence[Step], memory: Mapping[int, Any]) -> dict[str, IntArray]:
    """Return what the ops of a process remember: name of the first output -> array, as ``remembering`` describes it."""
    found: dict[str, IntArray] = {}
    for index, step in enumerate(steps):
        count = keeps(step)
        if count is None:
            continue
        held = memory[index]
        if step.op == "Lif":
            found[step.outputs[0]] = np.asarray(held, np.int64) >> step.integers["leak_shift"]
            continue
        series = [np.asarray(part, np.int64) for part in held]
        silent = [np.zeros_like(series[0])] * max(count - len(series), 0) if series else []
        ordered = [*silent, *series[::-1]] if step.op == "TemporalWindow" else [*series[:count], *silent]
        found[step.outputs[0]] = np.stack(ordered)
    return found
