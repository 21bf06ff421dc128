"""Small graphs whose populations are put together in unusual ways. Needs no PyTorch."""

from collections.abc import Callable

import numpy as np
from builders import EMBED, STEPS, small_inputs
from numpy.typing import NDArray
from stream_graph import CHUNK, ROWS, StreamDraft

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph

Composition = Callable[[StreamDraft, str], str]


def _heads(draft: StreamDraft, value: str, count: int, *, chunk: int = 0) -> list[str]:
    """Return queries, keys and values of so many heads, as chunks if asked."""
    made = []
    for part in "qkv":
        spikes = draft.linear(part, value, EMBED, busy=part != "v")
        made.append(draft.add(ops.SplitHeads, f"{part}.split", [spikes], f"{part}._heads", heads=count))
        if chunk:
            made[-1] = draft.add(ops.Chunk, f"{part}.chunk", made[-1:], f"{part}._chunks", steps=chunk)
    return made


def _attended(draft: StreamDraft, mixed: str, *, bias: int = 0, taps: int = 1) -> str:
    """Append merge, window and neuron of an attention."""
    context = draft.add(ops.MergeHeads, "attn.merge", [mixed], "attn.context")
    return draft.neuron("attn", draft.window("attn", context, np.full(EMBED, bias, np.int32), taps, 1, 2), guard_bits=2)


def linear_attention(draft: StreamDraft, value: str) -> str:
    """``Q (K^T V)`` of one head, chunks of one step."""
    query, key, values = _heads(draft, value, 1, chunk=1)
    state = draft.add(ops.MatMul, "attn.state", [key, values], "attn.state", transpose_left=1)
    mixed = draft.add(ops.MatMul, "attn.mixed", [query, state], "attn._mixed")
    return _attended(draft, draft.add(ops.Unchunk, "attn.unchunk", [mixed], "attn._steps", steps=1))


def turned_attention(draft: StreamDraft, value: str) -> str:
    """``Q (V^T K)^T``: the state in the other order, chunks of all steps."""
    query, key, values = _heads(draft, value, 2, chunk=STEPS)
    state = draft.add(ops.MatMul, "attn.state", [values, key], "attn.state", transpose_left=1)
    mixed = draft.add(ops.MatMul, "attn.mixed", [query, state], "attn._mixed", transpose_right=1)
    return _attended(draft, draft.add(ops.Unchunk, "attn.unchunk", [mixed], "attn._steps", steps=STEPS))


def squared_state(draft: StreamDraft, value: str) -> str:
    """``Q (S S^T) V``-like: both sides of a product are int32, and their product is one side again."""
    query, key, values = _heads(draft, value, 2)
    scores = draft.add(ops.MatMul, "attn.scores", [query, key], "attn.scores", transpose_right=1)
    squared = draft.add(ops.MatMul, "attn.squared", [scores, scores], "attn.squared", transpose_right=1)
    again = draft.add(ops.MatMul, "attn.again", [squared, scores], "attn.again")
    return _attended(draft, draft.add(ops.MatMul, "attn.mixed", [again, values], "attn._mixed"))


def denoised_chunks(draft: StreamDraft, value: str) -> str:
    """A table between the products of chunks, a bias, a window of two taps: a map that no fused body computes."""
    query, key, values = _heads(draft, value, 2, chunk=CHUNK)
    scores = draft.add(ops.MatMul, "attn.scores", [query, key], "attn.scores", transpose_right=1)
    table = np.array([[0, 3, 5, -2, 4], [-1, 2, -3, 4, 300]], np.int16)
    denoised = draft.add(ops.Lookup, "attn.denoiser", [scores], "attn.denoised", table=table)
    mixed = draft.add(ops.MatMul, "attn.mixed", [denoised, values], "attn._mixed")
    return _attended(draft, draft.add(ops.Unchunk, "attn.unchunk", [mixed], "attn._steps", steps=CHUNK), bias=-2, taps=2)


def two_kernels(draft: StreamDraft, value: str) -> str:
    """Two convolutions of the same spikes, one dilated, added before bias and neuron."""
    pixels = draft.add(ops.Pixels, "map", [value], "map.pixels", height=ROWS)
    products = []
    for name, size, dilation, kind in (("near", 3, 1, np.int16), ("far", 3, 2, np.int8)):
        weight = draft.integers(2000 if kind == np.int16 else 127, (EMBED, size, size, EMBED), kind)
        products.append(draft.add(ops.Conv2d, f"{name}.weights", [pixels], f"{name}.product", weight=weight, dilation=dilation))
    total = draft.add(ops.Add, "both.add", products, "both.product")
    spikes = draft.neuron("both", draft.window("both", total, draft.integers(60, (EMBED,), np.int32)))
    return draft.add(ops.Tokens, "both.flatten", [spikes], "both.tokens")


def wide_and_dilated(draft: StreamDraft, value: str) -> str:
    """A dilated spiking convolution, then a spiking layer with weights of 14 bits."""
    pixels = draft.add(ops.Pixels, "map", [value], "map.pixels", height=ROWS)
    weight = draft.integers(127, (EMBED, 5, 5, EMBED), np.int8)
    made = draft.add(ops.Conv2d, "conv.weights", [pixels], "conv.product", weight=weight, dilation=2)
    spikes = draft.neuron("conv", draft.window("conv", made, draft.integers(60, (EMBED,), np.int32)))
    tokens = draft.add(ops.Tokens, "conv.flatten", [spikes], "conv.tokens")
    weight = draft.integers(8191, (EMBED, EMBED), np.int16)
    weight[0, :2] = 8191, -8191
    made = draft.add(ops.Linear, "wide.weights", [tokens], "wide.product", weight=weight)
    return draft.neuron("wide", draft.window("wide", made, draft.integers(60, (EMBED,), np.int32)))


def shared_membrane(draft: StreamDraft, value: str) -> str:
    """The membrane of one layer is the current of another neuron, and its current is summed over the tokens for a third."""
    spikes = draft.linear("first", value, EMBED)
    second = draft.neuron("second", "first.membrane", leak=(3, 2))
    total = draft.add(ops.ReduceSum, "total", ["first.current"], "total.sum", axis=2)
    third = draft.neuron("third", total, quiet=0.5)
    selected = draft.add(ops.Mul, "third.mask", [second, third], "third.masked")
    return draft.residual("counts", spikes, selected)


def two_windows(draft: StreamDraft, value: str) -> str:
    """Two windows in a row, with unlike taps, and none at all."""
    made = draft.add(ops.Linear, "a.weights", [value], "a.product", weight=draft.integers(127, (EMBED, EMBED), np.int8))
    once = draft.window("a", made, draft.integers(60, (EMBED,), np.int32), 2, 1, 1)
    twice = draft.add(
        ops.TemporalWindow, "a.again", [once], "a.current-2", bias=draft.integers(9, (EMBED,), np.int32), taps=3, decay=1, guard_bits=1
    )
    spikes = draft.neuron("a", twice)
    made = draft.add(ops.Linear, "b.weights", [spikes], "b.product", weight=draft.integers(127, (EMBED, EMBED), np.int8))
    return draft.neuron("b", made)


def pooled_scores(draft: StreamDraft, value: str) -> str:
    """Signed maps pooled over tokens and keys, weighted by a row of spikes and summed: int32 all along, single ops only."""
    query, key, values = _heads(draft, value, 2)
    scores = draft.add(ops.MatMul, "attn.scores", [query, key], "attn.scores", transpose_right=1)
    mixed = draft.add(ops.TimeMix, "attn.mix", [scores], "attn.mixed", matrix=np.tril(draft.integers(5, (STEPS, STEPS), np.int16) - 1))
    pooled = draft.add(ops.MaxPool2d, "attn.pool", [mixed], "attn.pooled", stride=1, axis=3)
    product = draft.add(ops.Mul, "attn.both", [pooled, scores], "attn.both")
    total = draft.add(ops.ReduceSum, "attn.sum", [product], "attn.total", axis=4)
    limit = np.median(draft.values[total].reshape(STEPS, -1), axis=1).astype(np.int32)
    mask = draft.add(ops.Threshold, "attn.saccade", [total], "attn.saccade.spikes", threshold=limit)
    chosen = draft.add(ops.Mul, "attn.mask", [values, mask], "attn.masked")
    return draft.add(ops.MergeHeads, "attn.merge", [chosen], "attn.merged")


COMPOSITIONS: dict[str, Composition] = {
    made.__name__.replace("_", " "): made
    for made in (
        linear_attention,
        turned_attention,
        squared_state,
        denoised_chunks,
        two_kernels,
        wide_and_dilated,
        shared_membrane,
        two_windows,
        pooled_scores,
    )
}


def build(name: str, seed: int = 11) -> tuple[Graph, NDArray[np.uint8]]:
    """Return the graph of one composition over pictures, between a first layer and a readout, and its inputs."""
    inputs = small_inputs()
    draft = StreamDraft(inputs, seed)
    table = np.sort(draft.integers(500, (inputs.shape[-1], 256), np.int16), axis=1)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=1)
    value = draft.conv("patch", value, EMBED, first=True, repeat=True, pool=True)
    value = COMPOSITIONS[name](draft, draft.add(ops.Tokens, "flatten", [value], "tokens"))
    weight = draft.integers(127, (3, EMBED), np.int8)
    draft.add(ops.Readout, "head", [value], "head.logits", weight=weight, bias=np.zeros(3, np.int32))
    kind = ops.ValueType((None, *inputs.shape[1:]), "uint8")
    return Graph(name, "images", kind, tuple(draft.ops), "head.logits", 1.0, {"time_steps": STEPS}), inputs
