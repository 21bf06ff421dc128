"""The spike-driven transformer (Yao et al., NeurIPS 2023) and STAtten (Lee et al., CVPR 2025), which have the same keys."""

from published.parts import Projections, Stem, lif, max_pool, merge, shown, split
from torch import Tensor, nn


class MembraneAttention(Projections):
    """Queries, keys and values of the stream's spikes ``[T, B, C, H, W]``; the result is added to the stream."""

    kind = "conv"

    def __init__(self, width: int, heads: int, *, erode: bool) -> None:
        super().__init__()
        self.heads, self.erode = heads, erode
        self.shortcut_lif = lif()
        for name in "qkv":
            self.project(name, nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.attn_lif = lif(0.5)
        self.talking_heads = nn.Conv1d(heads, heads, 1, bias=False)  # nothing calls it
        self.talking_heads_lif = lif(0.5)
        self.proj_conv, self.proj_bn = nn.Conv2d(width, width, 1), nn.BatchNorm2d(width)

    def forward(self, stream: Tensor) -> Tensor:
        attended = self.attend(self.shortcut_lif(stream))
        return self.current("proj", attended.view_as(stream)) + stream

    def pooled(self, values: Tensor) -> Tensor:
        """3x3 maxima over the last two of five axes in the event form."""
        return max_pool(values, stride=1) if self.erode else values


class MaskedAttention(MembraneAttention):
    """``q LIF(sum over tokens of k v)``. The event form pools product and result over tokens and channels of a head."""

    def attend(self, spikes: Tensor) -> Tensor:
        query, key, value = self.fire("q", spikes), self.pooled(self.fire("k", spikes)), self.pooled(self.fire("v", spikes))
        query, key, value = (split(part.flatten(3), self.heads) for part in (query, key, value))
        total = self.pooled(key * value).sum(dim=3, keepdim=True)
        return merge(self.pooled(query * self.talking_heads_lif(total)))


class ChunkedAttention(MembraneAttention):
    """``Q (K^T V) f`` with the tokens of ``chunk`` steps together; published f: 1 / rows, in the event form 1 / (rows^2 chunk)."""

    def __init__(self, width: int, heads: int, *, erode: bool, chunk: int, factor: float | None) -> None:
        super().__init__(width, heads, erode=erode)
        self.chunk, self.factor = chunk, factor

    def attend(self, spikes: Tensor) -> Tensor:
        rows = spikes.shape[3]
        factor = self.factor or (1 / (rows * rows * self.chunk) if self.erode else 1 / rows)
        query, key, value = (self._chunks(self.pooled(self.fire(name, spikes))) for name in "qkv")
        mixed = query @ ((key.transpose(-1, -2) @ value) * factor)
        attended = self.attn_lif(self._steps(mixed)).view_as(spikes)
        neighbours = self.pooled(spikes)
        return attended * neighbours + neighbours if self.erode else attended

    def _chunks(self, spikes: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T / c, B, heads, c N, d]``."""
        heads = split(spikes.flatten(3), self.heads)
        return heads.unflatten(0, (-1, self.chunk)).permute(0, 2, 3, 1, 4, 5).flatten(3, 4)

    def _steps(self, chunks: Tensor) -> Tensor:
        """``[T / c, B, heads, c N, d] -> [T, B, C, N]``."""
        parts = chunks.unflatten(3, (self.chunk, -1)).permute(0, 3, 1, 2, 4, 5)
        return merge(parts.flatten(0, 1))


class MembraneMlp(Projections):
    """``U + BN(fc2(LIF(BN(fc1(LIF(U))))))`` on pictures."""

    kind = "conv"

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        for name, inputs, outputs in (("fc1", width, ratio * width), ("fc2", ratio * width, width)):
            self.project(name, nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, stream: Tensor) -> Tensor:
        hidden = self.current("fc1", self.fc1_lif(stream))
        return self.current("fc2", self.fc2_lif(hidden)) + stream


class Block(nn.Module):
    """Attention, then MLP; both add themselves."""

    def __init__(self, attention: MembraneAttention, mlp: MembraneMlp) -> None:
        super().__init__()
        self.attn, self.mlp = attention, mlp

    def forward(self, stream: Tensor) -> Tensor:
        return self.mlp(self.attn(stream))


class MembraneStem(Stem):
    """The stem whose last stage and result are currents."""

    def forward(self, pictures: Tensor) -> Tensor:
        feature = self.current("proj_{}3", self.stages(pictures, 3))
        feature = max_pool(feature) if self.pools[3] == "1" else feature
        return self.current("rpe_{}", self.proj_lif3(feature)) + feature


class SpikeDriven(nn.Module):
    """Normalised pictures ``[B, C, H, W]`` or frames ``[T, B, C, H, W]`` -> logits ``[B, classes]``; with a chunk, STAtten."""

    def __init__(
        self,
        *,
        channels: int,
        width: int,
        depth: int,
        heads: int,
        pools: str,
        steps: int,
        classes: int,
        erode: bool,
        chunk: int | None = None,
        factor: float | None = None,
        ratio: int = 4,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.patch_embed = MembraneStem(channels, width, pools)

        def attention() -> MembraneAttention:
            if chunk is None:
                return MaskedAttention(width, heads, erode=erode)
            return ChunkedAttention(width, heads, erode=erode, chunk=chunk, factor=factor)

        self.block = nn.ModuleList(Block(attention(), MembraneMlp(width, ratio)) for _ in range(depth))
        self.head_lif = lif()
        self.head = nn.Linear(width, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        stream = self.patch_embed(shown(pictures, self.steps))
        for block in self.block:
            stream = block(stream)
        return self.head(self.head_lif(stream.flatten(3).mean(3))).mean(0)
