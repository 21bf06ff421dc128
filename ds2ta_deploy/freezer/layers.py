"""Layers with weights, patch embeddings and MLPs become ops."""

from functools import singledispatch

import numpy as np
from torch import nn

from ds2ta_deploy.freezer.draft import Draft, integers, not_quantized, weights
from ds2ta_deploy.graph import ops
from ds2ta_deploy.models.layers import ConvSynapses, DilatedSpikingConv2d, SpikingConv2d, SpikingLinear, Synapses
from ds2ta_deploy.models.network import Mlp, PatchEmbedding
from ds2ta_deploy.models.streams import StreamMlp, StreamPatchEmbedding


def freeze_output(draft: Draft, layer: Synapses, name: str, value: str) -> str:
    """Append a linear layer, and its neurons if it has some; returns spikes or current."""
    product = draft.add(ops.Linear, f"{name}.weights", [value], f"{name}.product", weight=weights(layer.weight, f"{name}.weight"))
    if not isinstance(layer, SpikingLinear):
        return draft.bias(name, product, f"{name}.current", layer.bias, layer.window)
    return draft.neuron(layer.neuron, name, draft.bias(f"{name}.window", product, f"{name}.current", layer.bias, layer.window))


def _conv_product(draft: Draft, layer: ConvSynapses, name: str, value: str, *, first: bool = False) -> str:
    kernel = layer.weight.permute(0, 2, 3, 1).contiguous()
    weight = integers(kernel, np.int16, f"{name}.weight") if first else weights(kernel, f"{name}.weight")
    return draft.add(ops.Conv2d, f"{name}.weights", [value], f"{name}.product", weight=weight, dilation=layer.dilation)


def freeze_conv(draft: Draft, layer: SpikingConv2d, name: str, value: str, *, first: bool = False, still: bool = False) -> str:
    """Append a spiking convolution; ``first`` reads the input table, ``still`` a picture without time."""
    product = _conv_product(draft, layer, name, value, first=first)
    current = draft.bias(f"{name}.window", product, f"{name}.current", layer.bias)
    if isinstance(layer, DilatedSpikingConv2d):
        far = _conv_product(draft, layer.dilated, f"{name}.dilated", value, first=first)
        current = draft.sum(f"{name}.summed", current, draft.bias(f"{name}.dilated", far, f"{name}.dilated.current", layer.dilated.bias))
    if still and layer.time_steps > 1:
        current = draft.add(ops.Repeat, f"{name}.repeat", [current], f"{name}._repeated", time_steps=layer.time_steps)
    spikes = draft.neuron(layer.neuron, name, current)
    return draft.add(ops.MaxPool2d, f"{name}.pool", [spikes], f"{name}.pooled") if layer.pool else spikes


@singledispatch
def freeze_patch(patch: nn.Module, _draft: Draft, _value: str, *, still: bool) -> str:
    """Append the patch embedding; returns the tokens."""
    _ = still
    raise not_quantized(type(patch).__name__, "patch")


@freeze_patch.register
def _(patch: PatchEmbedding, draft: Draft, value: str, *, still: bool) -> str:
    for index, stage in enumerate(patch.convolutions):
        value = freeze_conv(draft, stage, f"patch.stages.{index}", value, first=index == 0, still=still and index == 0)
    summed = draft.sum("patch.residual", freeze_conv(draft, patch.position, "patch.position", value), value)
    return draft.add(ops.Tokens, "patch.flatten", [summed], "patch.tokens")


@freeze_patch.register
def _(patch: StreamPatchEmbedding, draft: Draft, value: str, *, still: bool) -> str:
    for index, stage in enumerate(patch.convolutions):
        value = freeze_conv(draft, stage, f"patch.stages.{index}", value, first=index == 0, still=still and index == 0)
    feature = draft.bias(
        "patch.feature", _conv_product(draft, patch.feature, "patch.feature", value), "patch.feature.current", patch.feature.bias
    )
    if patch.pooled is not None:
        feature = draft.add(ops.MaxPool2d, "patch.pool", [feature], "patch.pooled")
    product = _conv_product(draft, patch.position, "patch.position", draft.stream_neuron(patch.input, "patch.input", feature))
    position = draft.bias("patch.position", product, "patch.position.current", patch.position.bias)
    return draft.add(ops.Tokens, "patch.flatten", [draft.sum("patch.residual", position, feature)], "patch.tokens")


@singledispatch
def freeze_mlp(mlp: nn.Module, _draft: Draft, name: str, _value: str) -> str:
    """Append a block's MLP; returns what is added to the residual."""
    raise not_quantized(type(mlp).__name__, name)


@freeze_mlp.register
def _(mlp: Mlp, draft: Draft, name: str, value: str) -> str:
    return freeze_output(draft, mlp.fc2, f"{name}.fc2", freeze_output(draft, mlp.fc1, f"{name}.fc1", value))


@freeze_mlp.register
def _(mlp: StreamMlp, draft: Draft, name: str, value: str) -> str:
    spikes = draft.stream_neuron(mlp.input, f"{name}.input", value)
    return freeze_output(draft, mlp.fc2, f"{name}.fc2", freeze_output(draft, mlp.fc1, f"{name}.fc1", spikes))
