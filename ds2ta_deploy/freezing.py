"""Freeze: a quantized model becomes an integer graph, one small function a layer type.

Every value of the graph bears the name of the probe in the PyTorch model where the same value can be
watched, so the two can be compared without a table of names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.grid import leak_is_exact
from ds2ta_deploy.models.attention import GuardBits, IntegerDenoiser, SpikingAttention
from ds2ta_deploy.models.ds2ta import Ds2ta, IntegerPixelEncoder, IntegerReadout, PatchEmbedding
from ds2ta_deploy.models.layers import IntegerWindow, SpikingConv2d, SpikingLinear
from ds2ta_deploy.models.neurons import IntegerLif
from ds2ta_deploy.quantization import Quantization

#: How ties and negative numbers are rounded, wherever integers are made from reals or shifted.
ROUNDING = "weights, biases and tables of pixels round half to even; denoiser tables round half up; shifts floor; neurons fire at equality"


def freeze(model: Ds2ta) -> Graph:
    """Turn a quantized model into an integer graph whose ranges are proved.

    Raises:
        UnsupportedError: DS2TA-202 when the model is not quantized; DS2TA-220 and 221 for everything that
            could overflow or leave its table under the model's profile.

    Example:
        >>> graph = freeze(quantize(load_checkpoint("ckpt.safetensors")))  # doctest: +SKIP

    """
    settings = model.quantization
    encoder, head = model.encoder, model.head
    if not isinstance(settings, Quantization) or not isinstance(encoder, IntegerPixelEncoder) or not isinstance(head, IntegerReadout):
        raise UnsupportedError(Problem("DS2TA-202", "the model is not quantized", mend="call quantize(model) first"))
    config = model.config
    still = config.input_kind == "images"
    draft = _Draft()
    draft.add(
        ops.InputTable,
        "encoder",
        [config.input_kind],
        "input_values",
        table=_integers(encoder.table, np.int16, "encoder.table"),
        still=int(still),
    )
    value = _patch(draft, model.patch, "input_values", still=still)
    for index, block in enumerate(model.encoder_blocks):
        prefix = f"blocks.{index}"
        value = _sum(draft, f"{prefix}.attn_residual", value, _attention(draft, block.attn, f"{prefix}.attn", value))
        hidden = _linear(draft, block.mlp.fc1, f"{prefix}.mlp.fc1", value)
        value = _sum(draft, f"{prefix}.mlp_residual", value, _linear(draft, block.mlp.fc2, f"{prefix}.mlp.fc2", hidden))
    draft.add(
        ops.Readout,
        "head",
        [value],
        "head.logits",
        weight=_integers(head.weight, np.int8, "head.weight"),
        bias=_integers(head.bias, np.int32, "head.bias"),
    )
    facts: dict[str, str | int | float] = {
        "family": config.family,
        "input_kind": config.input_kind,
        "time_steps": config.time_steps,
        "classes": config.num_classes,
        "leak_exact": int(leak_is_exact(config.membrane_time_constant)),
        "notes": "; ".join(model.quantization_notes),
        "rounding": ROUNDING,
        **msgspec.to_builtins(settings),
    }
    kind = ops.ValueType(config.input_shape, "uint8")
    name = f"{config.family}-{config.depth}-{config.embed_dim}"  # not the file's: the same checkpoint gives the same bytes
    graph = Graph(name, config.input_kind, kind, tuple(draft.drafted), "head.logits", head.scale, facts)
    prove(graph, PROFILES[settings.profile])
    return graph


@dataclass
class _Draft:
    """The ops so far."""

    drafted: list[ops.Op] = field(default_factory=list)

    def add(self, kind: type[ops.Op], name: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Append an op; returns the name of its first output."""
        self.drafted.append(kind(name=name, inputs=tuple(inputs), outputs=outputs, **attributes))
        return outputs[0]


def _integers(tensor: Tensor, dtype: type[np.signedinteger[Any]], name: str) -> NDArray[Any]:
    """Return the tensor's integers; raise rather than round or wrap."""
    array, limits = tensor.detach().numpy(), np.iinfo(dtype)
    inside = bool(((array >= limits.min) & (array <= limits.max) & (array == np.rint(array))).all())  # False for NaN
    if not inside:
        what = f"holds [{array.min():.6g}, {array.max():.6g}], which {np.dtype(dtype).name} cannot store"
        raise UnsupportedError(Problem("DS2TA-203", what, name))
    return array.astype(dtype)


def _sum(draft: _Draft, name: str, left: str, right: str) -> str:
    return draft.add(ops.Add, f"{name}.add", [left, right], name)


def _neuron(draft: _Draft, neuron: torch.nn.Module, name: str, current: str) -> str:
    if not isinstance(neuron, IntegerLif):
        raise UnsupportedError(Problem("DS2TA-202", "the neuron is not quantized", name))
    threshold = _integers(neuron.threshold.flatten(), np.int32, f"{name}.threshold")
    return draft.add(
        ops.Lif,
        name,
        [current],
        f"{name}.spikes",
        f"{name}.membrane",
        threshold=threshold,
        leak_numerator=neuron.leak_numerator,
        leak_shift=neuron.leak_shift,
    )


def _window(draft: _Draft, name: str, product: str, bias: Tensor, window: IntegerWindow | None) -> str:
    """Window and bias; without a window one tap of no decay."""
    settings = {"taps": 1, "decay": 0, "guard_bits": 0}
    if window is not None:
        settings = {"taps": window.taps, "decay": window.decay, "guard_bits": window.guard_bits}
    return draft.add(
        ops.TemporalWindow, f"{name}.window", [product], f"{name}.current", bias=_integers(bias, np.int32, f"{name}.bias"), **settings
    )


def _linear(draft: _Draft, layer: SpikingLinear, name: str, value: str) -> str:
    if layer.bias is None or not isinstance(layer.window, IntegerWindow | None):
        raise UnsupportedError(Problem("DS2TA-202", "the layer is not quantized", name))
    product = draft.add(
        ops.Linear, f"{name}.weights", [value], f"{name}.product", weight=_integers(layer.weight, np.int8, f"{name}.weight")
    )
    return _neuron(draft, layer.neuron, name, _window(draft, name, product, layer.bias, layer.window))


def _conv(draft: _Draft, layer: SpikingConv2d, name: str, value: str, *, first: bool = False, still: bool = False) -> str:
    if layer.bias is None:
        raise UnsupportedError(Problem("DS2TA-202", "the layer is not quantized", name))
    weight = _integers(layer.weight.permute(0, 2, 3, 1).contiguous(), np.int16 if first else np.int8, f"{name}.weight")
    product = draft.add(ops.Conv2d, f"{name}.weights", [value], f"{name}.product", weight=weight)
    current = _window(draft, name, product, layer.bias, None)
    if still and layer.time_steps > 1:
        current = draft.add(ops.Repeat, f"{name}.repeat", [current], f"{name}._repeated", time_steps=layer.time_steps)
    spikes = _neuron(draft, layer.neuron, name, current)
    return draft.add(ops.MaxPool2d, f"{name}.pool", [spikes], f"{name}.pooled") if layer.pool else spikes


def _patch(draft: _Draft, patch: PatchEmbedding, value: str, *, still: bool) -> str:
    for index, stage in enumerate(patch.convolutions):
        value = _conv(draft, stage, f"patch.stages.{index}", value, first=index == 0, still=still and index == 0)
    summed = _sum(draft, "patch.residual", _conv(draft, patch.position, "patch.position", value), value)
    return draft.add(ops.Tokens, "patch.flatten", [summed], "patch.tokens")


def _attention(draft: _Draft, attention: SpikingAttention, name: str, value: str) -> str:
    if not isinstance(attention.denoiser, IntegerDenoiser) or not isinstance(attention.scale, GuardBits):
        raise UnsupportedError(Problem("DS2TA-202", "the attention is not quantized", name))
    heads = attention.num_heads
    split = {}
    for part in ("q", "k", "v"):
        spikes = _linear(draft, getattr(attention, part), f"{name}.{part}", value)
        split[part] = draft.add(ops.SplitHeads, f"{name}.split_{part}", [spikes], f"{name}._{part}_heads", heads=heads)
    scores = draft.add(ops.MatMul, f"{name}.query_key", [split["q"], split["k"]], f"{name}.scores", transpose_right=1)
    denoised = draft.add(
        ops.Lookup,
        f"{name}.denoiser",
        [scores],
        f"{name}.denoised",
        table=_integers(attention.denoiser.table, np.int16, f"{name}.denoiser.table"),
    )
    mixed = draft.add(ops.MatMul, f"{name}.map_value", [denoised, split["v"]], f"{name}._mixed", transpose_right=0)
    context = draft.add(ops.MergeHeads, f"{name}.merge", [mixed], f"{name}.context")
    guard = attention.scale.guard_bits
    no_bias = np.zeros(attention.proj.weight.shape[1], np.int32)
    current = draft.add(ops.TemporalWindow, f"{name}.window", [context], f"{name}.current", bias=no_bias, taps=1, decay=0, guard_bits=guard)
    return _linear(draft, attention.proj, f"{name}.proj", _neuron(draft, attention.neuron, name, current))
