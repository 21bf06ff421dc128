"""Leaky integrate-and-fire neurons (DS2TA Eq. 2-3), trained and on the integer grid."""

from typing import Any

import torch
from torch import Tensor, nn

#: Steepness of the sigmoid whose derivative stands in for that of the step (SpikingJelly's default).
SURROGATE_STEEPNESS = 4.0


def surrogate_derivative(distance: Tensor) -> Tensor:
    """Derivative of ``sigmoid(4 x)``, used in place of the step function's in training."""
    sigmoid = torch.sigmoid(SURROGATE_STEEPNESS * distance)
    return SURROGATE_STEEPNESS * sigmoid * (1.0 - sigmoid)


class _LifOverTime(torch.autograd.Function):
    """All T steps of the neuron at once, with the gradient written out.

    The reset is held constant in the backward pass (``detach_reset``), so with
    ``g[t] = dL/ds[t] * surrogate'(V[t] - theta) + g[t+1] * leak * (1 - s[t])``
    the gradient of the current is ``g[t]``, divided by tau_m where the input decays.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, threshold: float, time_constant: float, decay_input: bool) -> tuple[Tensor, Tensor]:  # noqa: FBT001 - autograd passes by position
        membranes = torch.empty_like(current)
        spikes = torch.empty_like(current)
        leak = 1.0 - 1.0 / time_constant
        kept = torch.zeros_like(current[0])
        for t in range(current.shape[0]):
            if decay_input:  # in SpikingJelly's order of operations: float32 rounds each of them
                membrane = torch.add(kept, (current[t] - kept) / time_constant, out=membranes[t])
            else:
                membrane = torch.add(kept * leak, current[t], out=membranes[t])
            spike = spikes[t].copy_(membrane >= threshold)
            kept = membrane * (1.0 - spike)
        ctx.save_for_backward(membranes, spikes)
        ctx.threshold, ctx.leak, ctx.gain = threshold, leak, 1.0 / time_constant if decay_input else 1.0
        ctx.mark_non_differentiable(membranes)
        return spikes, membranes

    @staticmethod
    def backward(ctx: Any, spikes_grad: Tensor, _membranes_grad: Tensor) -> tuple[Tensor, None, None, None]:
        membranes, spikes = ctx.saved_tensors
        gradient = torch.empty_like(membranes)
        for t in range(gradient.shape[0] - 1, -1, -1):
            # Step by step and in place: whole-sequence temporaries cost more than the arithmetic.
            sigmoid = torch.sub(membranes[t], ctx.threshold).mul_(SURROGATE_STEEPNESS).sigmoid_()
            torch.ops.aten.sigmoid_backward.grad_input(spikes_grad[t], sigmoid, grad_input=gradient[t])
            gradient[t].mul_(SURROGATE_STEEPNESS)
            if t + 1 < gradient.shape[0]:
                gradient[t].addcmul_(gradient[t + 1], torch.sub(1.0, spikes[t]).mul_(ctx.leak))
        return gradient if ctx.gain == 1.0 else gradient.mul_(ctx.gain), None, None, None


class Lif(nn.Module):
    r"""Leaky integrate-and-fire neuron with hard reset to zero.

    ``V[t] = (1 - 1/tau_m) V[t-1] (1 - s[t-1]) + I[t]`` (Eq. 2), ``s[t] = H(V[t] - theta)`` (Eq. 3),
    firing at equality. With ``decay_input`` it is SpikingJelly's ``V += (I - V) / tau_m``: the current is divided
    by tau_m, too, which is the same neuron with threshold ``tau_m * theta``.

    Shapes: current ``[T, B, ...]`` float -> spikes and membranes of the same shape; spikes are 0 or 1,
    membranes are V before the reset, in units of the current.
    """

    def __init__(self, threshold: float = 1.0, membrane_time_constant: float = 2.0, *, decay_input: bool = False) -> None:
        """Take theta in units of the current and tau_m in time steps (> 1)."""
        super().__init__()
        self.threshold = threshold
        self.membrane_time_constant = membrane_time_constant
        self.decay_input = decay_input

    def forward(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(spikes, membranes)`` of all T steps."""
        settings = (self.threshold, self.membrane_time_constant, self.decay_input)
        outputs: tuple[Tensor, Tensor] = _LifOverTime.apply(current, *settings)  # type: ignore[no-untyped-call]
        return outputs

    @property
    def effective_threshold(self) -> float:
        """Threshold of the same neuron without input decay: tau_m times as high with it."""
        return self.threshold * (self.membrane_time_constant if self.decay_input else 1.0)

    def extra_repr(self) -> str:
        """Show the settings in the module's printout."""
        return f"threshold={self.threshold}, tau_m={self.membrane_time_constant}, decay_input={self.decay_input}"


class _IntegerLifOverTime(torch.autograd.Function):
    """All T steps of the neuron on the grid; the gradient is that of the trained one, in the units of the grid.

    With ``unit = theta / threshold`` the membrane is ``unit V`` in the units of the trained neuron, so that
    ``g[t] = dL/ds[t] * surrogate'(unit V[t] - theta) unit + g[t+1] * leak * (1 - s[t])``; the floor of the leak is passed
    straight through.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, threshold: Tensor, theta: float, leak_numerator: int, leak_shift: int) -> tuple[Tensor, Tensor]:
        spikes = torch.empty_like(current)
        membranes = torch.empty_like(current)
        carried = torch.zeros_like(current[0])
        for t in range(current.shape[0]):
            membrane = torch.add(carried, current[t], out=membranes[t])
            spike = spikes[t].copy_(membrane >= threshold)
            carried = torch.floor(membrane * (1.0 - spike) * leak_numerator / 2**leak_shift)
        ctx.save_for_backward(membranes, spikes, threshold)
        ctx.theta, ctx.leak = theta, leak_numerator / 2**leak_shift
        ctx.mark_non_differentiable(membranes)
        return spikes, membranes

    @staticmethod
    def backward(ctx: Any, spikes_grad: Tensor, _membranes_grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        membranes, spikes, threshold = ctx.saved_tensors
        unit = ctx.theta / threshold
        gradient = torch.empty_like(membranes)
        for t in range(gradient.shape[0] - 1, -1, -1):
            sigmoid = torch.sub(membranes[t], threshold).mul_(SURROGATE_STEEPNESS * unit).sigmoid_()
            torch.ops.aten.sigmoid_backward.grad_input(spikes_grad[t], sigmoid, grad_input=gradient[t])
            gradient[t].mul_(SURROGATE_STEEPNESS * unit)
            if t + 1 < gradient.shape[0]:
                gradient[t].addcmul_(gradient[t + 1], torch.sub(1.0, spikes[t]).mul_(ctx.leak))
        return gradient, None, None, None, None


class IntegerLif(nn.Module):
    """The same neuron on the integer grid, in float64 arithmetic that holds integers only.

    ``V[t] = floor(V[t-1] (1 - s[t-1]) * leak_numerator / 2**leak_shift) + I[t]``, fires when
    ``V[t] >= threshold``. For numerator 1 and shift 1 the floor loses nothing: nested floors agree
    with the real-valued neuron at every step as long as current and threshold are integers.

    Shapes: current ``[T, B, ..., C]`` (channel last) -> spikes and membranes of the same shape;
    ``threshold`` is an integer-valued buffer ``[C]``.
    """

    threshold: Tensor

    def __init__(self, threshold: Tensor, leak_numerator: int = 1, leak_shift: int = 1, *, theta: float = 1.0) -> None:
        """Take integer thresholds ``[C]`` and the leak as a fraction with a power-of-two denominator.

        ``theta`` is the trained neuron's threshold. It is read by gradients only: fine-tuning on the grid has the same ones.
        """
        super().__init__()
        self.theta = theta
        self.register_buffer("threshold", threshold.to(torch.float64))
        self.leak_numerator = leak_numerator
        self.leak_shift = leak_shift

    def forward(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(spikes, membranes)`` of all T steps."""
        settings = (self.threshold, self.theta, self.leak_numerator, self.leak_shift)
        outputs: tuple[Tensor, Tensor] = _IntegerLifOverTime.apply(current, *settings)  # type: ignore[no-untyped-call]
        return outputs
