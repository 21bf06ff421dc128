"""Spiking layers: weights, temporal window (TASA, Eq. 1, 4, 5), batch norm and neuron in one population."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.probe import Probe

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
            delayed = torch.floor(products[:-lag] * 2.0 ** (self.guard_bits - self.decay * lag))
            currents[lag:] += delayed
        return currents


class SpikingLinear(nn.Module):
    """A population of neurons behind a linear layer: weights, optional window, batch norm, neuron.

    ``current = norm(window(x W^T) + bias)``: the bias enters once a step, not once a tap.

    Shapes: counts ``[T, B, N, in]`` -> spikes ``[T, B, N, out]``.
    """

    def __init__(
        self, in_features: int, out_features: int, neuron: Lif, *, bias: bool = True, window: TemporalWindow | None = None
    ) -> None:
        """Build the layer; ``window=None`` sees the current step only."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.trunc_normal_(self.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.norm: nn.Module = nn.BatchNorm1d(out_features)
        self.window: TemporalWindow | IntegerWindow | None = window
        self.neuron: Lif | IntegerLif = neuron
        self.product, self.current, self.membrane, self.spikes = (Probe() for _ in range(4))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the population's spikes."""
        current = self.product(functional.linear(inputs, self.weight))
        if self.window is not None:
            current = self.window(current)
        if self.bias is not None:
            current = current + (self.bias if self.window is None else self.bias * self.window.unit)
        current = self.current(self.norm(current.flatten(0, 2)).view_as(current))
        spikes, membranes = self.neuron(current)
        self.membrane(membranes)
        watched: Tensor = self.spikes(spikes)
        return watched


def _split_time(merged: Tensor, steps: torch.Size) -> Tensor:
    """``[T B, ...] -> [T, B, ...]``."""
    return merged.view((*steps, *merged.shape[1:]))


class SpikingConv2d(nn.Module):
    """A population of neurons behind a 3x3 convolution of padding 1: weights, batch norm, neuron, pooling.

    Pooling is a 3x3 maximum of stride 2 and padding 1; of spikes that is OR.

    Shapes: ``[T, B, in, H, W]`` -> spikes ``[T, B, out, H', W']``. An input with one time step and
    ``time_steps`` larger than one is a still picture: its current is computed once and shown at
    every step.
    """

    def __init__(self, in_channels: int, out_channels: int, neuron: Lif, *, time_steps: int, pool: bool = False) -> None:
        """Build the layer; ``time_steps`` is T of its spikes."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.kaiming_normal_(self.weight)
        self.bias: nn.Parameter | None = None
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.neuron: Lif | IntegerLif = neuron
        self.time_steps = time_steps
        self.pool = pool
        self.product, self.current, self.membrane, self.spikes = (Probe(channel_axis=-3) for _ in range(4))
        self.pooled = Probe(channel_axis=-3) if pool else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the population's spikes, pooled if it pools."""
        steps = inputs.shape[:2]
        product = functional.conv2d(inputs.flatten(0, 1), self.weight, padding=1)
        self.product(_split_time(product, steps))
        if self.bias is not None:
            product = product + self.bias[:, None, None]
        current = self.current(_split_time(self.norm(product), steps))
        if steps[0] < self.time_steps:
            current = current.expand(self.time_steps, *current.shape[1:])
        spikes, membranes = self.neuron(current)
        self.membrane(membranes)
        watched: Tensor = self.spikes(spikes)
        if self.pooled is not None:
            watched = self.pooled(_split_time(functional.max_pool2d(watched.flatten(0, 1), 3, 2, 1), watched.shape[:2]))
        return watched
