"""Attentions become ops."""

from functools import singledispatch

import numpy as np
from torch import nn

from ds2ta_deploy.freezer.draft import Draft, integers, not_quantized
from ds2ta_deploy.freezer.layers import freeze_output
from ds2ta_deploy.graph import ops
from ds2ta_deploy.models.attention import ChunkedAttention, SpikingAttention
from ds2ta_deploy.models.denoiser import IntegerDenoiser
from ds2ta_deploy.models.erosion import Erosion
from ds2ta_deploy.models.layers import Synapses
from ds2ta_deploy.models.saccade import IntegerSaccade
from ds2ta_deploy.models.snn_vit import SaccadicAttention
from ds2ta_deploy.models.streams import MaskedAttention, StreamChunkedAttention


@singledispatch
def freeze_attention(attention: nn.Module, _draft: Draft, name: str, _value: str) -> str:
    """Append a block's attention; returns what is added to the residual."""
    raise not_quantized(type(attention).__name__, name)


@freeze_attention.register
def _(attention: SpikingAttention, draft: Draft, name: str, value: str) -> str:
    parts = [freeze_output(draft, layer, f"{name}.{part}", value) for part, layer in _layers(attention)]
    return freeze_output(draft, attention.proj, f"{name}.proj", _attend(draft, attention, name, parts))


@freeze_attention.register
def _(attention: StreamChunkedAttention, draft: Draft, name: str, value: str) -> str:
    spikes = draft.stream_neuron(attention.input, f"{name}.input", value)
    parts = [freeze_output(draft, layer, f"{name}.{part}", spikes) for part, layer in _layers(attention)]
    if not attention.erode:
        return freeze_output(draft, attention.proj, f"{name}.proj", _attend(draft, attention, name, parts))
    erosions = (attention.q_erosion, attention.k_erosion, attention.v_erosion)
    eroded = [_erode(draft, erosion, f"{name}.{part}", at) for erosion, part, at in zip(erosions, "qkv", parts, strict=True)]
    attended = _attend(draft, attention, name, eroded)
    pooled = _erode(draft, attention.input_erosion, f"{name}.input", spikes)
    masked = draft.add(ops.Mul, f"{name}.mask", [attended, pooled], f"{name}.masked")
    return freeze_output(draft, attention.proj, f"{name}.proj", draft.sum(f"{name}.counts", masked, pooled))


@freeze_attention.register
def _(attention: MaskedAttention, draft: Draft, name: str, value: str) -> str:
    spikes = draft.stream_neuron(attention.input, f"{name}.input", value)
    parts = ("q", attention.q), ("k", attention.k), ("v", attention.v)
    query, key, value = (freeze_output(draft, layer, f"{name}.{part}", spikes) for part, layer in parts)
    if attention.erode:
        key = _erode(draft, attention.k_erosion, f"{name}.k", key)
        value = _erode(draft, attention.v_erosion, f"{name}.v", value)
    both = draft.add(ops.Mul, f"{name}.key_times_value", [key, value], f"{name}.key_value")
    if attention.erode:
        both = _erode_heads(draft, f"{name}.key_value", both, attention.key_value_erosion.num_heads)
    total = draft.add(ops.ReduceSum, f"{name}.sum", [both], f"{name}.total", axis=2)
    channels = attention.q.weight.shape[0]
    current = draft.guarded(f"{name}.gate.window", total, f"{name}.gate_current", attention.gate_scale, channels)
    gate = draft.stream_neuron(attention.gate, f"{name}.gate", current)
    masked = draft.add(ops.Mul, f"{name}.mask", [query, gate], f"{name}.masked")
    if attention.erode:
        masked = _erode_heads(draft, f"{name}.masked", masked, attention.masked_erosion.num_heads)
    return freeze_output(draft, attention.proj, f"{name}.proj", masked)


@freeze_attention.register
def _(attention: SaccadicAttention, draft: Draft, name: str, value: str) -> str:
    saccade, heads = attention.saccade, attention.num_heads
    if not isinstance(saccade, IntegerSaccade):
        raise not_quantized("attention", name)

    def summed(part: str, spikes: str) -> str:
        split = draft.split(f"{name}.{part}", spikes, heads)
        return draft.add(ops.ReduceSum, f"{name}.{part}.sum", [split], f"{name}.{part}_sum", axis=4)

    relevance = summed("q", freeze_output(draft, attention.q, f"{name}.q", value))
    if attention.k is not None:
        keys = summed("k", freeze_output(draft, attention.k, f"{name}.k", value))
        total = draft.add(ops.ReduceSum, f"{name}.k.total", [keys], f"{name}.k_total", axis=3)
        relevance = draft.add(ops.Mul, f"{name}.query_key", [relevance, total], f"{name}.relevance")
    matrix = integers(saccade.matrix, np.int16, f"{name}.saccade.matrix")
    mixed = draft.add(ops.TimeMix, f"{name}.saccade.mix", [relevance], f"{name}.saccade.mixed", matrix=matrix)
    threshold = integers(saccade.threshold, np.int32, f"{name}.saccade.threshold")
    chosen = draft.add(ops.Threshold, f"{name}.saccade", [mixed], f"{name}.saccade.spikes", threshold=threshold)
    split = draft.split(f"{name}.v", freeze_output(draft, attention.v, f"{name}.v", value), heads)
    masked = draft.add(ops.Mul, f"{name}.mask", [split, chosen], f"{name}.masked")
    merged = draft.add(ops.MergeHeads, f"{name}.merge", [masked], f"{name}._merged")
    return freeze_output(draft, attention.proj, f"{name}.proj", merged)


def _layers(attention: SpikingAttention) -> list[tuple[str, Synapses]]:
    return [("q", attention.q), ("k", attention.k), ("v", attention.v)]


def _attend(draft: Draft, attention: SpikingAttention, name: str, parts: list[str]) -> str:
    """From the spikes of query, key and value to those of the attention's neuron."""
    query, key, value = (draft.split(f"{name}.{part}", spikes, attention.num_heads) for part, spikes in zip("qkv", parts, strict=True))
    if isinstance(attention, ChunkedAttention):
        mixed = _mix_chunks(draft, name, query, key, value, attention.chunk_steps)
    else:
        mixed = _mix_map(draft, attention, name, query, key, value)
    context = draft.add(ops.MergeHeads, f"{name}.merge", [mixed], f"{name}.context")
    width = attention.q.weight.shape[0]
    return draft.neuron(attention.neuron, name, draft.guarded(f"{name}.window", context, f"{name}.current", attention.scale, width))


def _mix_map(draft: Draft, attention: SpikingAttention, name: str, query: str, key: str, value: str) -> str:
    scores = draft.add(ops.MatMul, f"{name}.query_key", [query, key], f"{name}.scores", transpose_right=1)
    if attention.denoiser is not None:
        if not isinstance(attention.denoiser, IntegerDenoiser):
            raise not_quantized("attention", name)
        table = integers(attention.denoiser.table, np.int16, f"{name}.denoiser.table")
        scores = draft.add(ops.Lookup, f"{name}.denoiser", [scores], f"{name}.denoised", table=table)
    return draft.add(ops.MatMul, f"{name}.map_value", [scores, value], f"{name}._mixed")


def _mix_chunks(draft: Draft, name: str, query: str, key: str, value: str, steps: int) -> str:
    """With one step a chunk there is nothing to cut."""
    if steps > 1:
        cut = (("q", query), ("k", key), ("v", value))
        query, key, value = (draft.add(ops.Chunk, f"{name}.{part}.chunk", [at], f"{name}.{part}._chunks", steps=steps) for part, at in cut)
    state = draft.add(ops.MatMul, f"{name}.key_times_value", [key, value], f"{name}.key_value", transpose_left=1)
    mixed = draft.add(ops.MatMul, f"{name}.query_state", [query, state], f"{name}._mixed")
    return mixed if steps == 1 else draft.add(ops.Unchunk, f"{name}.unchunk", [mixed], f"{name}._steps", steps=steps)


def _erode(draft: Draft, erosion: Erosion, name: str, tokens: str) -> str:
    picture = draft.add(ops.Pixels, f"{name}_erosion.pixels", [tokens], f"{name}_erosion._map", height=erosion.rows)
    pooled = draft.add(ops.MaxPool2d, f"{name}_erosion.pool", [picture], f"{name}_erosion.pooled", stride=1)
    return draft.add(ops.Tokens, f"{name}_erosion.flatten", [pooled], f"{name}_erosion._tokens")


def _erode_heads(draft: Draft, name: str, tokens: str, heads: int) -> str:
    split = draft.split(f"{name}_erosion", tokens, heads)
    pooled = draft.add(ops.MaxPool2d, f"{name}_erosion.pool", [split], f"{name}_erosion.pooled", stride=1, axis=3)
    return draft.add(ops.MergeHeads, f"{name}_erosion.merge", [pooled], f"{name}_erosion._merged")
