"""Spikformer in its three published dialects (Zhou et al., ICLR 2023)."""

from typing import NamedTuple

import torch
from published.parts import Projections, Stem, lif, merge, shown, split
from torch import Tensor, nn


class Dialect(NamedTuple):
    """What tells the three apart."""

    kind: str
    qkv_bias: bool
    scale: float
    state_first: bool
    flat_mlp: bool
    positions: bool


CIFAR = Dialect("linear", qkv_bias=True, scale=0.125, state_first=False, flat_mlp=True, positions=False)
EVENTS = Dialect("conv", qkv_bias=False, scale=0.25, state_first=False, flat_mlp=True, positions=True)
IMAGENET = Dialect("conv", qkv_bias=False, scale=0.125, state_first=True, flat_mlp=False, positions=False)


def _dense(dialect: Dialect, inputs: int, outputs: int, *, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    layer = nn.Linear(inputs, outputs, bias) if dialect.kind == "linear" else nn.Conv1d(inputs, outputs, 1, bias=bias)
    return layer, nn.BatchNorm1d(outputs)


class Attention(Projections):
    """Spiking self-attention. CIFAR: ``[T, B, N, C]``, otherwise ``[T, B, C, N]``."""

    def __init__(self, width: int, heads: int, dialect: Dialect) -> None:
        super().__init__()
        self.heads, self.dialect, self.kind = heads, dialect, dialect.kind
        for name in "qkv":
            self.project(name, *_dense(dialect, width, width, bias=dialect.qkv_bias))
        self.attn_lif = lif(0.5)
        self.project("proj", *_dense(dialect, width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        turned = self.kind == "linear"
        query, key, value = (self.fire(name, tokens) for name in "qkv")
        query, key, value = (split(part.transpose(2, 3) if turned else part, self.heads) for part in (query, key, value))
        if self.dialect.state_first:
            mixed = query @ (key.transpose(-1, -2) @ value) * self.dialect.scale
        elif turned:
            mixed = (query @ key.transpose(-1, -2)) * self.dialect.scale @ value
        else:
            mixed = (query @ key.transpose(-1, -2)) @ value * self.dialect.scale
        context = merge(mixed).transpose(2, 3) if turned else merge(mixed)
        return self.fire("proj", self.attn_lif(context.contiguous()))


class Mlp(Projections):
    """D -> 4 D -> D, in the attention's layout, or on pictures ``[T, B, C, H, W]``."""

    def __init__(self, width: int, ratio: int, dialect: Dialect) -> None:
        super().__init__()
        self.kind = dialect.kind
        for name, inputs, outputs in (("fc1", width, ratio * width), ("fc2", ratio * width, width)):
            if dialect.flat_mlp:
                self.project(name, *_dense(dialect, inputs, outputs))
            else:
                self.project(name, nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, values: Tensor) -> Tensor:
        return self.fire("fc2", self.fire("fc1", values))


class Block(nn.Module):
    """Attention and MLP, each added to its input; two norms that nothing calls."""

    def __init__(self, width: int, heads: int, ratio: int, dialect: Dialect) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, dialect)
        self.mlp = Mlp(width, ratio, dialect)

    def forward(self, values: Tensor) -> Tensor:
        pictures = values.dim() == 5
        attended = self.attn(values.flatten(3) if pictures else values)
        values = values + (attended.view_as(values) if pictures else attended)
        return values + self.mlp(values)


class SpikeStem(Stem):
    """The stem whose result is a sum of spikes, ``[T, B, C, H, W]``."""

    def forward(self, pictures: Tensor) -> Tensor:
        spikes = self.stages(pictures, 4)
        return self.fire("rpe_{}", spikes) + spikes


class Spikformer(nn.Module):
    """Normalised pictures ``[B, C, H, W]`` or frames ``[T, B, C, H, W]`` -> logits ``[B, classes]``."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        channels: int,
        width: int,
        depth: int,
        heads: int,
        pools: str,
        tokens: int,
        steps: int,
        classes: int,
        ratio: int = 4,
    ) -> None:
        super().__init__()
        self.dialect, self.steps = dialect, steps
        self.patch_embed = SpikeStem(channels, width, pools)
        self.block = nn.ModuleList(Block(width, heads, ratio, dialect) for _ in range(depth))
        self.head = nn.Linear(width, classes)
        if dialect.positions:  # neither is called
            self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
            self.norm = nn.LayerNorm(width)

    def forward(self, pictures: Tensor) -> Tensor:
        values = self.patch_embed(shown(pictures, self.steps))
        if self.dialect.flat_mlp:
            values = values.flatten(3)
        if self.dialect.kind == "linear":
            values = values.transpose(2, 3).contiguous()
        for block in self.block:
            values = block(values)
        tokens = values.mean(2) if self.dialect.kind == "linear" else values.flatten(3).mean(3)
        return self.head(tokens.mean(0))
