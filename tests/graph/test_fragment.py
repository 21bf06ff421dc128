import dataclasses

import numpy as np
import pytest
from builders import build_small_graph, small_inputs, trace_of
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.errors import Ds2taError, InputError, UnsupportedError
from ds2ta_deploy.graph import ops, serialize
from ds2ta_deploy.graph.fragment import Fragment, cut, from_bytes, to_bytes
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.populations import population_values

GRAPHS = {still: build_small_graph(still=still) for still in (True, False)}
TRACES = {still: {**trace_of(GRAPHS[still], small_inputs(still=still)), "images": small_inputs(still=still)} for still in (True, False)}


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("known", ["everything", "populations", "nothing"])
def test_every_value_is_computed_from_what_is_known_alone(still, known):
    graph, trace = GRAPHS[still], TRACES[still]
    names = {"everything": graph.observable, "populations": population_values(graph), "nothing": ()}[known]
    for value in graph.observable:
        fragment = from_bytes(to_bytes(cut(graph, value, names)))
        assert set(fragment.reads) <= {*names, "images"}
        made = fragment.execute({name: trace[name] for name in fragment.reads})
        assert np.array_equal(made[value], trace[value]), value
        assert fragment.types[value] == graph.types[value]


def test_one_op_where_all_that_it_reads_is_known(small_graph):
    several = {
        "patch.stages.0.spikes": ["patch.stages.0.repeat", "patch.stages.0"],
        "patch.stages.0.membrane": ["patch.stages.0.repeat", "patch.stages.0"],
        "blocks.0.attn.scores": ["blocks.0.attn.split_q", "blocks.0.attn.split_k", "blocks.0.attn.query_key"],
        "blocks.0.attn.context": ["blocks.0.attn.split_v", "blocks.0.attn.map_value", "blocks.0.attn.merge"],
    }
    for value in small_graph.observable:
        names = [op.name for op in cut(small_graph, value, small_graph.observable).ops]
        expected = several.get(value, [op.name for op in small_graph if value in op.outputs])
        assert names == expected


@given(data=st.data())
def test_the_op_in_focus_made_the_integer_and_the_others_only_moved_it(data):
    graph, trace = GRAPHS[True], TRACES[True]
    value = data.draw(st.sampled_from(["blocks.0.attn.context", "blocks.0.attn.scores", "patch.stages.0.spikes", "patch.tokens"]))
    fragment = cut(graph, value, graph.observable)
    values = fragment.execute(trace)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in trace[value].shape)
    op, inner = fragment.focus(place, values)
    assert op.name == {"blocks.0.attn.context": "blocks.0.attn.map_value", "blocks.0.attn.scores": "blocks.0.attn.query_key"}.get(
        value, {"patch.tokens": "patch.flatten"}.get(value, "patch.stages.0")
    )
    assert int(values[op.outputs[0]][inner]) == int(trace[value][place])


def test_equal_fragments_give_equal_bytes(small_graph):
    one, other = (to_bytes(cut(small_graph, "blocks.0.attn.scores", small_graph.observable)) for _ in range(2))
    assert one == other


# --- operands that no correct engine makes ---------------------------------------------------------------------------


def test_operands_that_would_leave_a_table_are_refused():
    graph, trace = GRAPHS[True], TRACES[True]
    fragment = cut(graph, "blocks.0.attn.denoised", graph.observable)
    for wrong in (-1, 5):
        scores = trace["blocks.0.attn.scores"].copy()
        scores[0, 0, 0, 0, 0] = wrong
        with pytest.raises(UnsupportedError, match="DS2TA-221"):
            fragment.execute({"blocks.0.attn.scores": scores})


def test_operands_that_would_overflow_are_refused():
    graph, trace = GRAPHS[True], TRACES[True]
    fragment = cut(graph, "blocks.0.attn.q.current", graph.observable)
    product = np.full_like(trace["blocks.0.attn.q.product"], 2**31 - 1)
    with pytest.raises(UnsupportedError, match=r"DS2TA-220 \[blocks\.0\.attn\.q\.current\]"):
        fragment.execute({"blocks.0.attn.q.product": product})


@pytest.mark.parametrize(("change", "code"), [(lambda x: x.astype(np.int64), "DS2TA-120"), (lambda x: x[..., :-1], "DS2TA-121")])
def test_operands_that_do_not_fit_are_refused(change, code):
    graph, trace = GRAPHS[True], TRACES[True]
    fragment = cut(graph, "patch.tokens", graph.observable)
    with pytest.raises(InputError, match=code):
        fragment.execute({"patch.residual": change(trace["patch.residual"])})


# --- files -----------------------------------------------------------------------------------------------------------


def some_fragment():
    return cut(GRAPHS[True], "blocks.0.attn.scores", GRAPHS[True].observable)


@pytest.mark.parametrize("data", [b"", b"garbage", serialize.to_bytes(GRAPHS[True])])
def test_what_is_no_fragment(data):
    with pytest.raises(InputError, match="DS2TA-140"):
        from_bytes(data)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"value": "nothing"}, "DS2TA-211"),
        ({"value": "blocks.0.attn.q.spikes"}, "DS2TA-211"),
        ({"ops": ()}, "DS2TA-211"),
        ({"reads": {}}, "DS2TA-211"),
        ({"reads": {"blocks.0.attn.q.spikes": ValueType((4, 5, 12, 8), "uint8")}}, "DS2TA-213"),
        ({"reads": {"blocks.0.attn.q.spikes": ValueType((4, None, 0, 8), "uint8")}}, "DS2TA-213"),
        ({"reads": {name: ValueType((4, None, 12, 9), "uint8") for name in some_fragment().reads}}, "DS2TA-210"),
    ],
)
def test_a_fragment_that_does_not_hold_together_is_refused(change, code):
    with pytest.raises(UnsupportedError, match=code):
        from_bytes(to_bytes(dataclasses.replace(some_fragment(), **change)))


@given(data=st.data())
def test_a_damaged_file_is_an_error_with_a_code_or_a_fragment(data):
    content = bytearray(to_bytes(some_fragment()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(from_bytes(bytes(content)), Fragment)
    except Ds2taError as error:
        assert all(problem.code.startswith("DS2TA-") for problem in error.problems)


def test_wider_values_than_a_network_may_take_in():
    weight = np.ones((1, 5000), np.int8)
    fragment = Fragment({"x": ValueType((1, None, 1, 5000), "uint8")}, (ops.Linear("w", ("x",), ("y",), weight=weight),), "y")
    made = from_bytes(to_bytes(fragment)).execute({"x": np.ones((1, 1, 1, 5000), np.uint8)})
    assert made["y"].tolist() == [[[[5000]]]]
