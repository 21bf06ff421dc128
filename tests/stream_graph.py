"""A hand-made graph with the ops that membrane streams and the attentions of other families need. Needs no PyTorch."""

import numpy as np
from builders import CHANNELS, CLASSES, EMBED, HEADS, HEIGHT, HIDDEN, STEPS, WIDTH, Draft, small_inputs

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph

#: Rows of the feature map behind the only stage that halves; time steps of a chunk.
ROWS, CHUNK = 4, 2

#: The block of each attention.
MASKED, CHUNKED, SACCADIC, PLAIN = (f"blocks.{index}.attn" for index in range(4))


class StreamDraft(Draft):
    """Adds populations that read a stream of currents, and synapses that add into it."""

    def synapses(self, name: str, value: str, out: int, *, size: int = 1, dilation: int = 1) -> str:
        """Append weights of 12 bits and a bias, no neuron; ``size`` 3 makes it a convolution."""
        channels = self.values[value].shape[-1]
        shape = (out, channels) if size == 1 else (out, size, size, channels)
        weight = self.integers(2000, shape, np.int16)
        if size == 1:
            made = self.add(ops.Linear, f"{name}.weights", [value], f"{name}.product", weight=weight)
        else:
            made = self.add(ops.Conv2d, f"{name}.weights", [value], f"{name}.product", weight=weight, dilation=dilation)
        bias = self.integers(900, (out,), np.int32)
        return self.add(ops.TemporalWindow, name, [made], f"{name}.current", bias=bias, taps=1, decay=0, guard_bits=0)

    def heads(self, name: str, value: str) -> str:
        """Append a split into heads."""
        return self.add(ops.SplitHeads, f"{name}.split", [value], f"{name}._heads", heads=HEADS)

    def eroded(self, name: str, value: str) -> str:
        """Append a 3x3 maximum of stride 1 over the feature map of tokens."""
        map_ = self.add(ops.Pixels, f"{name}.pixels", [value], f"{name}._map", height=ROWS)
        pooled = self.add(ops.MaxPool2d, f"{name}.pool", [map_], f"{name}.pooled", stride=1, axis=2)
        return self.add(ops.Tokens, f"{name}.flatten", [pooled], f"{name}._pooled_tokens")

    def spread(self, name: str, value: str) -> str:
        """Append a 3x3 maximum of stride 1 over tokens and channels of each head."""
        heads = self.heads(name, value)
        pooled = self.add(ops.MaxPool2d, f"{name}.pool", [heads], f"{name}.pooled", stride=1, axis=3)
        return self.add(ops.MergeHeads, f"{name}.merge", [pooled], f"{name}._merged")

    def query_key_value(self, name: str, stream: str) -> list[str]:
        """Append the neurons that read the stream and three layers behind them."""
        spikes = self.neuron(f"{name}.input", stream)
        return [self.linear(f"{name}.{part}", spikes, EMBED, busy=part != "v") for part in "qkv"]

    def masked(self, name: str, stream: str) -> str:
        """Append masked attention (spike-driven transformer), event form: q times the neuron of sum over tokens of k v."""
        query, key, value = self.query_key_value(name, stream)
        key, value = self.eroded(f"{name}.k", key), self.eroded(f"{name}.v", value)
        both = self.spread(f"{name}.key_value", self.add(ops.Mul, f"{name}.key_value", [key, value], f"{name}.key_value"))
        total = self.add(ops.ReduceSum, f"{name}.key_value_sum", [both], f"{name}.key_value_sum", axis=2)
        gate = self.neuron(f"{name}.gate", total, quiet=0.5)
        return self.synapses(f"{name}.proj", self.add(ops.Mul, f"{name}.mask", [query, gate], f"{name}.masked"), EMBED)

    def chunked(self, name: str, stream: str) -> str:
        """Append spatio-temporal attention (STAtten), event form: Q (K^T V) over chunks of time steps, masked by pooled spikes."""
        parts = {}
        for part, value in zip("qkv", self.query_key_value(name, stream), strict=True):
            heads = self.heads(f"{name}.{part}", value)
            parts[part] = self.add(ops.Chunk, f"{name}.{part}.chunk", [heads], f"{name}.{part}._chunks", steps=CHUNK)
        state = self.add(ops.MatMul, f"{name}.key_value", [parts["k"], parts["v"]], f"{name}.key_value", transpose_left=1)
        mixed = self.add(ops.MatMul, f"{name}.query_state", [parts["q"], state], f"{name}._mixed")
        steps = self.add(ops.Unchunk, f"{name}.unchunk", [mixed], f"{name}._steps", steps=CHUNK)
        context = self.add(ops.MergeHeads, f"{name}.merge", [steps], f"{name}.context")
        current = self.window(name, context, np.zeros(EMBED, np.int32), guard_bits=2)
        spikes = self.neuron(name, current, guard_bits=1)
        pooled = self.eroded(f"{name}.input", f"{name}.input.spikes")
        masked = self.add(ops.Mul, f"{name}.mask", [spikes, pooled], f"{name}.masked")
        return self.synapses(f"{name}.proj", self.residual(f"{name}.counts", masked, pooled), EMBED)

    def plain(self, name: str, stream: str) -> str:
        """Append spiking self-attention without a table (Spikformer): the map times the values."""
        query, key, value = (self.heads(f"{name}.{part}", it) for part, it in zip("qkv", self.query_key_value(name, stream), strict=True))
        scores = self.add(ops.MatMul, f"{name}.query_key", [query, key], f"{name}.scores", transpose_right=1)
        mixed = self.add(ops.MatMul, f"{name}.map_value", [scores, value], f"{name}._mixed")
        context = self.add(ops.MergeHeads, f"{name}.merge", [mixed], f"{name}.context")
        return self.synapses(f"{name}.proj", self.neuron(name, self.window(name, context, np.zeros(EMBED, np.int32))), EMBED)

    def saccadic(self, name: str, stream: str) -> str:
        """Append saccadic attention (SNN-ViT): values of the tokens whose mixed relevance reaches a threshold."""
        query, key, value = self.query_key_value(name, stream)
        sums = [
            self.add(ops.ReduceSum, f"{name}.{part}_sum", [self.heads(f"{name}.{part}", spikes)], f"{name}.{part}_sum", axis=4)
            for part, spikes in (("q", query), ("k", key))
        ]
        total = self.add(ops.ReduceSum, f"{name}.key_total", [sums[1]], f"{name}.key_total", axis=3)
        relevance = self.add(ops.Mul, f"{name}.relevance", [sums[0], total], f"{name}.relevance")
        matrix = np.tril(self.integers(9, (STEPS, STEPS), np.int16)) + 5 * np.eye(STEPS, dtype=np.int16)
        mixed = self.add(ops.TimeMix, f"{name}.mix", [relevance], f"{name}.mixed", matrix=matrix)
        threshold = np.median(self.values[mixed].reshape(STEPS, -1), axis=1).astype(np.int32)
        mask = self.add(ops.Threshold, f"{name}.saccade", [mixed], f"{name}.saccade.spikes", threshold=threshold)
        chosen = self.add(ops.Mul, f"{name}.mask", [self.heads(f"{name}.v", value), mask], f"{name}.masked")
        return self.synapses(f"{name}.proj", self.add(ops.MergeHeads, f"{name}.merge", [chosen], f"{name}._merged"), EMBED)

    def mlp(self, name: str, stream: str) -> str:
        """Append neurons on the stream, a spiking layer, and synapses back into the stream."""
        return self.synapses(f"{name}.fc2", self.linear(f"{name}.fc1", self.neuron(f"{name}.input", stream), HIDDEN), EMBED)


def build_stream_graph(seed: int = 5, *, still: bool = True) -> Graph:
    """Return a graph whose residual stream is a current: masked, chunked, saccadic and plain attention, one block each.

    Args:
        seed: of all weights.
        still: one picture shown at every step; False for event frames.

    """
    draft = StreamDraft(small_inputs(still=still), seed)
    table = np.sort(draft.integers(500, (CHANNELS, 256), np.int16), axis=1)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=int(still))
    value = draft.conv("patch.stages.0", value, EMBED, first=True, repeat=still, pool=True)
    current = draft.synapses("patch.stages.1", value, EMBED, size=3)
    feature = draft.add(ops.MaxPool2d, "patch.stages.1.pool", [current], "patch.stages.1.pooled", stride=1, axis=2)
    position = draft.synapses("patch.position", draft.neuron("patch.position.input", feature), EMBED, size=3, dilation=2)
    summed = draft.residual("patch.residual", position, feature)
    stream = draft.add(ops.Tokens, "patch.flatten", [summed], "patch.tokens")
    for index, attention in enumerate((draft.masked, draft.chunked, draft.saccadic, draft.plain)):
        block = f"blocks.{index}"
        stream = draft.residual(f"{block}.attn_residual", stream, attention(f"{block}.attn", stream))
        stream = draft.residual(f"{block}.mlp_residual", stream, draft.mlp(f"{block}.mlp", stream))
    total = draft.add(ops.ReduceSum, "head.sum", [stream], "head.sum", axis=2)
    spikes = draft.neuron("head.input", total, quiet=0.5)
    weight = draft.integers(127, (CLASSES, EMBED), np.int8)
    sums = draft.values[spikes].sum(axis=(0, 2)) @ weight.astype(np.int64).T
    bias = -np.median(sums, axis=0).astype(np.int32)  # so that no class always wins
    draft.add(ops.Readout, "head", [spikes], "head.logits", weight=weight, bias=bias)
    shape: tuple[int | None, ...] = (None, HEIGHT, WIDTH, CHANNELS)
    kind = ops.ValueType(shape if still else (STEPS, *shape), "uint8")
    return Graph("stream", "images", kind, tuple(draft.ops), "head.logits", 0.125, {"time_steps": STEPS, "note": "made by hand"})


__all__ = ["CHUNKED", "MASKED", "PLAIN", "SACCADIC", "build_stream_graph"]
