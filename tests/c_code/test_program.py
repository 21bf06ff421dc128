"""Layouts, timing, grouping and memory of graphs; what has no C form."""

import dataclasses

import builders
import numpy as np
import pytest
import stream_graph as streams
from builders import STEPS, build_small_graph
from c_support import different
from support import replaced, spiking_chain

from ds2ta_deploy.c_code.calls import readers_of
from ds2ta_deploy.c_code.layout import VIEWS
from ds2ta_deploy.c_code.program import build_program
from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph


@pytest.fixture(scope="module", params=["small", "stream", "small frames", "stream frames"])
def program(request):
    build = streams.build_stream_graph if "stream" in request.param else build_small_graph
    return build_program(build(still="frames" not in request.param))


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_a_layout_puts_every_element_where_the_strides_say(program):
    for layout in program.layouts.values():
        numbered = np.arange(layout.elements).reshape(layout.in_memory).transpose(np.argsort(layout.order))
        assert numbered.shape == layout.sizes
        assert tuple(step // numbered.itemsize for size, step in zip(numbered.shape, numbered.strides, strict=True) if size > 1) == tuple(
            step for size, step in zip(layout.sizes, layout.strides, strict=True) if size > 1
        )


def test_a_view_is_its_input_element_for_element(program):
    """What a view's class moves, its layout finds in the same place of memory."""
    checked = 0
    for op in program.graph:
        if isinstance(op, VIEWS):
            source, view = (program.layouts[name] for name in (op.inputs[0], op.outputs[0]))
            assert source.root == view.root
            steps = program.graph.types[op.inputs[0]].shape[0]
            in_memory = np.arange(steps * source.elements).reshape(steps, 1, *source.in_memory)
            counted = in_memory.transpose(0, 1, *(2 + place for place in np.argsort(source.order)))
            made = op.execute(counted)[0]
            flat = made.transpose(0, 1, *(2 + axis for axis in view.order)).reshape(-1)
            repeats = made.size // in_memory.size
            assert np.array_equal(flat, np.tile(np.arange(in_memory.size), repeats))
            checked += 1
    assert checked > 2


# --- timing and calls ------------------------------------------------------------------------------------------------


def test_every_op_that_computes_is_called_once_after_what_it_reads(program):
    called = [op.name for call in program.calls for op in call.ops]
    assert sorted(called) == sorted(op.name for op in program.graph if not isinstance(op, VIEWS))
    position = {name: index for index, name in enumerate(called)}
    for root, readers in readers_of(program.graph, program.layouts).items():
        makers = [op for op in program.graph if root in op.outputs]
        assert all(position[makers[0].name] < position[reader.name] for reader in readers if makers)


def test_the_ops_of_a_layer_run_together(small_graph):
    groups = {call.ops[-1].name: [type(op).__name__ for op in call.ops] for call in build_program(small_graph).calls}
    assert groups["patch.residual.add"] == ["Conv2d", "TemporalWindow", "Lif", "Add"]
    assert groups["patch.stages.0.window"] == ["Conv2d", "TemporalWindow"]  # once; its neuron runs at every step
    queries, scores = ["Linear", "TemporalWindow", "Lif"], ["MatMul", "Lookup", "MatMul"]
    assert groups["blocks.0.attn"] == [*queries, *scores, "TemporalWindow", "Lif"]  # a token at a time


def test_chunks_wait_until_they_are_full():
    program = build_program(streams.build_stream_graph())
    assert (program.timing.steps, program.timing.chunk, program.timing.phases) == (STEPS, streams.CHUNK, 2)
    moments = program.timing.moments
    assert (moments[f"{streams.MASKED}.masked"].rate, moments[f"{streams.MASKED}.masked"].phase) == ("frame", 0)
    assert (moments[f"{streams.CHUNKED}.key_value"].rate, moments[f"{streams.CHUNKED}.key_value"].phase) == ("chunk", 1)
    assert (moments["head.logits"].rate, moments["head.logits"].phase) == ("frame", 1)
    assert moments["input_values"].rate == "once"


# --- memory ----------------------------------------------------------------------------------------------------------


def schedule(program):
    """Yield the calls of a sample in the order of ``ds2ta_step``, each with its number of the step or chunk."""
    chunk = program.timing.chunk
    for t in range(program.timing.steps):
        yield from ((call, 0) for call in program.calls if call.moment.rate == "once" and t == 0)
        yield from ((call, t) for call in program.calls if call.moment.rate == "frame" and call.moment.phase == 0)
        for phase in range(1, program.timing.phases if t % chunk == chunk - 1 else 1):
            yield from ((call, t // chunk) for call in program.calls if (call.moment.rate, call.moment.phase) == ("chunk", phase))
            for late in range(t - chunk + 1, t + 1):
                yield from ((call, late) for call in program.calls if (call.moment.rate, call.moment.phase) == ("frame", phase))


def cells(program, call, number, name):
    """Return the places that a call touches for a value, and the steps of the value's root that lie there."""
    root = program.layouts[name].root
    region, chunk = program.memory.values[root], program.timing.chunk
    rates = program.timing.moments[root].rate, call.moment.rate
    size = program.layouts[name].elements
    if region.row_only:
        return [(region.offset, region.elements, (root, number))]
    match rates:
        case ("frame", "frame"):
            return [(region.offset + (number % region.frames) * size, size, (root, number))]
        case ("frame", "chunk"):
            return [(region.offset + i * (size // chunk), size // chunk, (root, number * chunk + i)) for i in range(chunk)]
        case ("chunk", "frame"):
            return [(region.offset + (number % chunk) * size, size, (root, number // chunk))]
        case ("once", _):
            return [(region.offset, size, (root, 0))]
        case _:
            return [(region.offset, size, (root, number))]


def test_what_a_call_reads_is_what_was_written_there(program):
    """Every call of a whole sample in order, on memory that remembers whose value each place holds, and of which step."""
    memory = {dtype: np.full(size, None, object) for dtype, size in program.memory.sizes.items()}
    given = program.graph.input_name

    def check(call, number, inside):
        """Return how many pieces are read; each of them holds what it should."""
        names = [name for op in call.ops for name in op.inputs if program.layouts[name].root not in {*inside, given}]
        pieces = [(name, *piece) for name in names for piece in cells(program, call, number, name)]
        for name, offset, size, owner in pieces:
            held = memory[program.memory.values[program.layouts[name].root].dtype][offset : offset + size]
            assert all(entry == owner for entry in held), (name, number)
        return len(pieces)

    reads = 0
    for call, number in schedule(program):
        inside = [output for op in call.ops for output in op.outputs]
        reads += check(call, number, inside)
        for name in (output for output in inside if output in program.memory.values):  # logits are state
            for offset, size, owner in cells(program, call, number, name):
                for place in range(offset, offset + size):
                    memory[program.memory.values[name].dtype][place] = owner
        check(call, number, inside)  # rows are read while rows are written: nothing that is read lies where the call writes
    assert reads > 20


def test_state_lies_apart_from_values_and_of_itself(program):
    for dtype in ("int32", "int16", "uint8"):
        regions = [region for region in program.memory.state.values() if region.dtype == dtype]
        taken = [place for region in regions for place in range(region.offset, region.offset + region.elements)]
        assert len(taken) == len(set(taken))
        first = min((region.offset for region in program.memory.values.values() if region.dtype == dtype), default=len(taken))
        assert first >= len(taken)
        assert all(
            region.offset + region.elements * region.frames <= program.memory.sizes[dtype]
            for region in program.memory.values.values()
            if region.dtype == dtype
        )


def test_what_is_kept_between_steps_is_as_narrow_as_the_proof_allows(small_graph):
    state = build_program(small_graph).memory.state
    assert state["patch.stages.0", "carried"].dtype == "int32"
    assert state["patch.position", "carried"].dtype == "int16"


# --- what has no C form ----------------------------------------------------------------------------------------------


def refused(graph, code):
    with pytest.raises(UnsupportedError, match=code) as caught:
        build_program(graph)
    return caught.value.problems


def test_sums_that_fit_but_whose_parts_do_not():
    """Inputs that are always 128 and cancel: the proof sees a small sum, the kernel a large first half."""
    channels = 1200
    weight = np.zeros((1, channels), np.int16)
    weight[0, ::2], weight[0, 1::2] = 2**15 - 1, -(2**15 - 1)
    kind = ops.ValueType((2, None, 1, 1, 2), "uint8")
    parts = [
        ops.Conv2d("conv", ("images",), ("product",), weight=np.ones((channels, 1, 1, 2), np.int8)),
        ops.Threshold("always", ("product",), ("count.0",), threshold=np.full(2, -1, np.int32)),
        *(ops.Add(f"double.{i}", (f"count.{i}",) * 2, (f"count.{i + 1}",)) for i in range(7)),
        ops.Tokens("flatten", ("count.7",), ("tokens",)),
        ops.Linear("linear", ("tokens",), ("linear.product",), weight=weight),
        ops.Readout("head", ("tokens",), ("logits",), weight=np.ones((2, channels), np.int8), bias=np.zeros(2, np.int32)),
    ]
    graph = Graph("cancel", "images", kind, tuple(parts), "logits", 1.0, {})
    assert (graph.ranges["linear.product"].minimum, graph.ranges["linear.product"].maximum) == (0, 0)
    (problem,) = refused(graph, "DS2TA-220.*partial sums")
    assert problem.where == "linear.product"
    build_program(replaced(graph, "linear", weight=weight // 2))


def test_chunks_of_two_lengths():
    graph = streams.build_stream_graph()
    changed = [dataclasses.replace(op, steps=4) if isinstance(op, ops.Chunk | ops.Unchunk) and ".q." in op.name else op for op in graph]
    other = [
        ops.SplitHeads("a.split", ("blocks.0.attn.q.spikes",), ("a._h",), heads=2),
        ops.Chunk("a.chunk", ("a._h",), ("a._c",), steps=4),
        ops.Unchunk("a.unchunk", ("a._c",), ("a._u",), steps=4),
    ]
    assert len(changed) == len(graph.ops)
    problems = refused(dataclasses.replace(graph, ops=(*graph.ops, *other)), "DS2TA-251.*chunks of 2 and 4")
    assert len(problems) == 1


def test_heads_made_of_a_picture():
    graph, _ = spiking_chain(2)
    merged = ops.MergeHeads("merge", ("conv.spikes",), ("merged",))
    (problem,) = refused(dataclasses.replace(graph, ops=(*graph.ops, merged)), "DS2TA-250")
    assert problem.where == "merge"


def test_an_output_that_is_no_readout():
    graph, _ = spiking_chain(2)
    assert refused(dataclasses.replace(graph, output="linear.spikes"), "DS2TA-252")
    second = dataclasses.replace(graph.ops[-1], name="again", outputs=("again.logits",))
    assert refused(dataclasses.replace(graph, ops=(*graph.ops, second)), "DS2TA-252")


def test_an_op_without_a_kernel():
    class Strange(ops.Add):
        pass

    class Stranger(ops.Op):
        INPUT_RANKS = ((5,),)
        INPUT_DTYPES = (("uint8",),)

        def infer_types(self, inputs):
            return tuple(inputs)

        def infer_ranges(self, inputs, types):
            return tuple(inputs)

        def execute(self, *inputs):
            return inputs

    graph, _ = spiking_chain(2)
    odd = Stranger("odd", ("conv.spikes",), ("odd.out",))
    (problem,) = refused(dataclasses.replace(graph, ops=(*graph.ops, odd)), "DS2TA-250")
    assert problem.what == "the op Stranger has no C form"
    assert isinstance(Strange("s", ("a", "b"), ("c",)), ops.Add)


def test_a_membrane_that_others_read_is_kept_whole():
    """Legal in a graph: another neuron on the membrane of the first."""
    draft = builders.Draft(builders.small_inputs(), 5)
    table = np.sort(draft.integers(500, (builders.CHANNELS, 256), np.int16), axis=1)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=1)
    draft.conv("conv", value, 4, first=True, repeat=True)
    value = draft.add(ops.Tokens, "flatten", [draft.neuron("second", "conv.membrane")], "tokens")
    weight = draft.integers(127, (builders.CLASSES, 4), np.int8)
    draft.add(ops.Readout, "head", [value], "head.logits", weight=weight, bias=np.zeros(builders.CLASSES, np.int32))
    kind = ops.ValueType((None, builders.HEIGHT, builders.WIDTH, builders.CHANNELS), "uint8")
    graph = Graph("membrane", "images", kind, tuple(draft.ops), "head.logits", 1.0, {"time_steps": STEPS})
    builders.assert_fires(builders.trace_of(graph, builders.small_inputs()))
    assert not different(graph, builders.small_inputs())
