"""The nonlinear spiking attention denoiser (NSAD, Eq. 6-7), trained and on the integer grid."""

from typing import Any

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.neurons import surrogate_derivative


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
    """The baked table: integers only, float64, no parameters left. Shapes as :class:`Denoiser`.

    Gradients of the scores are the table's central differences.
    """

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        """Take the integer table ``[H, d + 1]``."""
        super().__init__()
        self.register_buffer("table", table.to(torch.float64))

    def forward(self, scores: Tensor) -> Tensor:
        """Look every score up in its head's table."""
        (slope,) = torch.gradient(self.table.detach(), dim=1)
        denoised: Tensor = _TableLookup.apply(self.table, slope, scores)  # type: ignore[no-untyped-call]
        return denoised
