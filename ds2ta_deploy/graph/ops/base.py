"""What an op is: attributes, a shape rule, a value-range rule, and its execution in NumPy int64."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import IntArray, Interval

#: What an op remembers from one time step to the next, by a word each.
State = dict[str, IntArray]

Dtype = Literal["uint8", "int16", "int32"]

#: What each axis of a value counts: ``("time step", "sample", "token", "channel")``.
Axes = tuple[str, ...]

#: Interval that each storage type can hold.
DTYPE_LIMITS: dict[Dtype, tuple[int, int]] = {"uint8": (0, 255), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1)}

#: Largest magnitude below which every integer sum is exact in the floating-point type.
_FLOAT32_EXACT, _FLOAT64_EXACT = 2**24, 2**53


@dataclass(frozen=True)
class ValueType:
    """Shape and storage type of a value.

    Attributes:
        shape: sizes, time first; ``None`` stands for the batch.
        dtype: integer type that the value is stored in.

    """

    shape: tuple[int | None, ...]
    dtype: Dtype


@dataclass(frozen=True, eq=False)
class Op(ABC):
    """One op of the integer graph. Arrays are fields; so are integers; there is nothing else.

    Attributes:
        name: dotted name, unique in the graph.
        inputs: names of the values it reads.
        outputs: names of the values it makes.

    """

    #: Number of axes that each input may have.
    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]]
    #: Storage types that each input may have.
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]]
    #: Number of outputs.
    OUTPUTS: ClassVar[int] = 1
    #: Array fields: number of axes and allowed types.
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {}
    #: Integer fields: smallest and largest value.
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {}
    #: Whether the op computes nothing: each element of its output is one element of its input, elsewhere.
    REARRANGES: ClassVar[bool] = False

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def check(self, inputs: Sequence[ValueType]) -> None:
        """Check fields and wiring against what the class declares, before any rule looks at them.

        Raises:
            UnsupportedError: DS2TA-210 with everything that is wrong with this op.

        """
        wrong = []
        if (len(self.inputs), len(self.outputs)) != (len(self.INPUT_RANKS), self.OUTPUTS):
            wrong.append(f"has {len(self.inputs)} inputs and {len(self.outputs)} outputs, not {len(self.INPUT_RANKS)} and {self.OUTPUTS}")
        for ranks, dtypes, kind in zip(self.INPUT_RANKS, self.INPUT_DTYPES, inputs, strict=False):
            if kind.dtype not in dtypes:
                wrong.append(f"gets an input of {kind.dtype}, not {' or '.join(dtypes)}")
            if len(kind.shape) not in ranks:
                wrong.append(f"gets an input of shape {kind.shape}, which has not {' or '.join(map(str, ranks))} axes")
        for name, (rank, kinds) in self.ARRAYS.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.ndim != rank or array.dtype.name not in kinds or array.size == 0:
                wrong.append(f"{name} is no filled {' or '.join(kinds)} array of {rank} axes")
        for name, (low, high) in self.INTEGERS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                wrong.append(f"{name} is {value!r}, must be an integer in {low}..{high}")
        if wrong:
            raise UnsupportedError(Problem("DS2TA-210", what, self.name) for what in wrong)

    @abstractmethod
    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Return the outputs' types, or raise UnsupportedError when the inputs do not fit."""

    @abstractmethod
    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Return intervals that hold the outputs for every input inside ``inputs``."""

    @abstractmethod
    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Compute the outputs; this is the op's meaning."""

    def state_types(self, inputs: Sequence[ValueType]) -> dict[str, ValueType]:
        """Return what the op remembers from one time step to the next, all zero before the first; nothing unless the class says so."""
        return {}

    def state_ranges(self, inputs: Sequence[Interval], outputs: Sequence[Interval]) -> dict[str, Interval]:
        """Return intervals that hold what is remembered, given those of the op's inputs and outputs over the steps so far."""
        return {}

    def advance(self, now: int, state: State, *inputs: IntArray) -> tuple[tuple[IntArray, ...], State]:
        """Compute the outputs of some time steps after others were computed before; :meth:`execute` begins at the first.

        Args:
            now: time steps, or chunks of them, that were computed before.
            state: what was remembered then, as :meth:`state_types` says.
            inputs: the op's inputs over the present time steps.

        Returns:
            The outputs over these steps, and what is remembered behind them.

        """
        return self.execute(*inputs), {}

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """Return what the axes of the outputs count: as the first input's, unless the class says otherwise."""
        return (inputs[0],) * self.OUTPUTS

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """Return the integers that the outputs at ``place`` are computed from, by a word each.

        Args:
            place: index into the outputs, time and batch included.
            inputs: the op's inputs, over all time steps.

        Returns:
            What is read there, inputs and parameters; all of the inputs unless the class says otherwise.

        """
        return dict(zip(self.inputs, inputs, strict=True))

    def require(self, condition: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Raise DS2TA-210 with this op's name unless ``condition`` holds."""
        if not condition:
            raise UnsupportedError(Problem("DS2TA-210", what, self.name))


def exact_matmul(left: IntArray, right: IntArray) -> IntArray:
    """Integer matrix product ``left @ right``, through floating-point BLAS where that is provably exact.

    Every partial sum is at most ``max|left| max|right| K``; below 2^24 (2^53) each is an integer that
    float32 (float64) represents exactly, in any order of summation, and BLAS is far faster than an
    integer loop.
    """
    size = left.shape[-1]
    bound = int(np.abs(left).max(initial=0)) * int(np.abs(right).max(initial=0)) * size
    if bound >= _FLOAT64_EXACT:
        exact: IntArray = left @ right
        return exact
    kind = np.float32 if bound < _FLOAT32_EXACT else np.float64
    product: IntArray = (left.astype(kind) @ right.astype(kind)).astype(np.int64)
    return product
