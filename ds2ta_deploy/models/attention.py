"""Spiking self-attention with the nonlinear denoiser (NSAD, Eq. 6-7)."""

from typing import Any

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.layers import SpikingLinear, TemporalWindow
from ds2ta_deploy.models.neurons import IntegerLif, Lif, surrogate_derivative
from ds2ta_deploy.models.probe import Probe


class _TableLookup(torch.autograd.Function):
    """``A[..., h, i, j] = table[h, S[..., h, i, j]]`` with gradients for the table and for S.

    S holds integers, so its gradient is the slope of the function behind the table at that entry.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, slope: Tensor, scores: Tensor) -> Tensor:
        offsets = torch.arange(table.shape[0], device=table.device) * table.shape[1]
        index = scores.to(torch.int64) + offsets[:, None, None]
        ctx.save_for_backward(slope, index)
        return table.flatten()[index]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        slope, index = ctx.saved_tensors
        summed = torch.bincount(index.flatten(), weights=gradient.flatten(), minlength=slope.numel())
        return summed.to(gradient.dtype).view_as(slope), None, gradient * slope.flatten()[index]


class Denoiser(nn.Module):
    r"""Learned table that denoises an integer attention map, one table a head.

    ``AD_h[s] = floor(f_h(s) + 1/2)``, ``f_h(s) = 1(s > u_h) g_h(s)`` (Eq. 6),
    ``g_h(s) = a_h s + b_h (s - c_h)^2 + d_h / (1 + e^{s - e_h})`` (Eq. 7), s in 0..d.

    The rounding passes gradients straight through; the gate at u_h has the surrogate gradient of a
    spike. Shapes: scores ``[..., H, N, N]``, integers in [0, d] -> the same shape.
    """

    def __init__(self, num_heads: int, head_dim: int, initial_threshold: float) -> None:
        """Start as the identity above ``initial_threshold``, with small quadratic and sigmoid terms."""
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        start = {"a": 1.0, "b": 0.01, "c": head_dim / 2, "d": 0.1, "e": head_dim / 2, "u": initial_threshold}
        for name, value in start.items():
            setattr(self, name, nn.Parameter(torch.full((num_heads,), float(value))))

    def function_and_slope(self) -> tuple[Tensor, Tensor]:
        """Return f_h(s) and its slope for s = 0..d, each ``[H, d + 1]``, before rounding."""
        a, b, c, d, e, u = (getattr(self, name)[:, None] for name in "abcdeu")
        s = torch.arange(self.head_dim + 1, dtype=a.dtype, device=a.device)
        sigmoid = torch.sigmoid(e - s)
        g = a * s + b * (s - c) ** 2 + d * sigmoid
        soft = surrogate_derivative((s - u).detach())
        gate = (s > u).to(a.dtype) + (soft * (s - u) - (soft * (s - u)).detach())
        slope = (s > u) * (a + 2 * b * (s - c) - d * sigmoid * (1 - sigmoid)) + soft * g
        return gate * g, slope.detach()

    def table(self) -> Tensor:
        """Return the integer table ``[H, d + 1]``; differentiable, the rounding straight through."""
        function, _ = self.function_and_slope()
        return function + (torch.floor(function + 0.5) - function).detach()

    def forward(self, scores: Tensor) -> Tensor:
        """Look every score up in its head's table."""
        function, slope = self.function_and_slope()
        table = function + (torch.floor(function + 0.5) - function).detach()
        denoised: Tensor = _TableLookup.apply(table, slope, scores)  # type: ignore[no-untyped-call]
        return denoised


class IntegerDenoiser(nn.Module):
    """The baked table: integers only, float64, no parameters left. Shapes as :class:`Denoiser`."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        """Take the integer table ``[H, d + 1]``."""
        super().__init__()
        self.register_buffer("table", table.to(torch.float64))

    def forward(self, scores: Tensor) -> Tensor:
        """Look every score up in its head's table."""
        heads = torch.arange(self.table.shape[0])[:, None, None]
        return self.table[heads, scores.to(torch.int64)]


class Scale(nn.Module):
    """Multiply by the attention scale, in training."""

    def __init__(self, factor: float) -> None:
        """Take the factor."""
        super().__init__()
        self.factor = factor

    def forward(self, value: Tensor) -> Tensor:
        """Return ``factor * value``."""
        return value * self.factor


class GuardBits(nn.Module):
    """Multiply by ``2^g``: what the attention scale becomes on the integer grid."""

    def __init__(self, guard_bits: int) -> None:
        """Take g."""
        super().__init__()
        self.guard_bits = guard_bits

    def forward(self, value: Tensor) -> Tensor:
        """Return ``2^g * value``."""
        return value * (1 << self.guard_bits)


class SpikingAttention(nn.Module):
    """Temporally attenuated spatiotemporal attention with a denoised map.

    ``S[t] = Q[t] K[t]^T`` per head, ``A = AD(S)``, ``O = A V``; O drives a neuron, its spikes the
    windowed output layer. Q, K, V and the output layer see TAW steps (TASA).

    Shapes: counts ``[T, B, N, D]`` -> spikes ``[T, B, N, D]``. Scores and map are
    ``[T, B, H, N, N]``, S in [0, d].
    """

    def __init__(
        self,
        query: SpikingLinear,
        key: SpikingLinear,
        value: SpikingLinear,
        denoiser: Denoiser,
        scale: float,
        neuron: Lif,
        output: SpikingLinear,
    ) -> None:
        """Put the parts together; ``scale`` multiplies O before the neuron."""
        super().__init__()
        self.q, self.k, self.v = query, key, value
        self.denoiser: Denoiser | IntegerDenoiser = denoiser
        self.num_heads = denoiser.num_heads
        self.scale: Scale | GuardBits = Scale(scale)
        self.neuron: Lif | IntegerLif = neuron
        self.proj = output
        self.scores, self.denoised, self.context, self.current, self.membrane, self.spikes = (Probe() for _ in range(6))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the spikes of the output layer."""
        query, key, value = (self._split(layer(inputs)) for layer in (self.q, self.k, self.v))
        scores = self.scores(query @ key.transpose(-2, -1))
        denoised = self.denoised(self.denoiser(scores))
        context = self.context((denoised @ value).transpose(2, 3).flatten(3))
        spikes, membranes = self.neuron(self.current(self.scale(context)))
        self.membrane(membranes)
        projected: Tensor = self.proj(self.spikes(spikes))
        return projected

    def _split(self, tokens: Tensor) -> Tensor:
        """``[T, B, N, D] -> [T, B, H, N, d]``."""
        time, batch, count, width = tokens.shape
        return tokens.view(time, batch, count, self.num_heads, width // self.num_heads).transpose(2, 3)


def windowed_linear(width: int, neuron: Lif, taps: int, initial_decay: int, *, bias: bool) -> SpikingLinear:
    """Return a D-to-D population that sees ``taps`` time steps (TASA)."""
    return SpikingLinear(width, width, neuron, bias=bias, window=TemporalWindow(taps, initial_decay))
