"""The saccadic neuron (SNN-ViT): mixes time with a lower-triangular matrix, then compares; no leak, no reset."""

from typing import Any

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.neurons import surrogate_derivative
from ds2ta_deploy.models.probe import Probe


class _Step(torch.autograd.Function):
    """1 where the distance is not negative; the gradient is the surrogate's."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        return gradient * surrogate_derivative(distance)


class Saccade(nn.Module):
    r"""``s[t] = H(sum_{u <= t} M[t, u] gain x[u] - V_th[t])``: the causal form, which is the meaning.

    Its decoupled form, which compares x[t] alone with a threshold made of ``M^-1``, is another neuron unless M is
    diagonal and positive (:func:`decoupled_agreement` measures it).

    Shapes: relevance ``[T, B, ...]`` -> spikes of the same shape. M is ``[T, T]``; what lies above its diagonal is
    never read.
    """

    def __init__(self, time_steps: int, *, learned_gain: bool) -> None:
        """Start as the identity over time; with a learned gain its relevance is multiplied by a parameter, alpha."""
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(time_steps))
        self.threshold = nn.Parameter(torch.ones(time_steps))
        self.gain = nn.Parameter(torch.ones(())) if learned_gain else None
        self.mixed, self.spikes = Probe(), Probe()

    def weights(self) -> Tensor:
        """Return M without what lies above the diagonal, times the gain, ``[T, T]``."""
        return self.matrix.tril() * (1.0 if self.gain is None else self.gain)

    def forward(self, relevance: Tensor) -> Tensor:
        """Return the spikes."""
        mixed = self.mixed(torch.einsum("tu,u...->t...", self.weights(), relevance))
        threshold = self.threshold.view(-1, *[1] * (mixed.dim() - 1))
        spikes: Tensor = self.spikes(_Step.apply(mixed - threshold))  # type: ignore[no-untyped-call]
        return spikes


class IntegerSaccade(nn.Module):
    """The same on the integer grid, float64 arithmetic that holds integers only. Shapes as :class:`Saccade`."""

    matrix: Tensor
    threshold: Tensor

    def __init__(self, matrix: Tensor, threshold: Tensor, unit: float = 1.0) -> None:
        """Take the integer matrix ``[T, T]``, zero above the diagonal, and integer thresholds ``[T]``.

        ``unit`` is the real value of one, which gradients alone depend on.
        """
        super().__init__()
        self.unit = unit
        self.register_buffer("matrix", matrix.to(torch.float64))
        self.register_buffer("threshold", threshold.to(torch.float64))
        self.mixed, self.spikes = Probe(), Probe()

    def forward(self, relevance: Tensor) -> Tensor:
        """Return the spikes."""
        mixed = self.mixed((self.matrix @ relevance.flatten(1)).view_as(relevance))
        threshold = self.threshold.view(-1, *[1] * (mixed.dim() - 1))
        spikes: Tensor = self.spikes(_Step.apply((mixed - threshold) * self.unit))  # type: ignore[no-untyped-call]
        return spikes


def decoupled_agreement(saccade: Saccade, relevance: Tensor) -> float:
    """Share of spikes, 0..1, that the decoupled form ``x[t] >= (M^-1 V_th)[t]`` has in common with the neuron itself.

    Example:
        >>> decoupled_agreement(Saccade(4, learned_gain=False), torch.rand(4, 1, 8))  # the identity
        1.0

    """
    with torch.no_grad():
        folded = torch.linalg.solve_triangular(saccade.weights(), saccade.threshold[:, None], upper=False)
        decoupled = (relevance >= folded.view(-1, *[1] * (relevance.dim() - 1))).to(relevance.dtype)
        agreement: float = (decoupled == saccade(relevance)).double().mean().item()
        return agreement
