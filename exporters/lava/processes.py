"""Which populations share one process, and what each process computes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import InputTable, Op, Readout
from ds2ta_deploy.graph.populations import Population, group

#: Most values that one process receives.
MAX_PORTS = 3


@dataclass(frozen=True, eq=False)
class LeafProcess:
    """One leaf process: populations that run in one operating-system process.

    Attributes:
        name: of the population with the neuron, or of the single op.
        kind: ``Encoder``, the population's kind, ``Readout`` or ``Elementwise``.
        block: the part of the network it belongs to.
        ops: in order.
        inputs: names of the values that it receives.
        output: name of the one value that it sends.

    """

    name: str
    kind: str
    block: str
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    output: str


def leaf_processes(graph: Graph, stock: Collection[str] = ()) -> list[LeafProcess]:
    """Group the graph's populations into processes, few of them: Lava starts an operating-system process for each.

    Pooling, residual sums and reshaping join the population whose value only they read; the input table joins the
    first layer, and together they are the encoder. A population of stock processes stays alone, because Lava's own
    processes compute nothing besides; what would have joined it is a process behind it.

    Args:
        graph: what to cut into processes.
        stock: names of the populations that run on Lava's own processes (see ``lowering.plan``).

    Ensures: every op is in one process, a process sends one value, and the order is one in which they can run.

    Raises:
        UnsupportedError: DS2TA-241 for a process that would send several values or receive more than three.

    """
    populations = group(graph)
    readers: dict[str, list[Population]] = {}
    for population in populations:
        for name in population.inputs:
            readers.setdefault(name, []).append(population)
    made_by: dict[str, list[Population]] = {}
    members: list[list[Population]] = []
    for population in populations:
        joined = next((made_by[name] for name in _joinable(population, readers, made_by)), None)
        if joined is None:
            joined = []
            members.append(joined)
        joined.append(population)
        if population.name not in stock:
            made_by.update(dict.fromkeys(population.outputs, joined))
    position = {op.name: index for index, op in enumerate(graph)}
    leaves = [_leaf(graph, parts, readers) for parts in members]
    problems = [problem for leaf in leaves for problem in _misfits(leaf)]
    if problems:
        raise UnsupportedError(problems)
    return sorted(leaves, key=lambda leaf: position[leaf.ops[-1].name])


def _joinable(population: Population, readers: dict[str, list[Population]], made_by: dict[str, list[Population]]) -> Iterator[str]:
    """Yield the values whose maker this population can join, the last made first."""
    order = list(made_by)
    for name in sorted((name for name in population.inputs if name in made_by), key=order.index, reverse=True):
        behind_input = all(isinstance(part.ops[0], InputTable) for part in made_by[name])
        elementwise = population.kind == "Single" and not isinstance(population.ops[-1], Readout)
        if readers[name] == [population] and (elementwise or behind_input):
            yield name


def _leaf(graph: Graph, parts: list[Population], readers: dict[str, list[Population]]) -> LeafProcess:
    made = {name for part in parts for name in part.outputs}
    received = tuple(dict.fromkeys(name for part in parts for name in part.inputs if name not in made))
    sent = [name for name in made if name == graph.output or any(reader not in parts for reader in readers.get(name, []))]
    chief = next((part for part in parts if part.kind != "Single"), parts[0])
    ops = tuple(op for part in parts for op in part.ops)
    kind: str = chief.kind
    if isinstance(ops[0], InputTable):
        kind = "Encoder"
    elif kind == "Single":
        kind = "Readout" if isinstance(ops[-1], Readout) else "Elementwise"
    if len(sent) != 1:
        raise UnsupportedError(Problem("DS2TA-241", f"would send {len(sent)} values from one process", chief.name))
    return LeafProcess(chief.name, kind, _block(chief.name), ops, received, sent[0])


def _block(name: str) -> str:
    """``blocks.0`` of ``blocks.0.attn.q``, ``patch`` of ``patch.stages.0``."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def _misfits(leaf: LeafProcess) -> Iterator[Problem]:
    if len(leaf.inputs) > MAX_PORTS:
        yield Problem("DS2TA-241", f"would receive {len(leaf.inputs)} values, a process has at most {MAX_PORTS} in-ports", leaf.name)
