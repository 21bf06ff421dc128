"""Logits out: a linear classifier, behind neurons of its own where the tokens are currents."""

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.layers import StreamNeuron
from ds2ta_deploy.models.neurons import Lif
from ds2ta_deploy.models.probe import Probe


class Readout(nn.Module):
    """Linear classifier on the mean over tokens and time. Shapes: ``[T, B, N, D]`` -> ``[B, classes]``."""

    def __init__(self, width: int, num_classes: int) -> None:
        """Build the classifier."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, width))
        nn.init.trunc_normal_(self.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.logits = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits, real-valued units."""
        logits: Tensor = self.logits(nn.functional.linear(tokens.mean(dim=(0, 2)), self.weight, self.bias))
        return logits


class IntegerReadout(nn.Module):
    """``sum_t sum_n W x[t, n] + bias`` in integers; real logits are :attr:`scale` times as large. Shapes as :class:`Readout`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, scale: float) -> None:
        """Take integer-valued weights ``[classes, D]`` and biases ``[classes]``, and the value of one unit."""
        super().__init__()
        self.register_buffer("weight", weight.to(torch.float64))
        self.register_buffer("bias", bias.to(torch.float64))
        self.scale = scale
        self.logits = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the integer logits."""
        logits: Tensor = self.logits(nn.functional.linear(tokens.sum(dim=(0, 2)), self.weight, self.bias))
        return logits


class StreamReadout(Readout):
    """Classifier on the spikes of neurons that read the mean over all tokens. Shapes as :class:`Readout`."""

    def __init__(self, width: int, num_classes: int, neuron: Lif) -> None:
        """Build neurons and classifier."""
        super().__init__(width, num_classes)
        self.pooled = Probe()
        self.input = StreamNeuron(neuron)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits, real-valued units."""
        return super().forward(self.input(self.pooled(tokens.mean(dim=2, keepdim=True))))


class IntegerStreamReadout(IntegerReadout):
    """The same in integers: the neurons read the sum over all tokens. Shapes as :class:`Readout`."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: float, neuron: StreamNeuron) -> None:
        """Take integer-valued weights and biases, the value of one unit, and the neurons on the grid."""
        super().__init__(weight, bias, scale)
        self.pooled = Probe()
        self.input = neuron

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the integer logits."""
        return super().forward(self.input(self.pooled(tokens.sum(dim=2, keepdim=True))))
