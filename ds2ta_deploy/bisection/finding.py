"""Finding: what there is to know of a first divergence, the op that made it and all that this op read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.bisection.search import Located
from ds2ta_deploy.errors import Ds2taError
from ds2ta_deploy.graph.axes import axes_of, in_words
from ds2ta_deploy.graph.clock import Clock
from ds2ta_deploy.graph.fragment import Fragment, cut
from ds2ta_deploy.graph.graph import Graph, store
from ds2ta_deploy.graph.intervals import IntArray
from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.parity import Divergence
from ds2ta_deploy.runtimes.base import Trace


@dataclass(frozen=True)
class Operand:
    """A value that the op reads.

    Attributes:
        name: dotted name.
        shape: of one sample, over all time steps.
        agrees: whether both sides have the same integers, up to the time step of the divergence, or the end of its chunk.

    """

    name: str
    shape: tuple[int, ...]
    agrees: bool


@dataclass(frozen=True)
class Own:
    """What the op's class itself makes of the operands.

    Attributes:
        op: the op that computed the integer.
        value: all of it, in its storage type; None when the class refuses these operands.
        at_place: the integer at the divergence's place.
        read: what was read there, by a word each.
        refusal: why, when it refuses.

    """

    op: Op
    value: NDArray[np.integer] | None
    at_place: int | None
    read: dict[str, IntArray]
    refusal: str = ""


@dataclass(frozen=True)
class Finding:
    """A divergence explained.

    Attributes:
        divergence: the place and both integers.
        axes: what the numbers of its index count.
        fragment: the op, with those that only lead to it and cannot be observed.
        operands: what it reads, as the runtimes computed it.
        given: the operands' integers on the divergence's sample, the baseline's.
        own: the op class's own opinion.

    """

    divergence: Divergence
    axes: tuple[str, ...]
    fragment: Fragment
    operands: tuple[Operand, ...]
    given: Trace
    own: Own

    @property
    def words(self) -> str:
        """The place in words: ``sample 40, time step 1, token 15, channel 9``."""
        step = "" if self.divergence.step is None else f", time step {self.divergence.step}"
        return f"sample {self.divergence.sample}{step}, {in_words(self.axes, self.divergence.index)}"

    @property
    def place(self) -> tuple[int, ...]:
        """Index into the value of the one sample, batch included."""
        return place_in_sample(self.divergence.step, self.divergence.index)

    @property
    def is_first_cause(self) -> bool:
        """Whether all operands agree, so that this op and none before it is where the runtimes part."""
        return all(operand.agrees for operand in self.operands)


def place_in_sample(step: int | None, index: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index into a value of one sample alone: batch first, or second behind time."""
    return (0, *index) if step is None else (step, 0, *index)


def has_place(value: NDArray[np.integer], place: tuple[int, ...]) -> bool:
    """Whether the value has such an index."""
    return value.ndim == len(place) and all(0 <= position < size for position, size in zip(place, value.shape, strict=True))


def explain(graph: Graph, located: Located) -> Finding:
    """Find the op behind a divergence, what it read, and what its class makes of that."""
    divergence = located.divergence
    fragment = cut(graph, divergence.value, located.found)
    expected, found = located.expected, located.found
    clock, last = Clock.of(graph), divergence.step
    operands = []
    for name in fragment.reads:  # the first axis is time, or, of pictures, that of the one sample
        until = None if last is None else clock.until(name, clock.block(divergence.value, last))
        operands.append(Operand(name, expected[name].shape, bool(np.array_equal(expected[name][:until], found[name][:until]))))
    given = {name: expected[name] for name in fragment.reads}
    place = place_in_sample(divergence.step, divergence.index)
    axes = tuple(axis for axis in axes_of(graph)[divergence.value] if axis not in ("sample", "time step", "chunk"))
    return Finding(divergence, axes, fragment, tuple(operands), given, ask_op(fragment, given, place))


def ask_op(fragment: Fragment, given: Trace, place: tuple[int, ...]) -> Own:
    """Execute the fragment as the ops' classes define it, and look at one place of its value."""
    try:
        values = fragment.execute(given)
        value = store(values[fragment.value], fragment.types[fragment.value], fragment.value)
    except Ds2taError as error:  # operands that no correct engine makes
        maker = next(op for op in fragment.ops if fragment.value in op.outputs)
        return Own(maker, None, None, {}, str(error.problems[0]))
    op, inner = fragment.focus(place, values)
    return Own(op, value, int(value[place]), op.operands(inner, *(values[name] for name in op.inputs)))
