"""A network some of whose layers are on the integer grid and the others are not.

Most layers read and fire spikes, so a trained one can stand in the place of a quantized one. Layers that add into a
residual stream of currents share the scale of its channels: there the trained ones compute in the grid's unit,
``W' theta_c / theta``, without rounding.
"""

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.grid import fold_norm
from ds2ta_deploy.models.attention import SpikingAttention
from ds2ta_deploy.models.layers import ConvSynapses, SpikingLinear, StreamNeuron, Synapses
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.neurons import IntegerLif
from ds2ta_deploy.models.readout import IntegerStreamReadout, StreamReadout
from ds2ta_deploy.models.snn_vit import SaccadicAttention
from ds2ta_deploy.models.streams import MaskedAttention
from ds2ta_deploy.quantizing.context import trained_neuron
from ds2ta_deploy.quantizing.layers import set_synapses

#: ``population``: weights and neurons. ``attention``: what lies between the spikes of q, k, v and those of the attention.
#: ``source``: weights that add into a stream of currents. ``readout``: the classifier.
PartKind = Literal["population", "attention", "source", "readout"]


@dataclass(frozen=True)
class Part:
    """A layer that can be put on the grid while others are not.

    Attributes:
        name: of its module; of the population it fires for an attention.
        kind: how it is put there.
        spikes: name of the first spikes that its error can change; None behind the last neurons.

    """

    name: str
    kind: PartKind
    spikes: str | None


class UnroundedLif(nn.Module):
    """Neurons with integer thresholds ``[C]`` and the trained leak, which read currents that are no integers.

    ``V[t] = (1 - 1/tau_m) V[t-1] (1 - s[t-1]) + I[t]``, fires when ``V[t] >= threshold``; where all currents are integers
    and tau_m is 2, these are the spikes of :class:`~ds2ta_deploy.models.neurons.IntegerLif`.

    Shapes as there.
    """

    def __init__(self, threshold: Tensor, leak: float) -> None:
        """Take integer-valued thresholds and what is kept from step to step."""
        super().__init__()
        self.threshold, self.leak = threshold, leak

    def forward(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(spikes, membranes)`` of all T steps."""
        spikes, membranes = torch.empty_like(current), torch.empty_like(current)
        carried = torch.zeros_like(current[0])
        for t in range(current.shape[0]):
            membrane = torch.add(carried, current[t], out=membranes[t])
            spike = spikes[t].copy_(membrane >= self.threshold)
            carried = membrane * (1.0 - spike) * self.leak
        return spikes, membranes


def list_parts(model: SpikingTransformer) -> list[Part]:
    """Return the parts of a trained network in the order in which it runs them."""
    count = len(list(model.get_submodule("patch.stages").children()))
    stages = [Part(f"patch.stages.{index}", "population", f"patch.stages.{index}.spikes") for index in range(count)]
    streams = isinstance(model.head, StreamReadout | IntegerStreamReadout)
    parts = [*stages, Part("patch.feature", "source", "patch.input.spikes")] if streams else stages
    readers = [f"blocks.{index}.{part}.input.spikes" for index in range(len(model.encoder_blocks)) for part in ("attn", "mlp")]
    readers.append("head.input.spikes")
    parts.append(Part("patch.position", "source", readers[0]) if streams else Part("patch.position", "population", "patch.position.spikes"))
    for index, block in enumerate(model.encoder_blocks):
        parts += _attention_parts(block.attn, f"blocks.{index}.attn", readers[2 * index + 1])
        hidden, out = (f"blocks.{index}.mlp.{layer}" for layer in ("fc1", "fc2"))
        parts.append(Part(hidden, "population", f"{hidden}.spikes"))
        parts.append(Part(out, "source", readers[2 * index + 2]) if streams else Part(out, "population", f"{out}.spikes"))
    return [*parts, Part("head", "readout", None)]


def _attention_parts(attention: nn.Module, name: str, reader: str) -> list[Part]:
    """Queries, keys and values as far as there are any, what lies behind them, the output layer."""
    layers = [part for part in "qkv" if getattr(attention, part, None) is not None]
    parts = [Part(f"{name}.{part}", "population", f"{name}.{part}.spikes") for part in layers]
    match attention:
        case SpikingAttention():
            parts.append(Part(name, "attention", f"{name}.spikes"))
        case MaskedAttention():
            parts.append(Part(name, "attention", f"{name}.gate.spikes"))
        case SaccadicAttention():
            parts.append(Part(name, "attention", f"{name}.saccade.spikes"))
        case _:
            raise UnsupportedError(Problem("DS2TA-202", f"there is no rule for analyzing a {type(attention).__name__}", name))
    fires = isinstance(attention.proj, SpikingLinear)
    return [*parts, Part(f"{name}.proj", "population", f"{name}.proj.spikes") if fires else Part(f"{name}.proj", "source", reader)]


def mix(trained: SpikingTransformer, quantized: SpikingTransformer, chosen: Collection[str]) -> SpikingTransformer:
    """Return a network in float64 that has the chosen parts on the grid, and all others as they were trained.

    With every part chosen it computes what ``quantized`` computes.

    Args:
        trained: the network; it is not changed.
        quantized: the same on the grid; not changed either.
        chosen: names of parts.

    """
    mixed = copy.deepcopy(trained).eval().double().requires_grad_(requires_grad=False)
    thresholds = stream_thresholds(quantized)
    if thresholds is not None:
        _mix_stream(mixed, quantized, chosen, thresholds)
    for part in list_parts(trained):
        if part.name not in chosen:
            continue
        match part.kind:
            case "attention":
                _take_attention(mixed.get_submodule(part.name), quantized.get_submodule(part.name))
            case "readout":
                _take_readout(mixed, quantized, chosen)
            case _:
                mixed.set_submodule(part.name, copy.deepcopy(quantized.get_submodule(part.name)))
        if part.name == "patch.stages.0":
            mixed.encoder = copy.deepcopy(quantized.encoder)
    return mixed


def stream_thresholds(quantized: SpikingTransformer) -> Tensor | None:
    """Return the integer thresholds ``[C]`` that all layers of a residual stream share; None without a stream."""
    if not isinstance(quantized.head, IntegerStreamReadout):
        return None
    return _threshold(quantized, "patch.input").flatten()


def stream_theta(trained: SpikingTransformer) -> float:
    """Return the real threshold of all neurons that read a residual stream."""
    return trained_neuron(_reader(trained, "patch.input").neuron, "patch.input").effective_threshold


def _take_attention(mixed: nn.Module, quantized: nn.Module) -> None:
    names = ("neuron", "scale", "denoiser") if isinstance(quantized, SpikingAttention) else ("gate", "gate_scale", "saccade")
    for name in names:
        if getattr(quantized, name, None) is not None:
            setattr(mixed, name, copy.deepcopy(getattr(quantized, name)))


def _take_readout(mixed: SpikingTransformer, quantized: SpikingTransformer, chosen: Collection[str]) -> None:
    """Take the classifier over, and the neurons before it if all that they read is on the grid."""
    head = copy.deepcopy(quantized.head)
    if isinstance(head, IntegerStreamReadout) and not all(part.name in chosen for part in list_parts(quantized) if part.kind == "source"):
        _set_neuron(head.input, UnroundedLif(_threshold(quantized, "head.input"), _leak(mixed)))
    mixed.head = head


def _mix_stream(mixed: SpikingTransformer, quantized: SpikingTransformer, chosen: Collection[str], thresholds: Tensor) -> None:
    """Bring the stream's trained layers to the grid's unit, and choose the neurons that read it.

    Neurons are those of the grid, which floor, when everything that adds into the stream before them is on the grid. Before
    the classifier they read the mean over the tokens, which is no integer.
    """
    theta, exact = stream_theta(mixed), True
    blocks = [f"blocks.{index}" for index in range(len(mixed.encoder_blocks))]
    steps = ["patch.feature", "patch.input", "patch.position"]
    steps += [f"{block}.{step}" for block in blocks for step in ("attn.input", "attn.proj", "mlp.input", "mlp.fc2")]
    for name in steps:
        module = mixed.get_submodule(name)
        if isinstance(module, StreamNeuron):
            shaped = _threshold(quantized, name)
            _set_neuron(module, copy.deepcopy(_reader(quantized, name).neuron) if exact else UnroundedLif(shaped, _leak(mixed)))
        elif name not in chosen:
            exact = False
            source = cast("Synapses | ConvSynapses", module)
            weight, bias = fold_norm(source, name)
            unit = thresholds / theta
            set_synapses(source, weight * unit.view(-1, *[1] * (weight.dim() - 1)), bias * unit)
    _set_neuron(_reader(mixed, "head.input"), UnroundedLif(thresholds, _leak(mixed)))


def _reader(model: SpikingTransformer, name: str) -> StreamNeuron:
    return cast("StreamNeuron", model.get_submodule(name))


def _threshold(quantized: SpikingTransformer, name: str) -> Tensor:
    """Integer thresholds of the neurons that read a stream, shaped for the currents there."""
    return cast("IntegerLif", _reader(quantized, name).neuron).threshold


def _leak(model: SpikingTransformer) -> float:
    return 1.0 - 1.0 / model.config.membrane_time_constant


def _set_neuron(reader: StreamNeuron, neuron: nn.Module) -> None:
    reader.neuron = cast("IntegerLif", neuron)  # which it stands in for
