"""Choose a weight format for every layer: how much each one minds narrow weights first, then the cheapest steps under a budget."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.parity import Progress
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.quantizing.formats import formattable_layers
from ds2ta_deploy.quantizing.settings import WEIGHT_FORMATS, WeightFormat
from ds2ta_deploy.report import stored_weights
from ds2ta_deploy.runtimes.base import Runtime
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

#: The format that every layer has before anything is narrowed, and those that it may get.
WIDEST, NARROWER = WEIGHT_FORMATS[0], WEIGHT_FORMATS[1:]

#: Samples that are run at once.
_BATCH = 64


@dataclass(frozen=True)
class Measured:
    """What a choice of formats costs.

    Attributes:
        bytes: that all weights of the graph take in its file.
        changed: samples with another decision than with 8 bits everywhere.
        correct: right decisions; None without labels.

    """

    bytes: int
    changed: int
    correct: int | None


@dataclass(frozen=True)
class Sensitivity:
    """What happens when one layer alone has a narrower format.

    Attributes:
        layer: its dotted name.
        format: which it has.
        layer_bytes: that its weights take then.
        measured: of the whole network.

    """

    layer: str
    format: WeightFormat
    layer_bytes: int
    measured: Measured


@dataclass(frozen=True)
class Narrowing:
    """A choice of formats, and what led to it.

    Attributes:
        formats: of every layer that has a choice.
        samples: that everything was measured on.
        widest: 8 bits everywhere.
        chosen: the choice itself, measured.
        layer_bytes: that the weights of every such layer take with 8 bits.
        sensitivities: one a layer and narrower format.

    """

    formats: dict[str, WeightFormat]
    samples: int
    widest: Measured
    chosen: Measured
    layer_bytes: dict[str, int]
    sensitivities: tuple[Sensitivity, ...]

    def settings(self, settings: Quantization) -> Quantization:
        """Return the settings with these formats."""
        narrow = {layer: chosen for layer, chosen in self.formats.items() if chosen != WIDEST}
        return msgspec.structs.replace(settings, weight_bits=WIDEST, weights=narrow)


@dataclass
class _Trial:
    """Puts a model on the grid with some formats, runs it and counts; remembers the decisions of 8 bits everywhere."""

    model: SpikingTransformer
    inputs: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    settings: Quantization
    decisions: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.decisions = self._decide(self.graph({}))

    def graph(self, formats: Mapping[str, WeightFormat]) -> Graph:
        """Freeze with some formats, and 8 bits elsewhere."""
        return freeze(quantize(self.model, msgspec.structs.replace(self.settings, weight_bits=WIDEST, weights=dict(formats))))

    def measure(self, graph: Graph) -> Measured:
        """Run and count."""
        decisions = self._decide(graph)
        correct = None if self.labels is None else int((decisions == self.labels).sum())
        size = sum(entry.bytes for entry in stored_weights(graph).values())
        return Measured(size, int((decisions != self.decisions).sum()), correct)

    def _decide(self, graph: Graph) -> NDArray[np.int64]:
        """Return the decisions; which engine runs does not matter, for all compute the same integers."""
        graph.check_input(self.inputs)
        runtime: Runtime = NativeRuntime(graph) if library_path() else ReferenceRuntime(graph)
        axis = graph.input_type.shape.index(None)
        samples = self.inputs.shape[axis]
        batches = (self.inputs.take(range(start, min(start + _BATCH, samples)), axis) for start in range(0, samples, _BATCH))
        return np.concatenate([runtime.trace(batch, ())[graph.output].argmax(1) for batch in batches])


@dataclass(frozen=True)
class _Step:
    """A layer gets another format: what that costs, and what it saves, next to the one it has."""

    layer: str
    format: WeightFormat
    cost: int
    gain: int


def narrow(
    model: SpikingTransformer,
    inputs: NDArray[np.uint8],
    labels: NDArray[np.int64] | None = None,
    settings: Quantization | None = None,
    *,
    most_bytes: int | None = None,
    most_loss: float | None = None,
    progress: Progress | None = None,
) -> Narrowing:
    """Choose the weight format of every layer under a budget of bytes, or of accuracy.

    First each layer alone is narrowed to each format, and the decisions that change are counted. Then, step by step, the layer
    and format are taken that change the fewest decisions a byte saved. Under a budget of bytes that goes on until the weights
    fit; under one of accuracy every step is measured together with those before, and taken back where the loss is too large.
    Everything is integers, so that the same model and samples give the same choice on every machine.

    Args:
        model: a trained one; it is not changed.
        inputs: uint8 pictures ``[B, H, W, C]`` or frames ``[T, B, H, W, C]`` to measure on: not those of the final test.
        labels: classes ``[B]``; without them the loss is counted in decisions that change.
        settings: how the model is put on the grid; formats of its layers are left out of account.
        most_bytes: of the stored weights of the whole network.
        most_loss: points of top-1, against 8 bits everywhere.
        progress: told the number of formats tried.

    Raises:
        UsageError: DS2TA-507 when there is no sample, 516 when there is no budget, or two, or even the narrowest formats do
            not keep it; as :func:`~ds2ta_deploy.quantization.quantize`.
        InputError: DS2TA-120 or 121 when the inputs do not fit the network.

    Example:
        >>> narrow(load_checkpoint("ckpt.safetensors"), images, most_bytes=60_000).formats  # doctest: +SKIP

    """
    if (most_bytes is None) == (most_loss is None):
        raise UsageError(Problem("DS2TA-516", "give one budget, of bytes or of accuracy"))
    if inputs.size == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to run"))
    trial = _Trial(model, inputs, labels, settings or Quantization())
    graph = trial.graph({})
    widest, layer_bytes = trial.measure(graph), {name: entry.bytes for name, entry in stored_weights(graph).items()}
    layers = formattable_layers(model)
    sensitivities = []
    for layer in layers:
        for chosen in NARROWER:
            graph = trial.graph({layer: chosen})
            sensitivities.append(Sensitivity(layer, chosen, stored_weights(graph)[layer].bytes, trial.measure(graph)))
            if progress is not None:
                progress(len(sensitivities))
    choose = _Greedy({layer: layer_bytes[layer] for layer in layers}, sensitivities)
    if most_bytes is not None:
        formats, measured = _fit_bytes(trial, choose, widest, most_bytes)
    else:
        formats, measured = _fit_loss(trial, choose, widest, most_loss or 0.0)
    return Narrowing(
        {layer: formats.get(layer, WIDEST) for layer in layers},
        len(trial.decisions),
        widest,
        measured,
        {layer: layer_bytes[layer] for layer in layers},
        tuple(sensitivities),
    )


class _Greedy:
    """The steps that are left, cheapest first, by what each layer did alone."""

    def __init__(self, layer_bytes: Mapping[str, int], sensitivities: list[Sensitivity]) -> None:
        """Start with 8 bits everywhere."""
        self.alone = {(entry.layer, entry.format): (entry.measured.changed, entry.layer_bytes) for entry in sensitivities}
        self.alone |= {(layer, WIDEST): (0, size) for layer, size in layer_bytes.items()}
        self.formats: dict[str, WeightFormat] = dict.fromkeys(layer_bytes, WIDEST)
        self.refused: set[tuple[str, WeightFormat]] = set()

    def steps(self) -> Iterator[_Step]:
        """All that saves bytes and was not refused."""
        for (layer, chosen), (changed, size) in self.alone.items():
            has_changed, has = self.alone[layer, self.formats[layer]]
            if size < has and (layer, chosen) not in self.refused:
                yield _Step(layer, chosen, max(changed - has_changed, 0), has - size)

    def best(self) -> _Step | None:
        """The step of fewest changed decisions a byte; of equal ones the one that saves most, then the first."""
        return min(self.steps(), key=lambda step: (Fraction(step.cost, step.gain), -step.gain), default=None)

    def narrowed(self) -> dict[str, WeightFormat]:
        """The formats of layers that have not 8 bits."""
        return {layer: chosen for layer, chosen in self.formats.items() if chosen != WIDEST}


def _fit_bytes(trial: _Trial, choose: _Greedy, widest: Measured, most: int) -> tuple[dict[str, WeightFormat], Measured]:
    """Take steps until the weights fit."""
    size = widest.bytes
    while size > most:
        step = choose.best()
        if step is None:
            what = f"even with the narrowest formats the weights take {size:,} bytes, more than {most:,}"
            raise UsageError(Problem("DS2TA-516", what, mend="the first layer and those that add into a stream have settings of their own"))
        choose.formats[step.layer] = step.format
        size -= step.gain
    return choose.narrowed(), trial.measure(trial.graph(choose.narrowed()))


def _fit_loss(trial: _Trial, choose: _Greedy, widest: Measured, most: float) -> tuple[dict[str, WeightFormat], Measured]:
    """Try every step together with those before, keep it where the loss stays within the budget."""
    kept = widest
    while (step := choose.best()) is not None:
        before = choose.formats[step.layer]
        choose.formats[step.layer] = step.format
        measured = trial.measure(trial.graph(choose.narrowed()))
        lost = measured.changed if measured.correct is None or widest.correct is None else widest.correct - measured.correct
        if lost > Fraction(most) * len(trial.decisions) / 100:
            choose.formats[step.layer] = before
            choose.refused.add((step.layer, step.format))
        else:
            kept = measured
    return choose.narrowed(), kept
