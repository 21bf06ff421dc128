import pytest
from builders import build_small_graph

from ds2ta_deploy.graph.axes import axes_of, in_words


@pytest.mark.parametrize("still", [True, False])
def test_every_axis_of_every_value_has_a_word_and_time_and_sample_lie_where_the_shape_has_them(still):
    graph = build_small_graph(still=still)
    axes = axes_of(graph)
    assert set(axes) == set(graph.types)
    for name, kind in graph.types.items():
        assert len(axes[name]) == len(kind.shape), name
        assert axes[name].index("sample") == kind.shape.index(None), name
        assert ("time step" in axes[name]) == (kind.shape[0] is not None), name


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("input_values", "row column channel"),
        ("patch.stages.0.membrane", "row column channel"),
        ("patch.stages.0.pooled", "row column channel"),
        ("patch.tokens", "token channel"),
        ("blocks.0.attn.q.current", "token channel"),
        ("blocks.0.attn._q_heads", "head token channel"),
        ("blocks.0.attn.scores", "head query key"),
        ("blocks.0.attn.denoised", "head query key"),
        ("blocks.0.attn._mixed", "head token channel"),
        ("blocks.0.attn.context", "token channel"),
        ("blocks.0.mlp_residual", "token channel"),
        ("head.logits", "class"),
    ],
)
def test_what_the_axes_behind_time_and_sample_count(small_graph, value, words):
    assert [axis for axis in axes_of(small_graph)[value] if axis not in ("time step", "sample")] == words.split()


def test_an_index_in_words():
    assert in_words(("head", "query", "key"), (1, 11, 4)) == "head 1, query 11, key 4"
    assert in_words((), ()) == ""
    with pytest.raises(ValueError, match="zip"):
        in_words(("token",), (1, 2))
