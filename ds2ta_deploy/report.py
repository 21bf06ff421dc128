"""What an export amounts to: operations, memory, ranges, firing rates. Plain data, no pictures."""

from typing import Any

import numpy as np

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Conv2d, Lif, Linear, Lookup, MatMul, Op, Readout, TemporalWindow
from ds2ta_deploy.graph.populations import group
from ds2ta_deploy.graph.ranges import PROFILES, beyond_float32, prove
from ds2ta_deploy.parity import ParityReport


def build_report(graph: Graph, parity: ParityReport) -> dict[str, Any]:
    """Return the report as plain data; equal exports give equal reports (it holds no times, no paths).

    ``dense_operations`` are the multiply-accumulates of one sample on an engine that skips nothing.
    """
    profile = PROFILES[str(graph.facts["profile"])]
    return {
        "schema": "ds2ta-report/1",
        "graph": graph.name,
        "facts": graph.facts,
        "memory": memory(graph),
        "dense_operations": sum(dense_operations(graph, op) for op in graph),
        "populations": [_population(graph, entry.name, entry.kind, entry.ops) for entry in group(graph)],
        "ranges": {
            entry.name: {"low": entry.low, "high": entry.high, "bits": entry.bits, "limit": entry.limit} for entry in prove(graph, profile)
        },
        "beyond_float32": beyond_float32(graph),
        "firing_rates": {name: round(rate, 6) for name, rate in parity.firing_rates.items()},
        "silent": sorted(parity.silent),
        "parity": [{"runtime": r.runtime, "values": r.values, "integers": r.integers, "different": r.different} for r in parity.results],
    }


def memory(graph: Graph) -> dict[str, int]:
    """Bytes of what is stored: weights, biases, thresholds, tables."""
    totals = dict.fromkeys(("weight", "bias", "threshold", "table"), 0)
    for op in graph:
        for name in totals:
            array = getattr(op, name, None)
            if isinstance(array, np.ndarray):
                totals[name] += array.nbytes
    return totals


def dense_operations(graph: Graph, op: Op) -> int:
    """Multiply-accumulates of one op for one sample when nothing is skipped."""
    size = int(np.prod([size or 1 for size in graph.types[op.outputs[0]].shape]))
    match op:
        case Linear() | Conv2d():
            return size * int(np.prod(op.weight.shape[1:]))
        case MatMul():
            return size * (graph.types[op.inputs[0]].shape[-1] or 0)
        case Readout():
            tokens = graph.types[op.inputs[0]].shape
            return size * (tokens[-1] or 0) * (tokens[0] or 0) * (tokens[2] or 0)
        case _:
            return 0


def _population(graph: Graph, name: str, kind: str, members: tuple[Op, ...]) -> dict[str, Any]:
    """Describe one population by what its ops hold."""
    entry: dict[str, Any] = {"name": name, "kind": kind, "ops": [type(op).__name__ for op in members]}
    entry["shape"] = list(graph.types[members[-1].outputs[0]].shape)
    for op in members:
        match op:
            case Linear() | Conv2d() | Readout():
                entry |= {"weight_shape": list(op.weight.shape), "weight_range": [int(op.weight.min()), int(op.weight.max())]}
            case TemporalWindow() if op.taps > 1:
                entry |= {
                    "taps": op.taps,
                    "decay": op.decay,
                    "guard_bits": op.guard_bits,
                    "window_exact": op.guard_bits >= op.decay * (op.taps - 1),
                }
            case Lif():
                entry |= {
                    "threshold_range": [int(op.threshold.min()), int(op.threshold.max())],
                    "leak": [op.leak_numerator, op.leak_shift],
                    "leak_exact": op.exact,
                }
            case Lookup():
                entry |= {"table_range": [int(op.table.min()), int(op.table.max())], "table_entries": int(op.table.shape[1])}
            case _:
                continue
    return entry
