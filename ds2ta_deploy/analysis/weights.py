"""How far the weights on the grid are from those that were trained."""

from typing import cast

import torch
from torch import Tensor

from ds2ta_deploy.analysis.parts import Part, stream_theta, stream_thresholds
from ds2ta_deploy.grid import fold_norm
from ds2ta_deploy.models.layers import DilatedSpikingConv2d, SpikingConv2d, SpikingLinear
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.neurons import IntegerLif
from ds2ta_deploy.models.readout import IntegerReadout, Readout, StreamReadout
from ds2ta_deploy.models.windows import IntegerWindow
from ds2ta_deploy.quantization import Quantization, pixel_grid
from ds2ta_deploy.quantizing.context import trained_neuron


def weight_error(trained: SpikingTransformer, quantized: SpikingTransformer, part: Part) -> float | None:
    """Return ``|W u - W'| / |W'|`` of a part, Euclidean norms over all its weights; None where it has none.

    W' are the trained weights with the batch norm folded in, W the integers, u the real value of one unit of each
    channel: ``theta / theta_c``.

    Example:
        >>> weight_error(model, quantize(model), list_parts(model)[0])  # doctest: +SKIP

    """
    with torch.no_grad():
        pairs = _pairs(trained, quantized, part)
        lost = sum(float((integer - real).square().sum()) for integer, real in pairs)
        whole = sum(float(real.square().sum()) for _, real in pairs)
    if not pairs:
        return None
    return (lost / whole) ** 0.5 if whole else 0.0


def _pairs(trained: SpikingTransformer, quantized: SpikingTransformer, part: Part) -> list[tuple[Tensor, Tensor]]:
    """Return weights of the grid in real units beside the folded ones, two pairs for a dilated stage."""
    if part.kind == "attention":
        return []
    if part.kind == "readout":
        return [_readout_pair(trained, quantized)]
    before, after = trained.get_submodule(part.name), quantized.get_submodule(part.name)
    layers = [(before, after)]
    if isinstance(before, DilatedSpikingConv2d) and isinstance(after, DilatedSpikingConv2d):
        layers.append((before.dilated, after.dilated))
    unit = _units(trained, quantized, part)
    pixel = pixel_grid(trained, cast("Quantization", quantized.quantization))[1] if part.name == "patch.stages.0" else 1.0
    pairs = []
    for real, integer in layers:
        folded, _ = fold_norm(cast("SpikingLinear", real), part.name)
        grid = cast("Tensor", integer.weight)
        pairs.append((grid * unit.view(-1, *[1] * (grid.dim() - 1)) / pixel, folded))
    return pairs


def _units(trained: SpikingTransformer, quantized: SpikingTransformer, part: Part) -> Tensor:
    """Return the real value of one unit of each channel, ``[C]``."""
    if part.kind == "source":
        thresholds = stream_thresholds(quantized)
        if thresholds is None:
            raise ValueError(f"{part.name} adds into a stream that the network does not have")
        return stream_theta(trained) / thresholds
    before = cast("SpikingLinear | SpikingConv2d", trained.get_submodule(part.name))
    after = cast("SpikingLinear | SpikingConv2d", quantized.get_submodule(part.name))
    window = after.window if isinstance(after, SpikingLinear) else None
    guard = window.unit if isinstance(window, IntegerWindow) else 1
    threshold = cast("IntegerLif", after.neuron).threshold.flatten() / guard
    return trained_neuron(before.neuron, part.name).effective_threshold / threshold


def _readout_pair(trained: SpikingTransformer, quantized: SpikingTransformer) -> tuple[Tensor, Tensor]:
    head, grid = cast("Readout", trained.head), cast("IntegerReadout", quantized.head)
    config = trained.config
    summands = config.time_steps * (1 if isinstance(head, StreamReadout) else config.tokens)
    return grid.weight * grid.scale * summands, head.weight.double()
