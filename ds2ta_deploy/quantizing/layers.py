"""Layers on the grid: weights, biases and thresholds of populations that have weights of their own."""

import torch
from torch import Tensor, nn

from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Linear as LinearOp
from ds2ta_deploy.graph.ops import TemporalWindow as WindowOp
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.grid import fold_norm, uniform_grid
from ds2ta_deploy.models.layers import ConvSynapses, DilatedSpikingConv2d, SpikingConv2d, SpikingLinear, Synapses
from ds2ta_deploy.models.neurons import IntegerLif
from ds2ta_deploy.models.windows import IntegerWindow, TemporalWindow
from ds2ta_deploy.quantizing.context import (
    MAX_FIRST_THRESHOLD,
    MAX_GUARD_BITS,
    MAX_THRESHOLD,
    Context,
    Grid,
    integer_bias,
    integers,
    trained_neuron,
)


def quantize_conv(context: Context, layer: SpikingConv2d, name: str, input_unit: float | None = None) -> None:
    """Quantize a convolution, both of a dilated stage on one scale a channel; ``input_unit`` marks the first layer."""
    neuron = trained_neuron(layer.neuron, name)
    first = input_unit is not None
    allowed = uniform_grid(context.settings.first_layer_bits) if first else context.weight_grid(name)
    most = MAX_FIRST_THRESHOLD if first else MAX_THRESHOLD
    branches: list[ConvSynapses] = [layer, layer.dilated] if isinstance(layer, DilatedSpikingConv2d) else [layer]
    folded = [fold_norm(branch, name) for branch in branches]
    weights = [weight.flatten(1) * (input_unit or 1.0) for weight, _ in folded]
    grid = context.put_on_grid(name, torch.cat(weights, dim=1), folded[0][1], neuron, allowed, most)
    parts = grid.weight.chunk(len(branches), dim=1)
    for branch, weight, (_, bias) in zip(branches, parts, folded, strict=True):
        set_synapses(branch, weight.reshape(branch.weight.shape), integer_bias(name, bias, neuron.effective_threshold, grid.threshold))
    layer.neuron = IntegerLif(grid.threshold[:, None, None], *context.leak, theta=neuron.threshold)


def quantize_linear(context: Context, layer: SpikingLinear, name: str, largest_count: int) -> None:
    """Quantize a linear layer whose inputs lie in 0..largest_count."""
    neuron = trained_neuron(layer.neuron, name)
    grid = context.put_on_grid(name, *fold_norm(layer, name), neuron, context.weight_grid(name))
    guard = 0
    if isinstance(layer.window, TemporalWindow):
        taps, decay = layer.window.taps, layer.window.integer_decay
        guard = _window_guard_bits(context, grid, taps, decay, largest_count)
        layer.window = IntegerWindow(taps, decay, guard)
    set_synapses(layer, grid.weight, grid.bias)
    layer.neuron = IntegerLif(grid.threshold * 2**guard, *context.leak, theta=neuron.threshold)


def set_synapses(layer: Synapses | ConvSynapses, weight: Tensor, bias: Tensor) -> None:
    """Put integers in the place of weights, bias and batch norm; they are no parameters any more, but made of them."""
    for name, tensor in (("weight", weight), ("bias", bias)):
        delattr(layer, name)
        layer.register_buffer(name, tensor)
    layer.norm = nn.Identity()


def _window_guard_bits(context: Context, grid: Grid, taps: int, decay: int, largest_count: int) -> int:
    """Most guard bits, up to the exact number, with which current and membrane provably fit the state."""
    steps = context.config.time_steps
    exact = decay * (min(taps, steps) - 1)
    weight, bias, threshold = (integers(part) for part in (grid.weight, grid.bias, grid.threshold))
    kind = ValueType((steps, None, 1, weight.shape[1]), "uint8")
    (product,) = LinearOp("", (), (), weight).infer_ranges([Interval.of(0, largest_count)], [kind])
    for guard in range(min(exact, MAX_GUARD_BITS), 0, -1):
        if context.fits(product, WindowOp("", (), (), bias.astype("int32"), taps, decay, guard), threshold << guard):
            return guard
    return 0
