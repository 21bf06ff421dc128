"""Layers: synapses (weights, temporal window, batch norm), and spiking populations, which add a neuron."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.probe import Probe
from ds2ta_deploy.models.windows import IntegerWindow, TemporalWindow


class Synapses(nn.Module):
    """A linear layer whose output is a current: weights, optional window, batch norm.

    ``current = norm(window(x W^T) + bias)``: the bias enters once a step, not once a tap.

    Shapes: counts ``[T, B, N, in]`` -> currents ``[T, B, N, out]``.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, window: TemporalWindow | None = None) -> None:
        """Build the layer; ``window=None`` sees the current step only."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.trunc_normal_(self.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.norm: nn.Module = nn.BatchNorm1d(out_features)
        self.window: TemporalWindow | IntegerWindow | None = window
        self.product, self.current = Probe(), Probe()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the current."""
        current = self.product(functional.linear(inputs, self.weight))
        if self.window is not None:
            current = self.window(current)
        if self.bias is not None:
            current = current + (self.bias if self.window is None else self.bias * self.window.unit)
        watched: Tensor = self.current(self.norm(current.flatten(0, 2)).view_as(current))
        return watched


class SpikingLinear(Synapses):
    """A population of neurons behind synapses of its own.

    Shapes: counts ``[T, B, N, in]`` -> spikes ``[T, B, N, out]``.
    """

    def __init__(
        self, in_features: int, out_features: int, neuron: Lif, *, bias: bool = True, window: TemporalWindow | None = None
    ) -> None:
        """Build the layer; ``window=None`` sees the current step only."""
        super().__init__(in_features, out_features, bias=bias, window=window)
        self.neuron: Lif | IntegerLif = neuron
        self.membrane, self.spikes = Probe(), Probe()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the population's spikes."""
        spikes, membranes = self.neuron(super().forward(inputs))
        self.membrane(membranes)
        watched: Tensor = self.spikes(spikes)
        return watched


class StreamNeuron(nn.Module):
    """Neurons without weights that read a stream of currents. Shapes: ``[T, B, ..., C]`` -> spikes of the same shape."""

    def __init__(self, neuron: Lif, channel_axis: int = -1) -> None:
        """Take the neuron; ``channel_axis`` is where the current has its channels."""
        super().__init__()
        self.neuron: Lif | IntegerLif = neuron
        self.channel_axis = channel_axis
        self.membrane, self.spikes = Probe(channel_axis), Probe(channel_axis)

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes."""
        spikes, membranes = self.neuron(current)
        self.membrane(membranes)
        watched: Tensor = self.spikes(spikes)
        return watched


def split_time(merged: Tensor, steps: torch.Size) -> Tensor:
    """``[T B, ...] -> [T, B, ...]``."""
    return merged.view((*steps, *merged.shape[1:]))


class ConvSynapses(nn.Module):
    """A 3x3 convolution whose output is a current: weights, batch norm. Zero padding keeps the picture's size.

    Shapes: ``[T, B, in, H, W]`` -> currents ``[T, B, out, H, W]``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        """Build the layer; ``dilation`` is the distance of neighbouring taps in pixels."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.kaiming_normal_(self.weight)
        self.bias: nn.Parameter | None = None
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.dilation = dilation
        self.product, self.current = Probe(channel_axis=-3), Probe(channel_axis=-3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the current."""
        steps = inputs.shape[:2]
        product = functional.conv2d(inputs.flatten(0, 1), self.weight, padding=self.dilation, dilation=self.dilation)
        self.product(split_time(product, steps))
        if self.bias is not None:
            product = product + self.bias[:, None, None]
        watched: Tensor = self.current(split_time(self.norm(product), steps))
        return watched


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """``[T, B, N, D] -> [T, B, H, N, d]``."""
    time, batch, count, width = tokens.shape
    return tokens.view(time, batch, count, heads, width // heads).transpose(2, 3)


def max_pool(pictures: Tensor, stride: int = 2) -> Tensor:
    """3x3 maximum of padding 1, of spikes that is OR: ``[T, B, C, H, W] -> [T, B, C, H', W']``."""
    return split_time(functional.max_pool2d(pictures.flatten(0, 1), 3, stride, 1), pictures.shape[:2])


class SpikingConv2d(ConvSynapses):
    """A population of neurons behind a 3x3 convolution of its own, and pooling if it pools.

    Shapes: ``[T, B, in, H, W]`` -> spikes ``[T, B, out, H', W']``. An input with one time step and
    ``time_steps`` larger than one is a still picture: its current is computed once and shown at
    every step.
    """

    def __init__(self, in_channels: int, out_channels: int, neuron: Lif, *, time_steps: int, pool: bool = False) -> None:
        """Build the layer; ``time_steps`` is T of its spikes."""
        super().__init__(in_channels, out_channels)
        self.neuron: Lif | IntegerLif = neuron
        self.time_steps = time_steps
        self.pool = pool
        self.membrane, self.spikes = Probe(channel_axis=-3), Probe(channel_axis=-3)
        self.pooled = Probe(channel_axis=-3) if pool else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the population's spikes, pooled if it pools."""
        return self.fire(super().forward(inputs))

    def fire(self, current: Tensor) -> Tensor:
        """Show a still current at every step, run the neurons, pool."""
        if current.shape[0] < self.time_steps:
            current = current.expand(self.time_steps, *current.shape[1:])
        spikes, membranes = self.neuron(current)
        self.membrane(membranes)
        watched: Tensor = self.spikes(spikes)
        return watched if self.pooled is None else self.pooled(max_pool(watched))


class DilatedSpikingConv2d(SpikingConv2d):
    """A plain and a dilated convolution of the same input, added before the neuron (GL-SPS of SNN-ViT).

    Shapes as :class:`SpikingConv2d`. The plain convolution is the layer itself, :attr:`dilated` the other one.
    """

    def __init__(self, in_channels: int, out_channels: int, neuron: Lif, *, time_steps: int, dilation: int, pool: bool = False) -> None:
        """Build both convolutions; ``dilation`` is the distance of the second one's taps in pixels."""
        super().__init__(in_channels, out_channels, neuron, time_steps=time_steps, pool=pool)
        self.dilated = ConvSynapses(in_channels, out_channels, dilation=dilation)
        self.summed = Probe(channel_axis=-3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the population's spikes, pooled if it pools."""
        return self.fire(self.summed(ConvSynapses.forward(self, inputs) + self.dilated(inputs)))
