"""What every step of quantization needs: config, settings, the profile's widths, and the one rule for weights and thresholds."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import Interval, bits_needed
from ds2ta_deploy.graph.ops import Lif as LifOp
from ds2ta_deploy.graph.ops import TemporalWindow as WindowOp
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.ranges import PROFILES, Profile
from ds2ta_deploy.grid import WeightGrid, integer_thresholds, leak_fraction, simplest_fraction
from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.neurons import Lif
from ds2ta_deploy.models.rounding import straight_through
from ds2ta_deploy.quantizing.formats import weight_grid
from ds2ta_deploy.quantizing.settings import Quantization, WeightFormat

#: Largest integer threshold of a layer; of the first layer, and of neurons that read a stream.
MAX_THRESHOLD, MAX_FIRST_THRESHOLD = 2**14, 2**20

#: Most guard bits of a window or of an attention's neuron; more never fit 32-bit state.
MAX_GUARD_BITS = 24


@dataclass(frozen=True)
class Grid:
    """Integer weights ``[out, K]``, biases and thresholds ``[out]``: real = integer * theta / threshold."""

    weight: Tensor
    bias: Tensor
    threshold: Tensor


@dataclass
class Context:
    """Config and settings on their way through the layers, and what is to be told in the end.

    Attributes:
        config: of the network.
        settings: how it is put on the grid.
        formats: weight format of every layer that has a choice.
        notes: what was lost beyond rounding, in words.

    """

    config: NetworkConfig
    settings: Quantization
    formats: dict[str, WeightFormat] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def weight_grid(self, name: str) -> WeightGrid:
        """The grid of a layer whose format can be chosen."""
        return weight_grid(self.formats[name])

    @property
    def profile(self) -> Profile:
        """The widths that the settings ask for."""
        return PROFILES[self.settings.profile]

    @property
    def leak(self) -> tuple[int, int]:
        """Numerator and shift of every neuron's leak."""
        return leak_fraction(self.config.membrane_time_constant)

    def put_on_grid(self, name: str, weight: Tensor, bias: Tensor, neuron: Lif, grid: WeightGrid, most: int = MAX_THRESHOLD) -> Grid:
        """Put one layer's folded weights and bias on a grid of its own, as its neuron's threshold allows.

        Raises:
            UnsupportedError: DS2TA-222 when a bias needs more than 32 bits.

        """
        theta = neuron.effective_threshold
        threshold = integer_thresholds(weight, theta, grid.largest, most, shared=self.settings.thresholds == "layer")
        return self.put_on_given(name, weight, bias, theta, threshold, grid)

    def put_on_given(self, name: str, weight: Tensor, bias: Tensor, theta: float, threshold: Tensor, grid: WeightGrid) -> Grid:
        """The same with integer thresholds ``[out]`` that are decided already.

        Raises:
            UnsupportedError: DS2TA-222 when a bias needs more than 32 bits.

        """
        scaled = weight * (threshold / theta)[:, None]
        clipped = int((scaled.detach().abs().round() > grid.largest).sum())
        if clipped:
            self.notes.append(f"{name}: {clipped} weights are more than {grid.largest} times the threshold and were cut off")
        return Grid(grid.round(scaled), integer_bias(name, bias, theta, threshold), threshold)

    def scaled_threshold(self, neuron: Lif, scale: float, summed: Interval, name: str) -> tuple[int, int]:
        """Integer threshold and guard bits of a neuron that reads an integer sum times a real scale.

        The scale divides the threshold. A fraction takes its ceiling and as many guard bits as T - 1 leaks drop, or the most.

        Raises:
            UnsupportedError: DS2TA-222 when threshold or sum do not fit the state.

        """
        quotient = simplest_fraction(neuron.effective_threshold) / simplest_fraction(scale)
        exact = 0 if quotient.denominator == 1 else self.leak[1] * (self.config.time_steps - 1)
        for guard in range(min(exact, MAX_GUARD_BITS), -1, -1):
            threshold = math.ceil(quotient * 2**guard)
            if self.fits(summed, WindowOp("", (), (), np.zeros(1, np.int32), 1, 0, guard), np.array([threshold], object)):
                if guard < exact:
                    self.notes.append(f"{name}: the threshold {float(quotient):.6g} is rounded up to a multiple of 2^-{guard}")
                return threshold, guard
        what = f"threshold and attention need more than the {self.profile.state_bits} bits of state that profile {self.profile.name} grants"
        raise UnsupportedError(Problem("DS2TA-222", what, name, "use a larger attention scale or a wider profile"))

    def fits(self, product: Interval, window: WindowOp, threshold: NDArray[Any]) -> bool:
        """Whether current, membrane and threshold fit the profile's state, by the range rules of the ops themselves."""
        if bits_needed(0, int(threshold.max())) > self.profile.state_bits:
            return False
        kind = ValueType((self.config.time_steps, None, 1, threshold.shape[0]), "int32")
        (current,) = window.infer_ranges([product], [kind])
        return current.bits <= self.profile.state_bits and self.membrane_fits(current, threshold)

    def membrane_fits(self, current: Interval, threshold: NDArray[Any]) -> bool:
        """Whether the membrane of neurons that read a current fits the profile's state."""
        kind = ValueType((self.config.time_steps, None, 1, threshold.shape[0]), "int32")
        _, membrane = LifOp("", (), (), threshold.astype(np.int32), *self.leak).infer_ranges([current], [kind])
        return membrane.bits <= self.profile.state_bits


def integer_bias(name: str, bias: Tensor, theta: float, threshold: Tensor) -> Tensor:
    """Return biases ``[out]`` in units of ``theta / threshold``.

    Raises:
        UnsupportedError: DS2TA-222 when one needs more than 32 bits.

    """
    scaled = bias * threshold / theta
    rounded = straight_through(scaled, scaled.round())
    if (rounded.abs() >= 2**31).any():
        channel = int(rounded.abs().argmax())
        what = f"the bias of channel {channel} is {bias[channel]:.3g}, {rounded[channel]:.3g} on the grid: more than 32 bits"
        raise UnsupportedError(Problem("DS2TA-222", what, name))
    return rounded


def trained_neuron(neuron: nn.Module, name: str) -> Lif:
    """Return a neuron that is not on the grid yet, or raise UnsupportedError (DS2TA-202)."""
    if not isinstance(neuron, Lif):
        raise UnsupportedError(Problem("DS2TA-202", "the neuron is not a trained one", name))
    return neuron


def integers(tensor: Tensor) -> NDArray[np.int64]:
    """Return an integer-valued tensor as int64."""
    array: NDArray[np.int64] = tensor.detach().numpy().astype(np.int64)
    return array
