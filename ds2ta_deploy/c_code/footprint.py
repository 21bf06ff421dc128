"""What a network in C takes: bytes of ROM and RAM, operations of a sample."""

from math import prod

import msgspec

from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.operations import dense_operations


class Footprint(msgspec.Struct, kw_only=True):
    """What a network in C takes.

    Attributes:
        rom_bytes: constants; code comes on top.
        ram_bytes: ``sizeof(ds2ta_state)``.
        state_bytes: of it, what lives from step to step: membranes, histories, sums.
        arena_bytes: of it, values, which share memory by lifetime.
        latency: time steps by which the logits lag behind the frames at most.
        multiply_accumulates: of one sample when nothing is skipped.
        neuron_updates: membranes that are advanced, over all steps of one sample.

    """

    rom_bytes: int
    ram_bytes: int
    state_bytes: int
    arena_bytes: int
    latency: int
    multiply_accumulates: int
    neuron_updates: int


def footprint(program: Program) -> Footprint:
    """Count; the compiler must come to the same sizes, and does not compile otherwise."""
    graph = program.graph
    sizes = {name: prod(size or 1 for size in kind.shape) for name, kind in graph.types.items()}
    return Footprint(
        rom_bytes=program.constant_bytes,
        ram_bytes=program.state_struct.itemsize,
        state_bytes=program.memory.state_bytes,
        arena_bytes=program.memory.arena_bytes,
        latency=program.timing.chunk - 1,
        multiply_accumulates=sum(dense_operations(graph, op) for op in graph),
        neuron_updates=sum(sizes[op.outputs[0]] for op in graph if isinstance(op, ops.Lif)),
    )
