r"""The numbers with which Lava's own ``Sparse`` and ``LIFReset`` compute a spiking linear population exactly.

What they compute (fixed point, ``lava.proc``): ``Sparse`` sends ``(weights @ s) << weight_exp`` one step later, its
8-bit weights of mixed sign being even; ``LIFReset`` keeps current and membrane with 6 fractional bits in 24 bits,

    u = a << 6                                                      with du = 4095
    v = trunc(v / 2) + u + (bias_mant << bias_exp);  s = v > (vth << 6);  v = 0 where it fired      with dv = 2048

and sets u and v to zero in every ``reset_interval``-th step, before that step's update.

The population means ``V = floor(V / 2) + W s + b``, ``s = V >= theta``. With g = T - 1 guard bits everywhere, v is a
multiple of ``2^(6 + g - t) >= 2^6`` in step t < T after a reset: nothing is ever truncated, and ``v > ((theta << g) - 1)
<< 6`` is ``v >= theta << (g + 6)``. Nested floors give the same spikes as none, so both fire in the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import NetworkError, Process

#: Fractional bits that LIFReset gives current, membrane and threshold; its bias has to bring them along.
FRACTION = 6

#: Bits below which a current, a membrane and a threshold stay, guard bits included, or 24-bit state wraps or is cut off.
STATE_BITS = 17

#: Two's-complement bits of a bias' mantissa, and its largest exponent.
MANTISSA_BITS, LARGEST_EXPONENT = 13, 7

_SHAPE = ("Linear", "TemporalWindow", "Lif")


def guard_bits(time_steps: int) -> int:
    """Bits that T - 1 halvings can shift out."""
    return time_steps - 1


def bias_exponent(time_steps: int) -> int:
    """Exponent of the biases: as much of their shift as it can take; the mantissa takes the rest."""
    return min(guard_bits(time_steps) + FRACTION, LARGEST_EXPONENT)


def bias_mantissa(bias: NDArray[np.integer], time_steps: int) -> NDArray[np.int64]:
    """Mantissas of the biases ``[out]``: ``mantissa << exponent == bias << (g + 6)``."""
    return bias.astype(np.int64) << (guard_bits(time_steps) + FRACTION - bias_exponent(time_steps))


@dataclass(frozen=True)
class Recipe:
    """Parameters of the two processes.

    Attributes:
        weights: ``[out, in]``, twice the population's; each token has its own copy.
        weight_exp: of Sparse.
        bias_mant: ``[out]``.
        bias_exp: one for all.
        vth: the threshold.
        reset_interval: T.
        reset_offset: remainder of the Lava step, counted from 1, in which the first data of a sample arrive.

    """

    weights: NDArray[np.int32]
    weight_exp: int
    bias_mant: NDArray[np.int32]
    bias_exp: int
    vth: int
    reset_interval: int
    reset_offset: int


def recipe(process: Process, time_steps: int, start: int) -> Recipe:
    """Return the parameters of a population that begins ``start`` Lava steps late (see ``schedule.py``).

    Raises:
        NetworkError: when the process is not weights, bias and neuron with one threshold, which export rules out.

    """
    if tuple(step.op for step in process.steps) != _SHAPE or len(process.inputs) != 1:
        raise NetworkError(f"{process.name} is not weights, bias and neuron: stock processes cannot run it")
    weights, window, neuron = process.steps
    thresholds = np.unique(neuron.tensors["threshold"])
    if len(thresholds) != 1 or window.integers["taps"] != 1 or window.integers["guard_bits"] != 0:
        raise NetworkError(f"{process.name} has several thresholds or a temporal window: stock processes cannot run it")
    guard = guard_bits(time_steps)
    return Recipe(
        2 * weights.tensors["weight"].astype(np.int32),
        guard - 1,
        bias_mantissa(window.tensors["bias"], time_steps).astype(np.int32),
        bias_exponent(time_steps),
        (int(thresholds[0]) << guard) - 1,
        time_steps,
        # Model step 0 reaches Sparse in Lava step start + 1 and the neuron in the next one.
        (start + 2) % time_steps,
    )
