"""What the published networks have in common: their neurons, projections named as in their checkpoints, and both stems.

Written from the equations of the papers and the names and shapes of the published state dicts; layouts are theirs
(channels first, 1x1 convolutions), so that nothing but the mathematics is shared with ``ds2ta_deploy.models``.
"""

import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor, nn


def lif(threshold: float = 1.0) -> LIFNode:
    """Return the neuron of all published networks: tau_m = 2, input decay, reset to zero, all steps in one call."""
    return LIFNode(tau=2.0, v_threshold=threshold, v_reset=0.0, decay_input=True, detach_reset=True, step_mode="m")


def in_each_step(layer: nn.Module, values: Tensor) -> Tensor:
    """Apply a layer that knows no time to ``[T, B, ...]``."""
    return layer(values.flatten(0, 1)).unflatten(0, values.shape[:2])


def max_pool(pictures: Tensor, stride: int = 2) -> Tensor:
    """3x3 maximum of padding 1 over the last two of five axes, whatever they mean."""
    return nn.functional.max_pool3d(pictures, (1, 3, 3), (1, stride, stride), (0, 1, 1))


class Projections(nn.Module):
    """Holds layers ``<name>_<kind>``, batch norms ``<name>_bn`` and neurons ``<name>_lif`` next to each other, as published."""

    #: ``linear`` works on [.., N, C], ``conv`` on [.., C, N] or [.., C, H, W].
    kind: str

    def project(self, name: str, layer: nn.Module, norm: nn.Module, threshold: float = 1.0) -> None:
        """Add a projection."""
        setattr(self, f"{name}_{self.kind}", layer)
        setattr(self, f"{name}_bn", norm)
        setattr(self, f"{name}_lif", lif(threshold))

    def current(self, name: str, values: Tensor) -> Tensor:
        """Return layer and norm of the values."""
        made = in_each_step(getattr(self, f"{name}_{self.kind}"), values)
        norm = getattr(self, f"{name}_bn")
        return in_each_step(norm, made.transpose(-1, -2)).transpose(-1, -2) if self.kind == "linear" else in_each_step(norm, made)

    def fire(self, name: str, values: Tensor) -> Tensor:
        """Return the spikes of the projection."""
        return getattr(self, f"{name}_lif")(self.current(name, values))


class Stem(nn.Module):
    """Patch splitting: four 3x3 convolutions to D/8, D/4, D/2, D and the relative position convolution."""

    def __init__(self, channels: int, width: int, pools: str) -> None:
        super().__init__()
        self.pools = pools
        widths = (channels, width // 8, width // 4, width // 2, width)
        for index in range(4):
            self._stage(f"proj_{{}}{index or ''}", widths[index], widths[index + 1])
        self._stage("rpe_{}", width, width)

    def _stage(self, name: str, channels: int, out: int) -> None:
        setattr(self, name.format("conv"), nn.Conv2d(channels, out, 3, padding=1, bias=False))
        setattr(self, name.format("bn"), nn.BatchNorm2d(out))
        setattr(self, name.format("lif"), lif())

    def current(self, name: str, pictures: Tensor) -> Tensor:
        """Return convolution and norm of the pictures."""
        return in_each_step(getattr(self, name.format("bn")), in_each_step(getattr(self, name.format("conv")), pictures))

    def fire(self, name: str, pictures: Tensor) -> Tensor:
        """Return the stage's spikes."""
        return getattr(self, name.format("lif"))(self.current(name, pictures))

    def stages(self, pictures: Tensor, count: int) -> Tensor:
        """Return the spikes after the first stages, each pooled where the network pools."""
        for index in range(count):
            pictures = self.fire(f"proj_{{}}{index or ''}", pictures)
            pictures = max_pool(pictures) if self.pools[index] == "1" else pictures
        return pictures


def split(tokens: Tensor, heads: int) -> Tensor:
    """``[T, B, C, N] -> [T, B, heads, N, d]``: channel h d + c is channel c of head h."""
    time, batch, width, count = tokens.shape
    return tokens.reshape(time, batch, heads, width // heads, count).transpose(3, 4)


def merge(heads: Tensor) -> Tensor:
    """``[T, B, heads, N, d] -> [T, B, C, N]``."""
    return heads.transpose(3, 4).flatten(2, 3)


def shown(pictures: Tensor, steps: int) -> Tensor:
    """Show a still picture ``[B, C, H, W]`` at every step, copied as the published code does; frames stay as they are."""
    return torch.stack([pictures] * steps) if pictures.dim() == 4 else pictures
