"""The integer graph: an input, a list of ops in order, and the values between them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops import DTYPE_LIMITS, Op, ValueType

#: Largest size of an input's axis, and most elements of a value of one sample: the proof's arithmetic is safe below.
_LARGEST_SIZE, MOST_ELEMENTS = 4096, 2**31 - 1

#: Receives a value's name and the value in its storage type.
Sink = Callable[[str, NDArray[np.integer]], None]

#: Computes the outputs of an op from its inputs.
Apply = Callable[[Op, tuple[IntArray, ...]], tuple[IntArray, ...]]


def _execute(op: Op, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return op.execute(*inputs)


def metered(meter: Callable[[Op, tuple[IntArray, ...]], None]) -> Apply:
    """Let a run tell of every op what it is about to read, int64; views that nobody can observe among them."""

    def apply(op: Op, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
        meter(op, inputs)
        return op.execute(*inputs)

    return apply


@dataclass(frozen=True, eq=False)
class Graph:
    """An integer network.

    Attributes:
        name: what it was frozen from, for people.
        input_name: name of the network's input.
        input_type: its shape and storage type (uint8 pixels or event counts).
        ops: in an order in which every op comes after those it reads from.
        output: name of the network's output, the logits.
        output_scale: real logits are ``output_scale * integer logits``.
        facts: what a reader may want to know besides (bit widths, time steps, rounding rules); strings and numbers.

    """

    name: str
    input_name: str
    input_type: ValueType
    ops: tuple[Op, ...]
    output: str
    output_scale: float
    facts: dict[str, str | int | float] = field(default_factory=dict)

    @cached_property
    def types(self) -> dict[str, ValueType]:
        """Shape and storage type of every value.

        Raises:
            UnsupportedError: DS2TA-210 with every op whose inputs do not fit, DS2TA-211 for a broken wiring.

        """
        problems = input_problems(self.input_name, self.input_type)
        if problems:
            raise UnsupportedError(problems)
        return infer_types(self.ops, {self.input_name: self.input_type}, self.output, self.name)

    @cached_property
    def ranges(self) -> dict[str, Interval]:
        """Proven interval of every value, for every possible input.

        Raises:
            UnsupportedError: DS2TA-221 with every table that an index could leave.

        """
        return infer_ranges(self, self.types)

    @property
    def observable(self) -> tuple[str, ...]:
        """Names of the values that every runtime can report, in order.

        A last name part that begins with an underscore marks a mere view of another value.
        """
        return tuple(name for name in self.types if name != self.input_name and not name.rsplit(".", 1)[-1].startswith("_"))

    def check_input(self, array: NDArray[np.generic]) -> None:
        """Raise unless ``array`` is a valid input.

        Raises:
            InputError: DS2TA-120 wrong dtype, DS2TA-121 wrong shape.

        """
        check_input(array, self.input_type, self.input_name)

    def execute(self, array: NDArray[np.generic], sink: Sink | None = None, apply: Apply = _execute) -> NDArray[np.integer]:
        """Run the graph in NumPy: its own definition.

        Args:
            array: the input, uint8.
            sink: told every observable value as soon as it is computed.
            apply: computes the outputs of an op; from the first time step on, unless something else is given.

        Returns:
            The output, int32.

        Raises:
            InputError: when the input does not fit.
            OverflowError: when a value leaves its storage type, which the range proof rules out.

        """
        self.check_input(array)
        last_use = {name: index for index, op in enumerate(self.ops) for name in op.inputs}
        live: dict[str, IntArray] = {self.input_name: array.astype(np.int64)}
        observable = set(self.observable)
        output: NDArray[np.integer] | None = None
        for index, op in enumerate(self.ops):
            made = apply(op, tuple(live[name] for name in op.inputs))
            for name, value in zip(op.outputs, made, strict=True):
                live[name] = value
                if name in observable and (sink is not None or name == self.output):
                    stored = store(value, self.types[name], name)
                    if sink is not None:
                        sink(name, stored)
                    output = stored if name == self.output else output
            for name in (*op.inputs, *op.outputs):
                if last_use.get(name, -1) <= index:
                    live.pop(name, None)
        if output is None:
            raise UnsupportedError(Problem("DS2TA-211", f"the output {self.output!r} is made by no op", self.name))
        return output

    def __iter__(self) -> Iterator[Op]:
        """Iterate over the ops in order."""
        return iter(self.ops)


def infer_types(ops: Iterable[Op], given: Mapping[str, ValueType], output: str, where: str) -> dict[str, ValueType]:
    """Return the types of what is given and of every value that the ops make of it.

    Raises:
        UnsupportedError: DS2TA-210 with every op whose inputs do not fit, DS2TA-211 for a broken wiring.

    """
    types, problems = dict(given), list[Problem]()
    seen: set[str] = set()
    failed: set[str] = set()  # outputs of ops that were reported: what reads them is not reported again
    for op in ops:
        if op.name in seen:
            problems.append(Problem("DS2TA-211", "is the name of two ops", op.name))
        seen.add(op.name)
        missing = [name for name in op.inputs if name not in types and name not in failed]
        problems += [Problem("DS2TA-211", f"reads {name!r}, which no earlier op makes", op.name) for name in missing]
        doubled = [name for place, name in enumerate(op.outputs) if name in types or name in failed or name in op.outputs[:place]]
        problems += [Problem("DS2TA-211", f"makes {name!r} a second time", op.name) for name in doubled]
        if missing or doubled or failed.intersection(op.inputs):
            failed.update(op.outputs)
            continue
        try:
            inputs = [types[name] for name in op.inputs]
            op.check(inputs)
            made = op.infer_types(inputs)
            op.require(
                all(math.prod(size or 1 for size in kind.shape) <= MOST_ELEMENTS for kind in made),
                "makes a value of 2^31 elements or more",
            )
            types.update(zip(op.outputs, made, strict=True))
        except UnsupportedError as error:
            problems += error.problems
            failed.update(op.outputs)
    if not problems and output not in types:
        problems.append(Problem("DS2TA-211", f"the output {output!r} is made by no op", where))
    if problems:
        raise UnsupportedError(problems)
    return types


def infer_ranges(graph: Graph, types: Mapping[str, ValueType]) -> dict[str, Interval]:
    """Bound every value of the graph for values of these types, whose first axis says how many time steps there may be.

    Raises:
        UnsupportedError: DS2TA-221 with every table that an index could leave.

    """
    ranges = {graph.input_name: Interval.of(*DTYPE_LIMITS[graph.input_type.dtype])}
    problems: list[Problem] = []
    for op in graph.ops:
        if any(name not in ranges for name in op.inputs):
            continue  # behind an op that failed: already reported
        try:
            # What does not fit its type is reported by prove(); behind it, reckon with what the type can hold.
            inputs = [ranges[name].clip(*DTYPE_LIMITS[types[name].dtype]) for name in op.inputs]
            made = op.infer_ranges(inputs, [types[name] for name in op.inputs])
        except UnsupportedError as error:
            problems += error.problems
            continue
        ranges.update(zip(op.outputs, made, strict=True))
    if problems:
        raise UnsupportedError(problems)
    return ranges


def check_input(array: NDArray[np.generic], expected: ValueType, name: str) -> None:
    """Raise unless ``array`` has the expected storage type and shape.

    Raises:
        InputError: DS2TA-120 wrong dtype, DS2TA-121 wrong shape.

    """
    problems = []
    if array.dtype != expected.dtype:
        problems.append(Problem("DS2TA-120", f"is {array.dtype}, the network takes {expected.dtype}", name, "give raw pixels 0..255"))
    fits = array.ndim == len(expected.shape) and all(want in (None, have) for want, have in zip(expected.shape, array.shape, strict=False))
    if not fits:
        wanted = ", ".join("batch" if size is None else str(size) for size in expected.shape)
        problems.append(Problem("DS2TA-121", f"has shape {array.shape}, the network takes [{wanted}]", name))
    if problems:
        raise InputError(problems)


def input_problems(name: str, kind: ValueType, largest: int = _LARGEST_SIZE) -> list[Problem]:
    """Check the shape of what is given: the batch first, or second after time, and sane sizes else (DS2TA-213)."""
    sizes = [size for size in kind.shape if size is not None]
    if None in kind.shape[:2] and len(sizes) == len(kind.shape) - 1 and all(1 <= size <= largest for size in sizes):
        return []
    what = f"the shape {kind.shape} has not one batch axis, first or second, and sizes of 1..{largest} else"
    return [Problem("DS2TA-213", what, name)]


def store(value: IntArray, kind: ValueType, name: str) -> NDArray[np.integer]:
    """Return ``value`` in its storage type, or raise OverflowError rather than wrap."""
    low, high = DTYPE_LIMITS[kind.dtype]
    if value.size and (value.min() < low or value.max() > high):
        raise OverflowError(f"{name} holds [{value.min()}, {value.max()}], which {kind.dtype} cannot store")
    return value.astype(kind.dtype)
