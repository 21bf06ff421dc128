"""The rules that put one real-valued thing on integers: folded weights, leaks, pixel tables, the readout."""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.formats import POWERS
from ds2ta_deploy.graph.intervals import bits_needed
from ds2ta_deploy.models.layers import ConvSynapses, Synapses
from ds2ta_deploy.models.readout import IntegerReadout, Readout
from ds2ta_deploy.models.rounding import straight_through

#: Distance from a whole number that float64 arithmetic on a pixel table may leave.
_WHOLE = 1e-6

#: Denominator bits of a leak that is no exact power-of-two fraction.
_LEAK_BITS = 8


def simplest_fraction(number: float) -> Fraction:
    """The simplest fraction that a config's decimal stands for: 0.0714285714 is 1/14."""
    return Fraction(number).limit_denominator(10**6) or Fraction(number)


def fold_norm(layer: Synapses | ConvSynapses, name: str = "") -> tuple[Tensor, Tensor]:
    """Fold batch norm into weights and bias: ``W gamma / sqrt(var + eps)``, ``beta + gamma (b - mean) / sqrt(var + eps)``."""
    norm = layer.norm
    bias = torch.zeros(layer.weight.shape[0], dtype=torch.float64) if layer.bias is None else layer.bias.double()
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        raise UnsupportedError(Problem("DS2TA-202", f"expected a batch norm to fold, found {type(norm).__name__}", name))
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise UnsupportedError(Problem("DS2TA-202", "the batch norm keeps no running statistics", name))
    gain = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    weight = layer.weight.double() * gain.view(-1, *[1] * (layer.weight.dim() - 1))
    folded = norm.bias.double() + gain * (bias - mean.double())
    if not (torch.isfinite(weight).all() and torch.isfinite(folded).all()):
        what, advice = "folding the batch norm gives weights that are not finite", "its variance is negative or its gain too large"
        raise UnsupportedError(Problem("DS2TA-222", what, name, advice))
    return weight, folded


def integer_thresholds(weight: Tensor, theta: float, largest: int, most: int, *, shared: bool) -> Tensor:
    """Integer thresholds ``[out]`` of a layer with folded weights ``[out, K]`` and the real threshold ``theta``.

    ``theta_c = floor(largest theta / max|W'_c|)``, clipped to 1..most; a ``shared`` one takes the maximum over the whole
    layer, so that all channels have the same threshold and the same scale.

    Example:
        >>> integer_thresholds(torch.tensor([[0.5], [0.25]]), 1.0, 127, 2**14, shared=False).tolist()
        [254.0, 508.0]

    """
    peak = weight.detach().abs().amax(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    peak = peak.max().expand_as(peak) if shared else peak
    return (largest * theta / peak).floor().clamp(1, most)


def leak_fraction(membrane_time_constant: float) -> tuple[int, int]:
    """Return ``(numerator, shift)`` with ``numerator / 2^shift`` nearest to ``1 - 1/tau_m``, the smallest shift that is exact.

    Example:
        >>> leak_fraction(2.0), leak_fraction(4.0)
        ((1, 1), (3, 2))

    """
    leak = 1.0 - 1.0 / membrane_time_constant
    for shift in range(_LEAK_BITS + 1):
        if leak * 2**shift == round(leak * 2**shift):
            return round(leak * 2**shift), shift
    return round(leak * 2**_LEAK_BITS), _LEAK_BITS


def leak_is_exact(membrane_time_constant: float) -> bool:
    """Whether the integer neuron has the real one's leak, and its floor loses nothing."""
    numerator, shift = leak_fraction(membrane_time_constant)
    return numerator / 2**shift == 1.0 - 1.0 / membrane_time_constant and numerator == 1


def quantize_table(values: Tensor, largest: int, *, counts: bool) -> tuple[Tensor, float]:
    """Put a pixel table ``[C, 256]`` on integers within ``[-largest, largest]``; returns ``(table, real value of one unit)``.

    A table of multiples of one step from zero keeps that step without loss if it fits. Event counts keep
    the smallest step of any polarity always, and are clipped: a single event must not vanish.
    """
    steps = values[:, 1].abs()
    step = float(steps[steps > 0].min()) if (steps > 0).any() else 0.0
    multiples = (values / step).round() if step else values
    # scale / std is seldom exact in binary: a table of multiples is one up to the rounding of its entries.
    whole = step != 0 and bool(((values / step - multiples).abs() < _WHOLE).all())
    if (counts and step and not values[:, 0].any()) or (whole and multiples.abs().max() <= largest):
        return multiples.clamp(-largest, largest), step
    unit = float(values.abs().max()) / largest
    return (values / unit).round(), unit


@dataclass(frozen=True)
class WeightGrid:
    """The integers that a layer's weights are rounded to.

    Attributes:
        name: for people.
        largest: of them; a channel's largest weight becomes this one.
        magnitudes: all of them that are not negative, ascending; empty stands for all up to the largest.

    """

    name: str
    largest: int
    magnitudes: tuple[int, ...] = ()

    def round(self, scaled: Tensor) -> Tensor:
        """Return the nearest integers of the grid; straight through for gradients, but not beyond the largest.

        Of two that are equally near it is the even one on a uniform grid, the larger magnitude among powers of two.

        Example:
            >>> uniform_grid(4).round(torch.tensor([2.5, -9.0])).tolist(), POWERS_OF_TWO.round(torch.tensor([3.0, -0.4])).tolist()
            ([2.0, -7.0], [4.0, -0.0])

        """
        if not self.magnitudes:
            return straight_through(scaled, scaled.round()).clamp(-self.largest, self.largest)
        grid = torch.tensor(self.magnitudes, dtype=scaled.dtype)
        place = torch.bucketize(scaled.detach().abs(), (grid[1:] + grid[:-1]) / 2, right=True)
        return straight_through(scaled.clamp(-self.largest, self.largest), grid[place] * scaled.detach().sign())


#: Zero and the powers of two that a file can store, with either sign.
POWERS_OF_TWO = WeightGrid("power of two", POWERS[-1], (0, *POWERS))


def uniform_grid(bits: int) -> WeightGrid:
    """All integers of so many bits; the most negative one, which has no positive counterpart, is left out."""
    return WeightGrid(f"{bits}-bit", 2 ** (bits - 1) - 1)


def quantize_readout(readout: nn.Module, grid: WeightGrid, summands: int) -> IntegerReadout:
    """One scale for all classes; the mean over ``summands`` token-steps becomes a sum, and goes into scale and bias."""
    if not isinstance(readout, Readout):
        raise UnsupportedError(Problem("DS2TA-202", "the readout is not a trained one", "head"))
    unit = float(readout.weight.detach().abs().max()) / grid.largest or 1.0
    bias = readout.bias * summands / unit
    bias = straight_through(bias, bias.round())
    if bits_needed(int(bias.min()), int(bias.max())) > 32:
        raise UnsupportedError(Problem("DS2TA-222", "the bias needs more than 32 bits on the grid", "head"))
    return IntegerReadout(grid.round(readout.weight / unit), bias, unit / summands)
