"""Ops over time: Repeat, TemporalWindow (TASA) and Lif."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Dtype, Op, State, ValueType

#: Steps over which a membrane's bounds are followed one by one; where they still widen then, a bound for all times takes over.
_FOLLOWED = 4096


@dataclass(frozen=True, eq=False)
class Repeat(Op):
    """Show a still value at every time step: ``out[t] = in[0]``.

    Attributes:
        time_steps: T.

    Shapes: ``[1, B, ...]`` -> ``[T, B, ...]``.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("int32",),)
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"time_steps": (1, 1024)}
    REARRANGES: ClassVar[bool] = True

    time_steps: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Replace the first axis."""
        self.require(inputs[0].shape[0] == 1, f"expects one time step, gets {inputs[0].shape[0]}")
        return (ValueType((self.time_steps, *inputs[0].shape[1:]), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Nothing changes."""
        return (inputs[0],)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Repeat."""
        return (np.repeat(inputs[0], self.time_steps, axis=0),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The still value."""
        return {"input": inputs[0][(0, *place[1:])]}


@dataclass(frozen=True, eq=False)
class TemporalWindow(Op):
    r"""Temporally attenuated sum (DS2TA Eq. 1, 4, 5) with guard bits, and the bias.

    ``current[t] = sum_{m=0}^{min(t, TAW-1)} ((product[t-m] << g) >> tau m) + (bias << g)``; ``>>`` floors.
    With ``g >= tau (TAW-1)`` no bit is dropped. A window of one tap and tau 0 adds the bias only.

    Attributes:
        bias: int32 ``[C]``; enters once a step, not once a tap.
        taps: TAW.
        decay: tau, the learned integer exponent.
        guard_bits: g; the neuron behind has its threshold in the same unit, ``theta << g``.

    Shapes: ``[T, B, ..., C]`` int32 -> the same.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("int32",),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"bias": (1, ("int32",))}
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"taps": (1, 64), "decay": (0, 8), "guard_bits": (0, 24)}

    bias: NDArray[np.int32]
    taps: int
    decay: int
    guard_bits: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Keep the shape."""
        (x,) = inputs
        self.require(x.shape[-1] == self.bias.shape[0], f"has {self.bias.shape[0]} biases for {x.shape[-1]} channels")
        return (ValueType(x.shape, "int32"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Add tap after tap; early steps have fewer taps, and every partial sum counts."""
        steps = min(self.taps, types[0].shape[0] or self.taps)
        total = Interval.of(self._attenuate(inputs[0].low, 0), self._attenuate(inputs[0].high, 0)).with_zero()
        for lag in range(1, steps):
            tap = Interval.of(self._attenuate(inputs[0].low, lag), self._attenuate(inputs[0].high, lag))
            total = total + tap.with_zero()
        bias = self.bias.astype(np.int64) << self.guard_bits
        return (total + Interval.of(bias, bias).with_zero(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Add the attenuated history to the present, step by step."""
        return self.advance(0, {"history": np.zeros((0, *inputs[0].shape[1:]), np.int64)}, *inputs)[0]

    def state_types(self, inputs: Sequence[ValueType]) -> dict[str, ValueType]:
        """``history``: the products of the last TAW - 1 steps, the oldest first; silent ones before the first step."""
        return {"history": ValueType((self.taps - 1, *inputs[0].shape[1:]), "int32")} if self.taps > 1 else {}

    def state_ranges(self, inputs: Sequence[Interval], outputs: Sequence[Interval]) -> dict[str, Interval]:
        """Products, or zero."""
        return {"history": inputs[0].with_zero()} if self.taps > 1 else {}

    def advance(self, now: int, state: State, *inputs: IntArray) -> tuple[tuple[IntArray, ...], State]:
        """Add the attenuated history to the present, step by step."""
        history = state.get("history", inputs[0][:0])
        products, before = np.concatenate([history, inputs[0]]), len(history)
        current = self._attenuate(inputs[0], 0) + (self.bias.astype(np.int64) << self.guard_bits)
        for lag in range(1, min(self.taps, len(products))):
            reached = max(0, lag - before)  # the first of the present steps that has so long a past
            current[reached:] += self._attenuate(products[before + reached - lag : len(products) - lag], lag)
        return (current,), ({"history": products[len(products) - (self.taps - 1) :]} if self.taps > 1 else {})

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The products in reach, the present first, the channel's bias, and the window."""
        now, elsewhere = place[0], place[1:]
        products = [inputs[0][(now - lag, *elsewhere)] for lag in range(min(self.taps, now + 1))]
        read = {"products, the present first": products, "bias": self.bias[place[-1]]}
        read |= {"taps": self.taps, "decay": self.decay, "guard bits": self.guard_bits}
        return {word: np.asarray(integers, np.int64) for word, integers in read.items()}

    def drops_bits(self, time_steps: int) -> bool:
        """Whether the guard bits are too few for a run of so many steps: some tap's shift floors."""
        return self.guard_bits < self.decay * (min(self.taps, time_steps) - 1)

    def _attenuate(self, products: IntArray, lag: int) -> IntArray:
        return (products << self.guard_bits) >> (self.decay * lag)


@dataclass(frozen=True, eq=False)
class Lif(Op):
    r"""Leaky integrate-and-fire neuron with hard reset to zero (DS2TA Eq. 2-3).

    ``V[t] = ((V[t-1] (1 - s[t-1])) * leak_numerator >> leak_shift) + current[t]``, ``s[t] = V[t] >= threshold``.
    The shift floors. With numerator 1 and shift 1 (tau_m = 2) the spikes are those of the
    real-valued neuron at every step; a floored product is an approximation (:attr:`exact`).

    Attributes:
        threshold: int32 ``[C]``, positive, in the unit of the current.
        leak_numerator: of the fraction ``1 - 1/tau_m``.
        leak_shift: its power-of-two denominator.

    Shapes: ``[T, B, ..., C]`` int32 -> spikes uint8 and membrane int32 (before the reset) of the same shape.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("int32",),)
    OUTPUTS: ClassVar[int] = 2
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"threshold": (1, ("int32",))}
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"leak_numerator": (0, 2**16), "leak_shift": (0, 16)}

    threshold: NDArray[np.int32]
    leak_numerator: int
    leak_shift: int

    @property
    def exact(self) -> bool:
        """Whether the floor provably loses nothing: nothing is kept, everything is, or the leak is a pure shift."""
        return self.leak_numerator in (0, 1, 2**self.leak_shift)

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Spikes and membrane have the current's shape."""
        (x,) = inputs
        self.require(x.shape[-1] == self.threshold.shape[0], f"has {self.threshold.shape[0]} thresholds for {x.shape[-1]} channels")
        self.require(bool((self.threshold > 0).all()), "needs positive thresholds")
        self.require(0 <= self.leak_numerator <= 2**self.leak_shift, "needs a leak between 0 and 1")
        return ValueType(x.shape, "uint8"), ValueType(x.shape, "int32")

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Follow both bounds over T steps: what is carried over stayed below the threshold."""
        current, limit = inputs[0], self.threshold.astype(np.int64) - 1
        low, high = current.per_channel(self.threshold.shape[0])
        widest, further = Interval.of(low, high), (types[0].shape[0] or 1) - 1
        for _ in range(min(further, _FOLLOWED)):
            before = widest
            widest = Interval.of(
                current.low + np.minimum(self._leak(widest.low), 0),
                current.high + np.maximum(self._leak(np.minimum(widest.high, limit)), 0),
            )
            if np.array_equal(widest.low, before.low) and np.array_equal(widest.high, before.high):
                break  # the bounds only ever widen: this is all there is
        else:
            widest = self._after(further + 1, current, widest) if further > _FOLLOWED else widest
        fires = (widest.high > limit).astype(np.int64)
        return Interval.of(np.zeros_like(fires), fires), self._widen_for_leak(widest)

    def _after(self, steps: int, current: Interval, followed: Interval) -> Interval:
        """Bound the membrane after very many steps without following each.

        What is carried over is below the threshold, so that the upper bound is final. The lower one obeys ``V' >= I + a V - 1``
        with the leak a, so that ``V >= (I - 1) / (1 - a)``; without any leak it falls by I a step.
        """
        falling, kept = np.minimum(current.low, 0), 2**self.leak_shift - self.leak_numerator
        low = -((-(falling - 1) * 2**self.leak_shift) // kept) - 1 if kept else falling * steps
        most = current.high + np.maximum(self._leak(self.threshold.astype(np.int64) - 1), 0)
        return Interval.of(np.minimum(followed.low, low), np.maximum(followed.high, most))

    def _widen_for_leak(self, membrane: Interval) -> Interval:
        """Include ``V * leak_numerator`` before its shift, which the accumulator must hold too."""
        if self.leak_numerator <= 1:
            return membrane
        kept = np.minimum(membrane.high, self.threshold.astype(np.int64) - 1)
        return Interval.of(
            np.minimum(membrane.low, membrane.low * self.leak_numerator), np.maximum(membrane.high, kept * self.leak_numerator)
        )

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Run all T steps."""
        return self.advance(0, {"carried": np.zeros_like(inputs[0][0])}, *inputs)[0]

    def state_types(self, inputs: Sequence[ValueType]) -> dict[str, ValueType]:
        """``carried``: what the last membrane hands on, after reset and leak."""
        return {"carried": ValueType(inputs[0].shape[1:], "int32")}

    def state_ranges(self, inputs: Sequence[Interval], outputs: Sequence[Interval]) -> dict[str, Interval]:
        """A membrane that did not fire, leaked; or zero."""
        membrane, limit = outputs[1], self.threshold.astype(np.int64) - 1
        low = np.minimum(membrane.low, 0) // max(self.leak_numerator, 1)  # before what _widen_for_leak included
        return {"carried": Interval.of(self._leak(low), self._leak(np.minimum(membrane.high, limit))).with_zero()}

    def advance(self, now: int, state: State, *inputs: IntArray) -> tuple[tuple[IntArray, ...], State]:
        """Run step after step."""
        current, carried = inputs[0], state["carried"]
        membrane, spikes = np.empty_like(current), np.empty_like(current)
        for t in range(current.shape[0]):
            membrane[t] = carried + current[t]
            spikes[t] = membrane[t] >= self.threshold
            carried = self._leak(np.where(spikes[t] == 1, 0, membrane[t]))
        return (spikes, membrane), {"carried": carried}

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """What the membrane kept after reset and leak, the current, the channel's threshold."""
        now, elsewhere = place[0], place[1:]
        kept = np.zeros((), np.int64)
        if now:
            spikes, membrane = (made[(now - 1, *elsewhere)] for made in self.execute(inputs[0][:now]))
            kept = self._leak(membrane * (1 - spikes))
        return {"membrane before": kept, "current": inputs[0][place], "threshold": self.threshold[place[-1]].astype(np.int64)}

    def _leak(self, membrane: IntArray) -> IntArray:
        return (membrane * self.leak_numerator) >> self.leak_shift
