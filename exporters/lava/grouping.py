"""Which populations go into one process: few processes, each of which sends one value and receives few."""

from collections.abc import Collection, Iterable
from itertools import pairwise

from ds2ta_deploy.exporters.lava.ds2ta_lava.timing import span_behind
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Conv2d, InputTable, Lif, Linear, MatMul, Op, Readout, TemporalWindow
from ds2ta_deploy.graph.populations import Population, group

#: Most values that one process receives.
MAX_PORTS = 3

#: Ops that begin a process: what they weigh, another process sends.
_WEIGHTS = (Conv2d, Linear, MatMul, Readout)

Parts = tuple[Population, ...]


def parts_of(graph: Graph, stock: Collection[str] = ()) -> list[Parts]:
    """Return the populations of each process, both in graph order.

    1. What is made of chunks of time steps is not there in every step, so it never passes between processes: whoever
       makes it and whoever reads it are one.
    2. What has no weights (pooling, sums, reshaping, neurons on a stream) joins the process whose value only it reads.
    3. What is no population of its own (a neuron on a stream, the input table, a product that is added to another)
       joins the process that alone reads it.

    By 2 and 3, a process is extended only by the one that all it sends goes to; so none can come to wait for itself.

    Args:
        graph: what to cut into processes.
        stock: names of populations that stay alone.

    """
    populations = group(graph)
    draft = _Draft(graph, populations, [index for index, population in enumerate(populations) if population.name in stock])
    draft.join_chunks()
    for number in range(len(populations)):
        draft.join_maker(number)
    for number in reversed(range(len(populations))):
        draft.join_reader(number)
    return [tuple(populations[index] for index in members) for members in draft.members.values()]


def chunk_spans(graph: Graph) -> dict[str, int]:
    """Return for every value how many time steps one array of it covers: 1, or those of a chunk."""
    spans = {graph.input_name: 1}
    for op in graph:
        span = span_behind(type(op).__name__, getattr(op, "steps", 1), [spans[name] for name in op.inputs])
        spans.update(dict.fromkeys(op.outputs, span))
    return spans


class _Draft:
    """Processes in the making: each population's process, by the number of the last population in it that was there first."""

    def __init__(self, graph: Graph, populations: list[Population], alone: list[int]) -> None:
        self.graph, self.populations = graph, populations
        self.alone = frozenset(alone)
        self.members: dict[int, list[int]] = {number: [number] for number in range(len(populations))}
        self.process = list(range(len(populations)))
        self.maker = {name: number for number, population in enumerate(populations) for name in population.outputs}
        self.readers: dict[str, list[int]] = {}
        for number, population in enumerate(populations):
            for name in population.inputs:
                self.readers.setdefault(name, []).append(number)

    def join_chunks(self) -> None:
        """Make one process of all that exchange values in chunks."""
        spans = chunk_spans(self.graph)
        for name, maker in self.maker.items():
            if spans[name] > 1:
                for first, second in pairwise([maker, *self.readers.get(name, [])]):
                    self._merge(self.process[first], self.process[second])

    def join_maker(self, number: int) -> None:
        """Let the process of a population without weights join the one before it, the last made first."""
        process = self.process[number]
        if process != number or self._has(process, (*_WEIGHTS, InputTable)):
            return
        makers = [self.process[self.maker[name]] for name in self._received([process]) if name in self.maker]
        for maker in sorted(set(makers), reverse=True):
            if self._only_reader(maker) == process and self._fits(maker, process):
                self._merge(maker, process)
                return

    def join_reader(self, number: int) -> None:
        """Let a process without weights, or of mere products, join the one behind it."""
        process = self.process[number]
        if process != number or (self._has(process, _WEIGHTS) and self._has(process, (Lif, TemporalWindow))):
            return
        reader = self._only_reader(process)
        if reader is not None and self._fits(process, reader):
            self._merge(process, reader)

    def _merge(self, first: int, second: int) -> None:
        """Put two processes together, under the number of the later one."""
        if first != second:
            kept, gone = max(first, second), min(first, second)
            self.members[kept] = sorted(self.members[kept] + self.members.pop(gone))
            for index in self.members[kept]:
                self.process[index] = kept

    def _fits(self, first: int, second: int) -> bool:
        """Whether two processes can be one: few ports, pixels from nowhere but the input, and no stock process."""
        received = self._received([first, second])
        few = len(received) == 1 if self.graph.input_name in received else len(received) <= MAX_PORTS
        return few and self.alone.isdisjoint([first, second])

    def _has(self, process: int, kinds: tuple[type[Op], ...]) -> bool:
        return any(isinstance(op, kinds) for index in self.members[process] for op in self.populations[index].ops)

    def _received(self, processes: Iterable[int]) -> set[str]:
        inside = [self.populations[index] for process in processes for index in self.members[process]]
        return {name for part in inside for name in part.inputs} - {name for part in inside for name in part.outputs}

    def _only_reader(self, process: int) -> int | None:
        """The process that alone reads what this one sends; None when there are more, or the network sends it."""
        sent = [name for index in self.members[process] for name in self.populations[index].outputs]
        readers = {self.process[index] for name in sent for index in self.readers.get(name, [])} - {process}
        return readers.pop() if len(readers) == 1 and self.graph.output not in sent else None
