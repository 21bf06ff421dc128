import numpy as np
import pytest
from builders import every_index

from ds2ta_deploy.errors import UsageError
from ds2ta_deploy.graph.ops import MatMul
from ds2ta_deploy.pages.observation import map_ops, observe
from ds2ta_deploy.pages.parts import Gallery
from ds2ta_deploy.pages.sections.attention import Choice, attention, received, token_grid

pytest.importorskip("matplotlib", reason="needs the extra 'report'")


def test_a_place_receives_the_mean_over_queries_and_chunked_steps():
    values = np.random.default_rng(0).integers(-3, 9, (2, 3, 12, 12))  # a chunk of two steps on a grid of 3 x 2
    heats = received(values, (3, 2))
    assert heats.shape == (3, 2, 3, 2)
    for head, time, row, column in every_index(heats.shape):
        keys = [chunk * 6 + row * 2 + column for chunk in range(2)]
        expected = sum(int(values[time, head, query, key]) for query in range(12) for key in keys) / 24
        assert heats[head, time, row, column] == pytest.approx(expected)


def test_the_grid_is_that_of_the_tokens_before(small_graph):
    (op,) = map_ops(small_graph)
    assert token_grid(small_graph, op) == (4, 3)


def test_heads_and_steps_can_be_chosen(small_graph, small_inputs):
    observed = observe(small_graph, small_inputs, 1)
    section = attention(small_graph, observed, Choice((1,), (0, 3)))
    (gallery,) = [block for block in section.blocks if isinstance(block, Gallery)]
    before, after = gallery.pictures
    assert [row[:2] for row in before.numbers.rows] == [("1", "0"), ("1", "3")]
    scores, denoised = observed.trace["blocks.0.attn.scores"], observed.trace["blocks.0.attn.denoised"]
    assert [row[2] for row in before.numbers.rows] == [f"{scores[step, 1].mean():.3f}" for step in (0, 3)]
    assert [row[2] for row in after.numbers.rows] == [f"{denoised[step, 1].mean():.3f}" for step in (0, 3)]


@pytest.mark.parametrize("choice", [Choice((2,)), Choice((), (4, 5))])
def test_what_does_not_exist_is_named(small_graph, small_inputs, choice):
    with pytest.raises(UsageError) as caught:
        attention(small_graph, observe(small_graph, small_inputs), choice)
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-518"}
    assert len(caught.value.problems) == len(choice.heads) + len(choice.steps)


def test_every_family_has_its_maps_or_says_why_not(family_graphs):
    from builders import pixels_for
    from family_configs import CONFIGS

    shown = {}
    for name, graph in family_graphs.items():
        section = attention(graph, observe(graph, pixels_for(CONFIGS[name], 1, seed=2)), Choice())
        galleries = [block for block in section.blocks if isinstance(block, Gallery)]
        shown[name] = len(galleries)
        assert len(galleries) == sum(isinstance(op, MatMul) and op.transpose_right for op in graph)
        assert galleries or "never forms a map" in section.blocks[-1].text
    assert any(shown.values())
    assert not all(shown.values())
