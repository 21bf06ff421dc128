"""What the library has no kind of operation for is refused by name; what it has one for is told in full."""

import dataclasses

import builders
import numpy as np
import pytest
from native_support import Recipe, assert_native_equal, build, needs_library
from support import attention_on_counts, bias_only, lif, replaced

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.plan import Plan
from ds2ta_deploy.runtimes.native.translate import translate


def network(*parts, still=False, steps=2, output="head.logits", channels=2):
    """Return a graph of these ops over pictures or frames of 3x3 pixels."""
    shape = (None, 3, 3, channels) if still else (steps, None, 3, 3, channels)
    graph = Graph("made", "images", ops.ValueType(shape, "uint8"), tuple(parts), output, 1.0, {})
    assert graph.types  # well-formed
    return graph


def table(source="images", *, still=0, name="table", out="input_values"):
    return ops.InputTable(name, (source,), (out,), table=np.tile(np.arange(256, dtype=np.int16) - 100, (2, 1)), still=still)


def conv(name, source, *, dtype=np.int16, size=1):
    weight = np.ones((2, size, size, 2), dtype)
    return ops.Conv2d(f"{name}.weights", (source,), (f"{name}.product",), weight=weight)


def repeat(name, source, out, steps=2):
    return ops.Repeat(f"{name}.repeat", (source,), (out,), time_steps=steps)


def readout(source, name="head"):
    return ops.Readout(name, (source,), (f"{name}.logits",), weight=np.ones((3, 2), np.int8), bias=np.zeros(3, np.int32))


def tokens(source):
    return ops.Tokens("flatten", (source,), ("tokens",))


def encoder(name="a", source="input_values", *, still=False):
    """Return a convolution with bias and neuron."""
    if not still:
        return conv(name, source), bias_only(name, "product", 2), lif(name, f"{name}.current", [90, 300])
    return (
        *(conv(name, source), bias_only(name, "product", 2), repeat(name, f"{name}.current", f"{name}._repeated")),
        lif(name, f"{name}._repeated", [90, 300]),
    )


def second_window(name):
    again = ops.TemporalWindow(
        f"{name}.again", (f"{name}.current",), (f"{name}.later",), bias=np.array([7, 7], np.int32), taps=1, decay=0, guard_bits=0
    )
    return again, lif(name, f"{name}.later", [90, 300])


BODY = (table(), *encoder(), tokens("a.spikes"), readout("tokens"))

REFUSED = {
    "a repetition of spikes' currents": (
        network(
            *(table(still=1), *encoder(), conv("b", "a.spikes", dtype=np.int8), repeat("b", "b.product", "b._repeated")),
            *(lif("b", "b._repeated", [1, 1]), tokens("b.spikes"), readout("tokens")),
            still=True,
        ),
        "a",
    ),
    "neurons with different numbers of time steps": (
        network(
            *(table(still=1), *encoder(), *encoder("b", still=True), tokens("b.spikes"), readout("tokens")),
            still=True,
        ),
        "a",
    ),
    "a table of spikes": (
        network(
            *(table(), *encoder(), table("a.spikes", name="b.table", out="b.values"), *encoder("b", "b.values")),
            *(tokens("b.spikes"), readout("tokens")),
        ),
        "b.table",
    ),
    "a second readout": (network(*BODY, readout("tokens", "other")), "other"),
    "weights on raw pixels": (
        network(conv("a", "images", dtype=np.int8), lif("a", "a.product", [90, 300]), tokens("a.spikes"), readout("tokens")),
        "a",
    ),
    "pooling of raw pixels": (
        network(*BODY[:-1], ops.MaxPool2d("pool", ("images",), ("pooled",)), readout("tokens")),
        "pool",
    ),
    "a readout of raw pixels": (network(tokens("images"), readout("tokens")), "head"),
    "a repetition that may be asked for": (
        network(
            *(table(still=1), conv("a", "input_values"), bias_only("a", "product", 2), repeat("a", "a.current", "a.repeated")),
            *(lif("a", "a.repeated", [90, 300]), tokens("a.spikes"), readout("tokens")),
            still=True,
        ),
        "a.repeated",
    ),
}

#: Wirings that no larger kind fits: op by op.
APART = {
    "two windows in a row": network(
        *(table(), conv("a", "input_values"), bias_only("a", "product", 2), *second_window("a")),
        *(tokens("a.spikes"), readout("tokens")),
    ),
    "a repetition in front of the window": network(
        *(table(still=1), conv("a", "input_values"), repeat("a", "a.product", "a._shown")),
        *(bias_only("a", "_shown", 2), lif("a", "a.current", [90, 300]), tokens("a.spikes"), readout("tokens")),
        still=True,
    ),
    "a repetition of a single frame": network(
        *(table(), conv("a", "input_values"), bias_only("a", "product", 2), repeat("a", "a.current", "a._repeated", 5)),
        *(lif("a", "a._repeated", [90, 300]), tokens("a.spikes"), readout("tokens")),
        steps=1,
    ),
    "weights of 16 bits on spikes": network(
        *(table(), *encoder(), conv("b", "a.spikes"), lif("b", "b.product", [1, 1]), tokens("b.spikes"), readout("tokens")),
    ),
    "a product that two neurons read": network(
        *(table(), conv("a", "input_values"), lif("a", "a.product", [90, 300]), lif("b", "a.product", [91, 300])),
        *(ops.Add("sum", ("a.spikes", "b.spikes"), ("sum",)), tokens("sum"), readout("tokens")),
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_the_library_would_compute_otherwise_is_refused(why):
    graph, where = REFUSED[why]
    with pytest.raises(UnsupportedError) as caught:
        translate(graph)
    assert caught.value.problems[0].where == where
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-243"}


@needs_library
@pytest.mark.parametrize("wiring", APART)
def test_what_no_larger_kind_fits_runs_op_by_op(wiring):
    graph = APART[wiring]
    shape = tuple(4 if size is None else size for size in graph.input_type.shape)
    inputs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    builders.assert_fires(assert_native_equal(graph, inputs, (1, 2)))


@needs_library
@pytest.mark.parametrize("still", [False, True])
def test_the_same_ops_as_they_should_be_are_not_refused(still):
    graph = network(table(still=int(still)), *encoder(still=still), tokens("a.spikes"), readout("tokens"), still=still)
    shape = (4, 3, 3, 2) if still else (2, 4, 3, 3, 2)
    inputs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    builders.assert_fires(assert_native_equal(graph, inputs))


def test_everything_that_is_in_the_way_is_named_at_once():
    graph = network(
        *(table(), *encoder(), table("a.spikes", name="b.table", out="b.values"), *encoder("b", "b.values")),
        *(tokens("b.spikes"), readout("tokens"), readout("tokens", "other")),
    )
    with pytest.raises(UnsupportedError) as caught:
        translate(graph)
    assert [problem.where for problem in caught.value.problems] == ["b.table", "b", "other"]


@pytest.fixture
def attention():
    """Return the ops of the hand-made graph by name, to be changed."""
    graph = builders.build_small_graph()
    return graph, {op.name: op for op in graph}


@needs_library
def test_keys_and_queries_are_told_apart(attention):
    graph, _ = attention
    swapped = replaced(graph, "blocks.0.attn.query_key", inputs=("blocks.0.attn._k_heads", "blocks.0.attn._q_heads"))
    trace, straight = assert_native_equal(swapped, builders.small_inputs()), builders.trace_of(graph, builders.small_inputs())
    assert np.array_equal(trace["blocks.0.attn.scores"], straight["blocks.0.attn.scores"].swapaxes(-1, -2))
    assert not np.array_equal(trace["blocks.0.attn.context"], straight["blocks.0.attn.context"])


@needs_library
def test_the_keys_may_be_the_values(attention):
    graph, _ = attention
    changed = replaced(graph, "blocks.0.attn.map_value", inputs=("blocks.0.attn.denoised", "blocks.0.attn._k_heads"))
    assert_native_equal(changed, builders.small_inputs(), (1, 2))


@needs_library
def test_a_window_between_scores_and_table_is_an_operation_of_its_own(attention):
    graph, by_name = attention
    tokens_count = graph.types["blocks.0.attn.scores"].shape[-1]
    window = ops.TemporalWindow(
        "odd", ("blocks.0.attn.scores",), ("odd.scores",), bias=np.zeros(tokens_count, np.int32), taps=2, decay=8, guard_bits=0
    )
    lookup = dataclasses.replace(by_name["blocks.0.attn.denoiser"], inputs=("odd.scores",))
    parts = []
    for op in graph:
        parts += [window, lookup] if op.name == lookup.name else [op]
    changed = dataclasses.replace(graph, ops=tuple(parts))
    assert changed.types
    assert_native_equal(changed, builders.small_inputs(), (1, 2))


@needs_library
def test_the_splits_may_stand_anywhere(attention):
    graph, by_name = attention
    late = by_name["blocks.0.attn.split_v"]
    parts = []
    for op in graph:
        parts += [late, op] if op.name == "blocks.0.attn.map_value" else [op] if op.name != late.name else []
    changed = dataclasses.replace(graph, ops=tuple(parts))
    assert [op.name for op in changed] != [op.name for op in graph]
    assert_native_equal(changed, builders.small_inputs())


@needs_library
@pytest.mark.parametrize("counted", ["q", "k", "v", "qkv"])
def test_attention_on_counts_runs_op_by_op(counted):
    graph, inputs = attention_on_counts(1, counted=counted)
    assert_native_equal(graph, inputs, (1, 2))


@needs_library
@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        (Recipe(picture=(1, 1, 1), kernels=(17, 1)), "kernel of 17"),
        (Recipe(picture=(1, 1, 1), channels=(660, 1), kernels=(1, 5)), "too many channels"),
        (Recipe(picture=(1, 1, 1), width=1025, heads=1, weights="two bits"), "1 heads for 1025 channels"),
        (Recipe(picture=(1, 1, 1), steps=65), "65 time steps"),
    ],
)
def test_what_is_larger_than_the_librarys_limits_is_refused(recipe, what):
    graph, _ = build(recipe, batch=1)
    with pytest.raises(UnsupportedError, match=rf"DS2TA-243 \[extreme\]: the native library refuses it: .*{what}"):
        Plan(graph)


@needs_library
def test_counts_are_pooled():
    graph = network(
        *(table(), *encoder(), ops.Add("double", ("a.spikes", "a.spikes"), ("double",)), ops.MaxPool2d("pool", ("double",), ("pooled",))),
        *(tokens("pooled"), readout("tokens")),
    )
    inputs = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 3, 2), dtype=np.uint8)
    assert assert_native_equal(graph, inputs, (1, 2))["pooled"].max() == 2


@needs_library
def test_sums_that_32_bits_cannot_hold_are_refused():
    graph = replaced(network(*BODY), "head", weight=np.full((3, 2), 127, np.int8), bias=np.full(3, 2**31 - 1, np.int32))
    with pytest.raises(UnsupportedError, match=r"DS2TA-220 \[head\.logits\]"):
        Plan(graph)


def test_every_population_of_a_network_is_one_step_of_its_kind():
    graph = builders.build_small_graph()
    steps = {step.name: step.kind for step in translate(graph).steps}
    kinds = set(steps.values())
    assert kinds == {library.ENCODE, library.LINEAR, library.CONV, library.ATTENTION, library.POOL, library.ADD, library.READOUT}
    assert steps["patch.stages.0"] == library.ENCODE
    assert steps["blocks.0.attn"] == library.ATTENTION
    assert translate(graph).memory_of("patch.tokens") == "patch.residual"
