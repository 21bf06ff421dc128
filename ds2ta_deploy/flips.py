"""Rung 0: how many spikes the integer grid changes, layer by layer. Measured, never demanded."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.analysis.results import LayerFlips
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.pytorch import FloatRuntime, PytorchRuntime

#: Samples that are run at once.
_BATCH = 8


@dataclass(frozen=True)
class Flips:
    """What the grid changes in a network on some samples.

    Attributes:
        layers: one a population, first to last.
        samples: number of inputs.
        same_decisions: for how many of them both networks choose the same class.

    """

    layers: tuple[LayerFlips, ...]
    samples: int
    same_decisions: int


def measure_flips(model: SpikingTransformer, inputs: NDArray[np.uint8], settings: Quantization | None = None) -> Flips:
    """Run a trained model in float32, and the same model on the integer grid, and count the spikes that differ.

    Args:
        model: a trained one; it is not changed.
        inputs: uint8 pictures ``[B, H, W, C]`` or frames ``[T, B, H, W, C]``.
        settings: how it is put on the grid.

    Raises:
        UsageError: DS2TA-507 when there is no sample; as :func:`ds2ta_deploy.quantization.quantize`.
        InputError: DS2TA-120 or 121 when the inputs do not fit the network.
        UnsupportedError: as :func:`ds2ta_deploy.quantization.quantize`.

    Example:
        >>> measure_flips(load_checkpoint("ckpt.safetensors"), images).layers[0].flips  # doctest: +SKIP

    """
    quantized = quantize(model, settings)
    graph = freeze(quantized)
    graph.check_input(inputs)
    trained, integer = FloatRuntime(model), PytorchRuntime(quantized, graph)
    names = [value for value in graph.types if value.endswith(".spikes")]
    compared, flips, fired, fired_on_grid = (Counter[str]() for _ in range(4))
    axis = graph.input_type.shape.index(None)
    samples, same = inputs.shape[axis], 0
    if samples == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to run"))
    for start in range(0, samples, _BATCH):
        batch = inputs.take(range(start, min(start + _BATCH, samples)), axis)
        before, after = trained.trace(batch, names), integer.trace(batch, names)
        for name in names:
            compared[name] += after[name].size
            flips[name] += int((before[name] != after[name]).sum())
            fired[name] += int(before[name].sum(dtype=np.float64))
            fired_on_grid[name] += int(after[name].sum(dtype=np.int64))
        same += int((before[graph.output].argmax(1) == after[graph.output].argmax(1)).sum())
    layers = tuple(LayerFlips(name, compared[name], flips[name], fired[name], fired_on_grid[name]) for name in names)
    return Flips(layers, samples, same)
