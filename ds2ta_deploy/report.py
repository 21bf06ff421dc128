"""What an export amounts to: operations, memory, ranges, firing rates. Plain data, no pictures."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import ParityEntry
from ds2ta_deploy.c_code.footprint import Footprint
from ds2ta_deploy.graph.formats import format_name, stored_bytes
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.graph.ops import Chunk, Conv2d, Lif, Linear, Lookup, Readout, TemporalWindow, Threshold, TimeMix
from ds2ta_deploy.graph.populations import Population, group
from ds2ta_deploy.graph.ranges import beyond_float32, profile_of, prove
from ds2ta_deploy.parity import ParityReport


class PopulationEntry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a report says of one population; what does not apply is left out."""

    name: str
    kind: str
    ops: tuple[str, ...]
    shape: tuple[int | None, ...]
    weight_shape: tuple[int, ...] | None = None
    weight_range: tuple[int, int] | None = None
    threshold_range: tuple[int, int] | None = None
    taps: int | None = None
    decay: int | None = None
    guard_bits: int | None = None
    window_exact: bool | None = None
    leak: tuple[int, int] | None = None
    leak_exact: bool | None = None
    table_range: tuple[int, int] | None = None
    table_entries: int | None = None
    dilation: int | None = None
    chunk_steps: int | None = None
    matrix_range: tuple[int, int] | None = None


class RangeEntry(msgspec.Struct):
    """The proven interval of one value, the bits it needs, and those it has."""

    low: int
    high: int
    bits: int
    limit: int


class Report(msgspec.Struct, kw_only=True):
    """What an export amounts to; equal exports give equal reports (no times, no paths).

    Attributes:
        schema: version of this format.
        graph: name of the graph.
        facts: the graph's facts.
        memory: bytes of weights, biases, thresholds, tables and matrices over time.
        dense_operations: multiply-accumulates of one sample on an engine that skips nothing.
        populations: in graph order.
        ranges: proven interval of every value.
        beyond_float32: values that float32 cannot hold exactly over their whole interval.
        firing_rates: mean of every ``*.spikes`` over the golden inputs.
        silent: layers that fire too little or too much for the comparison to say much.
        parity: what was compared.
        differences: runtime -> value -> integers that differ; absent where none does.
        hidden: runtime -> values that it computes in another form and cannot give; absent where every runtime gives all.
        c: what the C code takes; None where none was exported.

    """

    schema: Literal["ds2ta-report/1"] = "ds2ta-report/1"
    graph: str
    facts: dict[str, str | int | float]
    memory: dict[str, int]
    dense_operations: int
    populations: tuple[PopulationEntry, ...]
    ranges: dict[str, RangeEntry]
    beyond_float32: tuple[str, ...]
    firing_rates: dict[str, float]
    silent: tuple[str, ...]
    parity: tuple[ParityEntry, ...]
    differences: dict[str, dict[str, int]] | msgspec.UnsetType = msgspec.UNSET
    hidden: dict[str, tuple[str, ...]] | msgspec.UnsetType = msgspec.UNSET
    c: Footprint | None = None

    def hidden_of(self, runtime: str) -> tuple[str, ...]:
        """Values that a runtime cannot give."""
        return () if self.hidden is msgspec.UNSET else self.hidden.get(runtime, ())

    def different_in(self, runtime: str, value: str) -> int:
        """How many integers of a value differ on a runtime."""
        return 0 if self.differences is msgspec.UNSET else self.differences.get(runtime, {}).get(value, 0)


class StoredWeights(msgspec.Struct, frozen=True):
    """How a population's weights are stored in the graph file.

    Attributes:
        formats: names of their formats; a population with several weighted ops may have several.
        bytes: that they take.

    """

    formats: tuple[str, ...]
    bytes: int


def stored_weights(graph: Graph) -> dict[str, StoredWeights]:
    """Return how the weights of every population that has some are stored, by the population's name.

    Example:
        >>> stored_weights(graph)["blocks.0.mlp.fc1"]  # doctest: +SKIP
        StoredWeights(formats=('int4',), bytes=8192)

    """
    weights = {entry.name: [op.weight for op in entry.ops if isinstance(op, Linear | Conv2d | Readout)] for entry in group(graph)}
    return {
        name: StoredWeights(tuple(sorted({format_name(weight) for weight in held})), sum(map(stored_bytes, held)))
        for name, held in weights.items()
        if held
    }


def build_report(graph: Graph, parity: ParityReport, c: Footprint | None = None) -> Report:
    """Describe a graph and how it was verified.

    Raises:
        UnsupportedError: when the graph's ranges do not fit its profile.

    """
    return Report(
        graph=graph.name,
        facts=graph.facts,
        memory=memory(graph),
        dense_operations=sum(dense_operations(graph, op) for op in graph),
        populations=tuple(_population(graph, entry) for entry in group(graph)),
        ranges={entry.name: RangeEntry(entry.low, entry.high, entry.bits, entry.limit) for entry in prove(graph, profile_of(graph))},
        beyond_float32=tuple(beyond_float32(graph)),
        firing_rates={name: round(rate, 6) for name, rate in parity.firing_rates.items()},
        silent=tuple(sorted(parity.silent)),
        parity=parity.entries(),
        differences={result.runtime: result.differences for result in parity.results if result.differences} or msgspec.UNSET,
        hidden={result.runtime: result.hidden for result in parity.results if result.hidden} or msgspec.UNSET,
        c=c,
    )


def memory(graph: Graph) -> dict[str, int]:
    """Bytes of what is stored: weights, biases, thresholds, tables, matrices over time."""
    totals = dict.fromkeys(("weight", "bias", "threshold", "table", "matrix"), 0)
    for op in graph:
        for name in totals:
            array = getattr(op, name, None)
            if isinstance(array, np.ndarray):
                totals[name] += array.nbytes
    return totals


def _population(graph: Graph, population: Population) -> PopulationEntry:
    """Describe one population by what its ops hold."""
    members = population.ops
    entry = PopulationEntry(
        name=population.name,
        kind=population.kind,
        ops=tuple(type(op).__name__ for op in members),
        shape=graph.types[members[-1].outputs[0]].shape,
    )
    for op in members:
        match op:
            case Linear() | Conv2d() | Readout():
                entry.weight_shape, entry.weight_range = op.weight.shape, _extremes(op.weight)
                entry.dilation = op.dilation if isinstance(op, Conv2d) and op.dilation > 1 else None
            case TemporalWindow() if op.taps > 1:
                entry.taps, entry.decay, entry.guard_bits = op.taps, op.decay, op.guard_bits
                entry.window_exact = not op.drops_bits(graph.types[op.inputs[0]].shape[0] or 1)
            case Lif():
                entry.threshold_range = _extremes(op.threshold)
                entry.leak, entry.leak_exact = (op.leak_numerator, op.leak_shift), op.exact
            case Lookup():
                entry.table_range, entry.table_entries = _extremes(op.table), op.table.shape[1]
            case Threshold():
                entry.threshold_range = _extremes(op.threshold)
            case TimeMix():
                entry.matrix_range = _extremes(op.matrix)
            case Chunk():
                entry.chunk_steps = op.steps
            case _:
                continue
    return entry


def _extremes(array: NDArray[Any]) -> tuple[int, int]:
    return int(array.min()), int(array.max())
