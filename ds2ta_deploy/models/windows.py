"""The temporal window (TASA, Eq. 1, 4, 5), trained and on the integer grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ds2ta_deploy.models.rounding import straight_through

#: Largest decay exponent that training may reach; beyond it a lagged spike has no effect on 8-bit weights.
MAX_DECAY = 8


class TemporalWindow(nn.Module):
    r"""Temporally attenuated sum over the last TAW steps, with a learned power-of-two decay.

    ``I[t] = sum_{m=0}^{min(t, TAW-1)} 2^{-tau m} acc[t-m]`` (Eq. 1, 4, 5 with m as the lag), where
    tau is the layer's learned integer exponent: the forward pass rounds the parameter, the gradient
    passes straight through the rounding. History before t = 0 is zero.

    Shapes: products ``[T, B, ...]`` -> currents of the same shape.
    """

    def __init__(self, taps: int, initial_decay: int) -> None:
        """Take TAW (>= 1) in time steps and the start value of tau."""
        super().__init__()
        self.taps = taps
        self.decay = nn.Parameter(torch.tensor(float(initial_decay)))

    #: Factor of the bias behind the window.
    unit = 1

    @property
    def integer_decay(self) -> int:
        """The integer exponent tau that the forward pass uses, in [0, 8]."""
        rounded: float = self.decay.detach().clamp(0, MAX_DECAY).round().item()
        return int(rounded)

    def forward(self, products: Tensor) -> Tensor:
        """Return the windowed currents."""
        clamped = self.decay.clamp(0, MAX_DECAY)
        decay = clamped + (clamped.round() - clamped).detach()
        currents = products
        for lag in range(1, min(self.taps, products.shape[0])):
            delayed = torch.exp2(-decay * lag) * products[:-lag]
            currents = currents + functional.pad(delayed, [0, 0] * (products.dim() - 1) + [lag, 0])
        return currents


class IntegerWindow(nn.Module):
    r"""The same window on the integer grid, with g guard bits.

    ``I[t] = sum_m floor(acc[t-m] 2^g / 2^{tau m})``. With ``g = tau (TAW - 1)`` no bit is dropped.

    Shapes: integer-valued float64 ``[T, B, ...]`` -> the same, in units ``2^g`` times finer.
    """

    def __init__(self, taps: int, decay: int, guard_bits: int) -> None:
        """Take TAW, the integer exponent tau and g."""
        super().__init__()
        self.taps = taps
        self.decay = decay
        self.guard_bits = guard_bits

    @property
    def unit(self) -> int:
        """Factor of the bias behind the window, ``2^g``."""
        return 1 << self.guard_bits

    def forward(self, products: Tensor) -> Tensor:
        """Return the windowed currents."""
        currents = products * self.unit
        for lag in range(1, min(self.taps, products.shape[0])):
            delayed = products[:-lag] * 2.0 ** (self.guard_bits - self.decay * lag)
            currents[lag:] += straight_through(delayed, delayed.floor())
        return currents
