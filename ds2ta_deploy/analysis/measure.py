"""Run a network with each layer on the grid alone, and with all layers up to each, beside the trained one."""

from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2ta_deploy.analysis.parts import Part, list_parts, mix
from ds2ta_deploy.analysis.results import Analysis, Effect, LayerAnalysis, LayerFlips
from ds2ta_deploy.analysis.weights import weight_error
from ds2ta_deploy.datasets import Labelled, require_labels
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.graph.graph import check_input
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.parity import Progress
from ds2ta_deploy.quantization import Quantization, quantize

#: Samples that are run at once.
_BATCH = 16

#: Name of a population -> its spikes, 0 or 1.
_Spikes = dict[str, NDArray[np.uint8]]


def analyze(model: SpikingTransformer, data: Labelled, settings: Quantization | None = None, progress: Progress | None = None) -> Analysis:
    """Measure what every layer costs on the integer grid: alone, and together with all layers before it.

    All networks run in float64, the trained one too, so that nothing but the grid differs.

    Args:
        model: a trained one; it is not changed.
        data: inputs; with labels the right decisions are counted, too.
        settings: how it is put on the grid.
        progress: told the number of layers done.

    Raises:
        UsageError: DS2TA-507 when there is no sample.
        InputError: DS2TA-120 or 121 when the inputs do not fit the network, 135 when a label is no class of it.
        UnsupportedError: as :func:`ds2ta_deploy.quantization.quantize`.

    Example:
        >>> analyze(load_checkpoint("ckpt.safetensors"), read_data(path)).layers[0].alone.spike_flips  # doctest: +SKIP

    """
    config = model.config
    check_input(data.images, ValueType(config.input_shape, "uint8"), config.input_kind)
    axis = config.input_shape.index(None)
    samples = data.images.shape[axis]
    if samples == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to run"))
    if data.labels is not None:
        require_labels(data.labels, config.num_classes, "labels")
    quantized, parts = quantize(model, settings), list_parts(model)
    batches = [data.images.take(range(start, min(start + _BATCH, samples)), axis) for start in range(0, samples, _BATCH)]
    runs = _Runs(batches, mix(model, quantized, ()), data.labels)
    names = [part.name for part in parts]
    layers = []
    for index, part in enumerate(parts):
        alone = runs.effect(mix(model, quantized, [part.name]), part)
        cumulative = runs.effect(mix(model, quantized, names[: index + 1]), part) if index else alone
        layers.append(LayerAnalysis(part.name, part.spikes, weight_error(model, quantized, part), alone, cumulative))
        if progress is not None:
            progress(index + 1)
    return Analysis(samples, runs.reference_correct, tuple(layers), runs.populations(quantized))


class _Runs:
    """Runs networks on the same batches, and compares them with what the trained one did."""

    def __init__(self, batches: list[NDArray[np.uint8]], trained: SpikingTransformer, labels: NDArray[np.int64] | None) -> None:
        self.batches, self.labels = batches, labels
        self.spikes: list[_Spikes] = []
        logits = []
        for batch in batches:
            fired: _Spikes = {}
            logits.append(_run(trained, batch, fired))
            self.spikes.append(fired)
        self.decisions = np.concatenate(logits).argmax(1)
        self.reference_correct = self._correct(self.decisions)

    def _correct(self, decisions: NDArray[np.int64]) -> int | None:
        return None if self.labels is None else int((decisions == self.labels).sum())

    def effect(self, network: SpikingTransformer, part: Part) -> Effect:
        """Return what a network does differently."""
        flips, decisions = Counter[str](), []
        for batch, reference in zip(self.batches, self.spikes, strict=True):
            fired: _Spikes = {}
            decisions.append(_run(network, batch, fired).argmax(1))
            for name, spikes in fired.items():
                flips[name] += int((spikes != reference[name]).sum())
        chosen = np.concatenate(decisions)
        own = 0 if part.spikes is None else flips[part.spikes]
        return Effect(own, flips.total(), int((chosen == self.decisions).sum()), self._correct(chosen))

    def populations(self, quantized: SpikingTransformer) -> tuple[LayerFlips, ...]:
        """Compare the spikes of every population with those of the network on the grid."""
        found: dict[str, LayerFlips] = {}
        for batch, reference in zip(self.batches, self.spikes, strict=True):
            fired: _Spikes = {}
            _run(quantized, batch, fired)
            for name, before in reference.items():
                after = fired[name]
                flips = int((before != after).sum())
                counted = LayerFlips(name, before.size, flips, int(before.sum(dtype=np.int64)), int(after.sum(dtype=np.int64)))
                found[name] = found[name] + counted if name in found else counted
        return tuple(found.values())


def _run(network: SpikingTransformer, batch: NDArray[np.uint8], fired: _Spikes) -> NDArray[np.float64]:
    """Run a network, put down its spikes, return its logits."""

    def keep(name: str, value: Tensor) -> None:
        fired[name] = value.to(torch.uint8).numpy()

    with Watch(network, keep, lambda name: name.endswith(".spikes")), torch.inference_mode():
        logits: NDArray[np.float64] = network(torch.tensor(np.ascontiguousarray(batch))).numpy()
    return logits
