"""Rounding that training can pass through: the forward pass rounds, the backward pass does as if nothing were rounded."""

from typing import Any

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, _value: Tensor, rounded: Tensor) -> Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    """Return ``rounded`` with the gradient of ``value``; both have one shape.

    Example:
        >>> weight = torch.tensor(1.3, requires_grad=True)
        >>> straight_through(weight, weight.round()).backward()
        >>> weight.grad
        tensor(1.)

    """
    passed: Tensor = _StraightThrough.apply(value, rounded.detach())  # type: ignore[no-untyped-call]
    return passed
