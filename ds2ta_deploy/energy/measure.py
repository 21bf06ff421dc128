"""Operations, sparsity and energy of an integer graph on inputs, layer by layer."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.energy.constants import INTEGER, Constants
from ds2ta_deploy.energy.synaptic import Operations, count_operations
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.graph.graph import Graph, metered
from ds2ta_deploy.graph.intervals import IntArray
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.graph.ops import Lookup, MatMul, Op
from ds2ta_deploy.graph.populations import Population, group
from ds2ta_deploy.parity import Progress
from ds2ta_deploy.report import memory

#: Samples that are run at once.
_BATCH = 8


@dataclass(frozen=True)
class LayerEnergy:
    """What one population does on all samples; counts are exact.

    Attributes:
        name: of the population.
        dense: multiply-accumulates that an engine would do that skips nothing.
        operations: what there really was to do.
        activations: neurons times time steps times samples; 0 where nothing spikes.
        silent: how many of them are no spike.
        weights: number of weights.
        zero_weights: how many of them are zero.

    """

    name: str
    dense: int
    operations: Operations
    activations: int
    silent: int
    weights: int
    zero_weights: int

    @property
    def activation_sparsity(self) -> float | None:
        """Share of neurons and steps without a spike; None where nothing spikes."""
        return self.silent / self.activations if self.activations else None

    @property
    def connection_sparsity(self) -> float | None:
        """Share of weights that are zero; None where there are none."""
        return self.zero_weights / self.weights if self.weights else None


@dataclass(frozen=True)
class AttentionMap:
    """How sparse one block's attention map ``S = Q K^T`` is, and what its denoiser leaves of it.

    Attributes:
        name: of the attention.
        entries: of the map, all heads, steps and samples.
        zeros_before: entries of S that are zero.
        zeros_after: entries of the denoised map that are zero; None without a denoiser.
        dense: accumulates of ``A V`` on all samples when no entry is skipped: N^2 D a step.

    """

    name: str
    entries: int
    zeros_before: int
    zeros_after: int | None
    dense: int

    @property
    def sparsity_before(self) -> float:
        """Share of zeros before the denoiser."""
        return self.zeros_before / self.entries

    @property
    def sparsity_after(self) -> float | None:
        """Share of zeros behind the denoiser; None without one."""
        return None if self.zeros_after is None else self.zeros_after / self.entries

    @property
    def sparsity(self) -> float:
        """Share of zeros in the map that meets the values."""
        return (self.zeros_before if self.zeros_after is None else self.zeros_after) / self.entries


@dataclass(frozen=True)
class EnergyReport:
    """What a network does on some samples.

    Attributes:
        graph: its name.
        samples: number of inputs; all counts are sums over them.
        layers: populations that compute something, in graph order.
        maps: attention maps in graph order; empty for a family that has none.
        footprint: bytes of weights, biases, thresholds and tables as they are stored.

    """

    graph: str
    samples: int
    layers: tuple[LayerEnergy, ...]
    maps: tuple[AttentionMap, ...]
    footprint: int

    @property
    def total(self) -> Operations:
        """All operations on all samples."""
        return sum((layer.operations for layer in self.layers), Operations())

    @property
    def dense(self) -> int:
        """All multiply-accumulates when nothing is skipped."""
        return sum(layer.dense for layer in self.layers)

    @property
    def activation_sparsity(self) -> float:
        """Share of all neurons and steps without a spike."""
        return sum(layer.silent for layer in self.layers) / max(sum(layer.activations for layer in self.layers), 1)

    @property
    def connection_sparsity(self) -> float:
        """Share of all weights that are zero."""
        return sum(layer.zero_weights for layer in self.layers) / max(sum(layer.weights for layer in self.layers), 1)


def energy_pj(operations: Operations, constants: Constants = INTEGER) -> float:
    """Picojoules of some operations: ``E_AC (ACs + window additions) + E_MAC MACs``.

    With ``sparsity = 1 - ACs / dense`` of a layer without multiplications this is ``E_AC dense (1 - sparsity)``.

    Example:
        >>> energy_pj(Operations(effective_acs=1000), INTEGER)
        100.0

    """
    additions = operations.effective_acs + operations.window_additions
    return constants.accumulate * additions + constants.multiply_accumulate * operations.effective_macs


def measure_energy(graph: Graph, inputs: NDArray[np.uint8], progress: Progress | None = None) -> EnergyReport:
    """Run a graph and count what it does: synaptic operations, spikes, zeros in attention maps.

    Args:
        graph: any integer graph.
        inputs: uint8, the network's input.
        progress: told the number of samples done.

    Raises:
        InputError: DS2TA-120 or 121 when the inputs do not fit the network.
        UsageError: DS2TA-507 when there is no sample.

    Example:
        >>> measure_energy(Artifact.open("build/").graph, images).total.effective_acs  # doctest: +SKIP

    """
    graph.check_input(inputs)
    axis = graph.input_type.shape.index(None)
    samples = inputs.shape[axis]
    if samples == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to run", graph.input_name))
    tally = _Tally(graph)
    for start in range(0, samples, _BATCH):
        stop = min(start + _BATCH, samples)
        graph.execute(inputs.take(range(start, stop), axis), tally.watch, metered(tally.count))
        if progress is not None:
            progress(stop)
    layers = tuple(layer for population in group(graph) if (layer := tally.layer(population, samples)) is not None)
    return EnergyReport(graph.name, samples, layers, tally.maps(samples), sum(memory(graph).values()))


class _Tally:
    """Sums up what passes while a graph runs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operations: dict[str, Operations] = defaultdict(Operations)
        self.sizes, self.zeros = Counter[str](), Counter[str]()
        self.tables = {op.inputs[0]: op.outputs[0] for op in graph if isinstance(op, Lookup)}
        self.readers = {op.inputs[0]: op for op in graph if isinstance(op, MatMul) and not op.transpose_right}
        scores = [op.outputs[0] for op in graph if isinstance(op, MatMul) and op.transpose_right]
        self.scores = [name for name in scores if self.tables.get(name, name) in self.readers]  # a map is what meets the values
        self.watched = {*self.scores, *self.tables.values(), *(name for name in graph.types if name.endswith(".spikes"))}

    def count(self, op: Op, read: tuple[IntArray, ...]) -> None:
        """Add an op's operations."""
        self.operations[op.name] += count_operations(self.graph, op, read)

    def watch(self, name: str, value: NDArray[np.integer]) -> None:
        """Add a value's zeros."""
        if name in self.watched:
            self.sizes[name] += value.size
            self.zeros[name] += value.size - int(np.count_nonzero(value))

    def layer(self, population: Population, samples: int) -> LayerEnergy | None:
        """Return what a population did, None if it computes nothing."""
        ops = population.ops
        dense = sum(dense_operations(self.graph, op) for op in ops) * samples
        spikes = [name for op in ops for name in op.outputs if name.endswith(".spikes")]
        operations = sum((self.operations[op.name] for op in ops), Operations())
        if not dense and not spikes and operations == Operations():
            return None
        weights = [op.weight for op in ops if hasattr(op, "weight")]
        return LayerEnergy(
            population.name,
            dense,
            operations,
            sum(self.sizes[name] for name in spikes),
            sum(self.zeros[name] for name in spikes),
            sum(weight.size for weight in weights),
            sum(int((weight == 0).sum()) for weight in weights),
        )

    def maps(self, samples: int) -> tuple[AttentionMap, ...]:
        """Return every attention map."""
        found = []
        for scores in self.scores:
            denoised = self.tables.get(scores)
            dense = dense_operations(self.graph, self.readers[denoised or scores]) * samples
            after = None if denoised is None else self.zeros[denoised]
            found.append(AttentionMap(scores.rsplit(".", 1)[0], self.sizes[scores], self.zeros[scores], after, dense))
        return tuple(found)
