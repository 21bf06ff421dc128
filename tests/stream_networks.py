"""Networks with membrane streams that look for an engine's edges: sizes, weights, chunks and heads as extreme as one asks for."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from builders import Draft
from numpy.typing import NDArray

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph

#: Which attention a network has; ``key value`` is Q (K^T V), ``table`` looks scores up.
Attention = Literal["masked", "key value", "plain", "table", "saccadic"]

#: How wide weights are drawn: 8 bits, 14 bits, all 14-bit ends, or 16 bits.
Weights = Literal["int8", "14 bits", "ends", "16 bits"]


@dataclass(frozen=True)
class StreamRecipe:
    """What :func:`build_streams` makes a network of.

    Attributes:
        steps: T.
        chunk: time steps of a chunk for ``key value``; 0 for none.
        still: whether one picture is shown at every step.
        picture: height, width and channels of the input.
        heads: of the attention.
        head_width: channels of a head.
        attention: which one.
        weights: of every layer that adds into the stream.
        window: taps, decay and guard bits of the neurons behind 16-bit weights.
        leak: numerator and shift of every neuron.
        dilation: of the second convolution.
        stride: of the pooling of the first stream.
        counted: whether the attention reads counts instead of spikes.
        activity: of every neuron.
        seed: of everything random.

    """

    steps: int = 4
    chunk: int = 0
    still: bool = True
    picture: tuple[int, int, int] = (5, 4, 2)
    heads: int = 2
    head_width: int = 5
    attention: Attention = "key value"
    weights: Weights = "14 bits"
    window: tuple[int, int, int] = (1, 0, 0)
    leak: tuple[int, int] = (1, 1)
    dilation: int = 2
    stride: int = 1
    counted: bool = False
    activity: Literal["some", "none", "all"] = "some"
    seed: int = 0

    @property
    def width(self) -> int:
        """Channels of the stream."""
        return self.heads * self.head_width


class _Maker(Draft):
    """A draft that follows a recipe."""

    def __init__(self, recipe: StreamRecipe, inputs: NDArray[np.uint8]) -> None:
        super().__init__(inputs, recipe.seed)
        self.recipe = recipe

    def weight(self, *shape: int) -> NDArray[Any]:
        kind = self.recipe.weights
        if kind == "int8":
            return self.random.integers(-128, 128, shape).astype(np.int8)
        if kind == "ends":
            return self.random.choice([-8192, 8191], shape).astype(np.int16)
        most = {"14 bits": 8191, "16 bits": 32767}[kind]
        return self.random.integers(-most - 1, most + 1, shape).astype(np.int16)

    def fires(self, name: str, current: str) -> str:
        """Append a neuron of the recipe's activity."""
        if self.recipe.activity == "some":
            return self.neuron(name, current, leak=self.recipe.leak, quiet=float(self.random.choice([0.3, 0.6, 0.85])))
        values = self.values[current]
        limit = 1 if self.recipe.activity == "all" else 2**31 - 1
        if self.recipe.activity == "all":
            bias = np.full(values.shape[-1], int(np.abs(values).max(initial=0)) * 2 + 1, np.int32)
            current = self.window(f"{name}.lift", current, bias)
        made = (f"{name}.spikes", f"{name}.membrane")
        threshold = np.full(values.shape[-1], limit, np.int32)
        leak = {"leak_numerator": self.recipe.leak[0], "leak_shift": self.recipe.leak[1]}
        return self.add(ops.Lif, name, [current], *made, threshold=threshold, **leak)

    def synapses(self, name: str, value: str, out: int, *, size: int = 1, dilation: int = 1) -> str:
        """Append weights and a bias."""
        channels = self.values[value].shape[-1]
        if size > 1 or self.values[value].ndim > 4:
            made = self.add(
                ops.Conv2d, f"{name}.weights", [value], f"{name}.product", weight=self.weight(out, size, size, channels), dilation=dilation
            )
        else:
            made = self.add(ops.Linear, f"{name}.weights", [value], f"{name}.product", weight=self.weight(out, channels))
        return self.window(name, made, self.integers(900, (out,), np.int32))

    def layer(self, name: str, value: str, out: int) -> str:
        """Append a layer of wide weights, the recipe's window and a neuron."""
        made = self.add(ops.Linear, f"{name}.weights", [value], f"{name}.product", weight=self.weight(out, self.values[value].shape[-1]))
        return self.fires(name, self.window(name, made, self.integers(900, (out,), np.int32), *self.recipe.window))

    def heads(self, name: str, value: str) -> str:
        """Append a split into heads."""
        return self.add(ops.SplitHeads, f"{name}.split", [value], f"{name}._heads", heads=self.recipe.heads)

    def attend(self, name: str, stream: str) -> str:
        """Append the recipe's attention; returns spikes or counts of the stream's shape."""
        spikes = self.fires(f"{name}.input", stream)
        parts = {part: self.layer(f"{name}.{part}", spikes, self.recipe.width) for part in "qkv"}
        if self.recipe.counted:
            parts = {part: self.residual(f"{name}.{part}.counts", value, spikes) for part, value in parts.items()}
        made: str = getattr(self, f"_{self.recipe.attention.replace(' ', '_')}")(name, **parts)
        return made

    def context(self, name: str, mixed: str) -> str:
        """Append merged heads and a neuron behind a window without a bias."""
        merged = self.add(ops.MergeHeads, f"{name}.merge", [mixed], f"{name}.context")
        return self.fires(name, self.window(name, merged, np.zeros(self.recipe.width, np.int32), *self.recipe.window))

    def _key_value(self, name: str, q: str, k: str, v: str) -> str:
        steps = self.recipe.chunk
        sides = [self.heads(f"{name}.{part}", value) for part, value in zip("qkv", (q, k, v), strict=True)]
        if steps:
            sides = [
                self.add(ops.Chunk, f"{name}.{part}.chunk", [side], f"{name}.{part}._chunks", steps=steps)
                for part, side in zip("qkv", sides, strict=True)
            ]
        state = self.add(ops.MatMul, f"{name}.key_value", sides[1:], f"{name}.key_value", transpose_left=1)
        mixed = self.add(ops.MatMul, f"{name}.query_state", [sides[0], state], f"{name}.mixed")
        if steps:
            mixed = self.add(ops.Unchunk, f"{name}.unchunk", [mixed], f"{name}.steps", steps=steps)
        return self.context(name, mixed)

    def _plain(self, name: str, q: str, k: str, v: str, *, table: bool = False) -> str:
        query, key, value = (self.heads(f"{name}.{part}", it) for part, it in zip("qkv", (q, k, v), strict=True))
        scores = self.add(ops.MatMul, f"{name}.query_key", [query, key], f"{name}.scores", transpose_right=1)
        if table:
            entries = self.recipe.head_width * (4 if self.recipe.counted else 1) + 1
            rows = self.integers(300, (self.recipe.heads, entries), np.int16)
            scores = self.add(ops.Lookup, f"{name}.denoiser", [scores], f"{name}.denoised", table=rows)
        return self.context(name, self.add(ops.MatMul, f"{name}.map_value", [scores, value], f"{name}._mixed"))

    def _table(self, name: str, q: str, k: str, v: str) -> str:
        return self._plain(name, q, k, v, table=True)

    def _masked(self, name: str, q: str, k: str, v: str) -> str:
        both = self.heads(f"{name}.both", self.add(ops.Mul, f"{name}.key_value", [k, v], f"{name}.key_value"))
        pooled = self.add(ops.MaxPool2d, f"{name}.pool", [both], f"{name}.pooled", stride=1, axis=3)
        merged = self.add(ops.MergeHeads, f"{name}.merge", [pooled], f"{name}._merged")
        total = self.add(ops.ReduceSum, f"{name}.sum", [merged], f"{name}.sum", axis=2)
        return self.add(ops.Mul, f"{name}.mask", [q, self.fires(f"{name}.gate", total)], f"{name}.masked")

    def _saccadic(self, name: str, q: str, k: str, v: str) -> str:
        sums = [
            self.add(ops.ReduceSum, f"{name}.{part}_sum", [self.heads(f"{name}.{part}", value)], f"{name}.{part}_sum", axis=4)
            for part, value in (("q", q), ("k", k))
        ]
        total = self.add(ops.ReduceSum, f"{name}.key_total", [sums[1]], f"{name}.key_total", axis=3)
        relevance = self.add(ops.Mul, f"{name}.relevance", [sums[0], total], f"{name}.relevance")
        matrix = np.tril(self.integers(9, (self.recipe.steps, self.recipe.steps), np.int16)) + 3 * np.eye(self.recipe.steps, dtype=np.int16)
        mixed = self.add(ops.TimeMix, f"{name}.mix", [relevance], f"{name}.mixed", matrix=matrix)
        threshold = np.median(self.values[mixed].reshape(self.recipe.steps, -1), axis=1).astype(np.int32)
        mask = self.add(ops.Threshold, f"{name}.saccade", [mixed], f"{name}.saccade.mask", threshold=threshold)
        chosen = self.add(ops.Mul, f"{name}.mask", [mask, self.heads(f"{name}.v", v)], f"{name}.masked")
        return self.add(ops.MergeHeads, f"{name}.merge", [chosen], f"{name}._merged")


def build_streams(recipe: StreamRecipe, *, batch: int = 3) -> tuple[Graph, NDArray[np.uint8]]:
    """Return the recipe's network and inputs: two summed convolutions, a pooled stream, attention, an MLP, a head on the stream's sum."""
    shape = (batch, *recipe.picture) if recipe.still else (recipe.steps, batch, *recipe.picture)
    inputs = np.random.default_rng(recipe.seed).integers(0, 256, shape, dtype=np.uint8)
    make, channels = _Maker(recipe, inputs), recipe.picture[-1]
    table = make.integers(300, (channels, 256), np.int16)
    value = make.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=int(recipe.still))
    weight = make.integers(400, (recipe.width, 3, 3, channels), np.int16)
    product = make.add(ops.Conv2d, "patch.0.weights", [value], "patch.0.product", weight=weight, dilation=recipe.dilation)
    current = make.window("patch.0", product, make.integers(200, (recipe.width,), np.int32))
    pooled = make.add(ops.MaxPool2d, "patch.0.pool", [current], "patch.0.pooled", stride=recipe.stride)
    if recipe.still:
        pooled = make.add(ops.Repeat, "patch.0.repeat", [pooled], "patch.0._repeated", time_steps=recipe.steps)
    spikes = make.fires("patch.0.neuron", pooled)
    near = make.synapses("patch.1", spikes, recipe.width, size=3)
    far = make.synapses("patch.2", spikes, recipe.width, size=3, dilation=recipe.dilation)
    both = make.add(ops.Add, "patch.sum", [near, far], "patch.summed")
    stream = make.add(ops.Tokens, "patch.flatten", [both], "patch.tokens")
    stream = make.residual("attn.residual", stream, make.synapses("attn.proj", make.attend("attn", stream), recipe.width))
    hidden = make.layer("mlp.fc1", make.fires("mlp.input", stream), 2 * recipe.width + 1)
    stream = make.residual("mlp.residual", make.synapses("mlp.fc2", hidden, recipe.width), stream)
    spikes = make.fires("head.input", make.add(ops.ReduceSum, "head.sum", [stream], "head.sum", axis=2))
    weight = make.integers(127, (3, recipe.width), np.int8)
    make.add(ops.Readout, "head", [spikes], "head.logits", weight=weight, bias=make.integers(50, (3,), np.int32))
    shape = (None, *recipe.picture) if recipe.still else (recipe.steps, None, *recipe.picture)
    kind = ops.ValueType(shape, "uint8")
    return Graph("streams", "images", kind, tuple(make.ops), "head.logits", 1.0, {"time_steps": recipe.steps}), inputs
