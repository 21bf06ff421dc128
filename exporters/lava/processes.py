"""Which populations share one process, and what each process computes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import lcm

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.lava.ds2ta_lava.schedule import delay_of
from ds2ta_deploy.exporters.lava.grouping import MAX_PORTS, Parts, chunk_spans, parts_of
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op, Readout
from ds2ta_deploy.graph.populations import Population, kind_of


@dataclass(frozen=True, eq=False)
class LeafProcess:
    """One leaf process: populations that run in one operating-system process.

    Attributes:
        name: of the population that it is built around, or of the single op.
        kind: ``Encoder``, the kind of population that its ops make together, ``Readout`` or ``Elementwise``.
        block: the part of the network it belongs to.
        ops: in order.
        inputs: names of the values that it receives.
        output: name of the one value that it sends.
        delay: Lava steps by which it sends later than it receives.

    """

    name: str
    kind: str
    block: str
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    output: str
    delay: int


def leaf_processes(graph: Graph, stock: Collection[str] = ()) -> list[LeafProcess]:
    """Group the graph's populations into processes, few of them: Lava starts an operating-system process for each.

    Args:
        graph: what to cut into processes.
        stock: names of the populations that run on Lava's own processes (see ``lowering.plan``). Each stays alone, because
            these compute nothing besides; what would have joined it is a process behind it.

    Ensures: every op is in one process, a process sends one value, and the order is one in which they can run.

    Raises:
        UnsupportedError: DS2TA-241 for a process that would send several values, receive more than it has in-ports, or
            wait for itself.

    """
    spans = chunk_spans(graph)
    leaves = [_leaf(graph, parts, spans, stock) for parts in parts_of(graph, stock)]
    position = {op.name: index for index, op in enumerate(graph)}
    leaves.sort(key=lambda leaf: position[leaf.ops[-1].name])
    problems = [*_waits_for_itself(graph, leaves), *(problem for leaf in leaves for problem in _misfits(graph, leaf))]
    if problems:
        raise UnsupportedError(problems)
    return leaves


def _leaf(graph: Graph, parts: Parts, spans: dict[str, int], stock: Collection[str]) -> LeafProcess:
    position = {op.name: index for index, op in enumerate(graph)}
    ops = tuple(sorted((op for part in parts for op in part.ops), key=lambda op: position[op.name]))
    made = [name for op in ops for name in op.outputs]
    received = tuple(dict.fromkeys(name for op in ops for name in op.inputs if name not in made))
    inside = {op.name for op in ops}
    read = {name for op in graph if op.name not in inside for name in op.inputs}
    sent = [name for name in made if name == graph.output or name in read]
    chief = _chief(parts)
    if len(sent) != 1:
        raise UnsupportedError(Problem("DS2TA-241", f"would send {len(sent)} values from one process", chief.name))
    delay = delay_of(stock=chief.name in stock, block=lcm(*(spans[name] for name in made)))
    return LeafProcess(chief.name, _kind(graph, ops, received), _block(chief.name), ops, received, sent[0], delay)


def _chief(parts: Parts) -> Population:
    """The readout, else the first population with weights, else the first with a neuron, else the first."""
    ranks = {"SpikingNeuron": 2, "Single": 3}
    return min(parts, key=lambda part: 0 if isinstance(part.ops[-1], Readout) else ranks.get(part.kind, 1))


def _kind(graph: Graph, ops: tuple[Op, ...], received: tuple[str, ...]) -> str:
    if graph.input_name in received:
        return "Encoder"
    if any(isinstance(op, Readout) for op in ops):
        return "Readout"
    kind = kind_of(ops)
    return "Elementwise" if kind == "Single" else kind


def _block(name: str) -> str:
    """``blocks.0`` of ``blocks.0.attn.q``, ``patch`` of ``patch.stages.0``."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def _misfits(graph: Graph, leaf: LeafProcess) -> Iterator[Problem]:
    if len(leaf.inputs) > MAX_PORTS:
        yield Problem("DS2TA-241", f"would receive {len(leaf.inputs)} values, a process has at most {MAX_PORTS} in-ports", leaf.name)
    if graph.input_name in leaf.inputs and len(leaf.inputs) > 1:
        yield Problem("DS2TA-241", "would receive spikes beside the input, which only a process outside the cores reads", leaf.name)


def _waits_for_itself(graph: Graph, leaves: list[LeafProcess]) -> Iterator[Problem]:
    """Chunks alone can do this: whoever shares them is one process, even with another between them."""
    known = {graph.input_name}
    for leaf in leaves:
        if not known.issuperset(leaf.inputs):
            yield Problem(
                "DS2TA-241", "would wait for a value that is made from its own: it shares chunks with what is behind it", leaf.name
            )
        known.add(leaf.output)
