"""Run a reproducer again."""

import io
from dataclasses import dataclass
from typing import Literal

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.bisection.finding import Own, ask_op, has_place, place_in_sample
from ds2ta_deploy.bisection.reproducer import OP, OPERANDS, RECORD, Record
from ds2ta_deploy.datasets import read_arrays
from ds2ta_deploy.errors import InputError, Problem, UsageError
from ds2ta_deploy.graph import fragment as fragments
from ds2ta_deploy.graph.fragment import Fragment
from ds2ta_deploy.parity import Divergence
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import RUNTIMES


@dataclass(frozen=True)
class Said:
    """What one side makes of the operands.

    Attributes:
        runtime: its name.
        value: the integer at the place.
        how: ``op`` when the op's class was executed, ``part`` when the engine ran the op alone, ``recorded`` when it
            cannot and the integer is that of the search.

    """

    runtime: str
    value: int
    how: Literal["op", "part", "recorded"]


@dataclass(frozen=True)
class Replay:
    """A reproducer run again.

    Attributes:
        record: what it is.
        baseline: what the one side says.
        runtime: what the other side says.
        own: what the op's class makes of it.

    """

    record: Record
    baseline: Said
    runtime: Said
    own: Own

    @property
    def divergence(self) -> Divergence | None:
        """The divergence, if both still say different integers."""
        record, (want, have) = self.record, (self.baseline, self.runtime)
        if want.value == have.value:
            return None
        return Divergence(have.runtime, want.runtime, record.value, record.sample, record.step, record.index, want.value, have.value)


def replay(artifact: Artifact, runtime: str | None = None, baseline: str | None = None) -> Replay:
    """Run a reproducer again.

    Args:
        artifact: the reproducer, opened.
        runtime: takes the place of the recorded runtime: another that executes files of the same target, or ``reference``.
        baseline: the same for the baseline.

    Raises:
        InputError: DS2TA-133 or 157 when the folder does not hold what it should.
        UsageError: DS2TA-504 when a runtime that was named cannot run the op alone.

    """
    record = artifact.read_json(RECORD, Record)
    fragment = fragments.from_bytes(artifact.read(OP), str(artifact.path / OP))
    parts = {part.target: part for part in record.parts}
    given = _arrays(artifact, OPERANDS, {*fragment.reads, *(name for part in record.parts for name in part.reads)})
    place = place_in_sample(record.step, record.index)
    _require_sample(artifact, fragment, given, place)
    own = ask_op(fragment, given, place)

    def ask(name: str, recorded: dict[str, int]) -> Said:
        info = RUNTIMES.get(name)
        part = parts.get(info.executes) if info is not None else None
        if name == ReferenceRuntime.name and own.at_place is not None:
            return Said(name, own.at_place, "op")
        if part is not None and info is not None and info.run_part is not None:
            info.require()
            made = info.run_part(artifact.read(part.file), {read: given[read] for read in part.reads}, record.value)
            if not has_place(made, place):
                raise InputError(Problem("DS2TA-157", f"makes a value of shape {made.shape}", str(artifact.path / part.file)))
            return Said(name, int(made[place]), "part")
        if name in recorded:
            return Said(name, recorded[name], "recorded")
        able = [name for name, info in RUNTIMES.items() if info.executes in parts or name == ReferenceRuntime.name]
        raise UsageError(Problem("DS2TA-504", f"{name!r} cannot run this op alone", record.op, f"these can: {', '.join(able)}"))

    sides = {record.baseline: record.baseline_value, record.runtime: record.runtime_value}
    return Replay(record, ask(baseline or record.baseline, sides), ask(runtime or record.runtime, sides), own)


def _arrays(artifact: Artifact, name: str, wanted: set[str]) -> Trace:
    arrays = read_arrays(io.BytesIO(artifact.read(name)), sorted(wanted), artifact.path / name)
    missing = sorted(wanted - arrays.keys())
    if missing:
        raise InputError(Problem("DS2TA-133", f"has no array {array!r}", str(artifact.path / name)) for array in missing)
    return arrays


def _require_sample(artifact: Artifact, fragment: Fragment, given: Trace, place: tuple[int, ...]) -> None:
    """The operands must be of one sample, and the index must lie in the value."""
    kinds = {name: (kind.dtype, tuple(1 if size is None else size for size in kind.shape)) for name, kind in fragment.reads.items()}
    wrong = {name: (given[name].dtype.name, given[name].shape) for name in kinds}
    wrong = {name: kind for name, kind in wrong.items() if kind != kinds[name]}
    if wrong:
        where = str(artifact.path / OPERANDS)
        raise InputError(Problem("DS2TA-157", f"{name!r} is {kind[0]} {kind[1]}", where) for name, kind in wrong.items())
    shape = [1 if size is None else size for size in fragment.types[fragment.value].shape]
    if len(shape) != len(place) or not all(0 <= position < size for position, size in zip(place, shape, strict=True)):
        raise InputError(Problem("DS2TA-157", f"the index {list(place)} lies outside {shape}", str(artifact.path / RECORD)))
