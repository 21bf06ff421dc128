"""Formats under a budget: what is measured is what happens, every step is the cheapest one, and the budget is kept."""

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import pixels_for, trace_of

from ds2ta_deploy import narrowing
from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.narrowing import NARROWER, Measured, Sensitivity, narrow
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.quantizing.formats import formattable_layers
from ds2ta_deploy.report import stored_weights


@pytest.fixture(scope="module")
def pixels(tiny_config):
    return pixels_for(tiny_config, 30, 4)


@pytest.fixture(scope="module")
def labels(tiny_graph, pixels):
    """What the 8-bit network decides, wrong for a third."""
    decisions = tiny_graph.execute(pixels).argmax(1)
    return np.where(np.arange(30) % 3 > 0, decisions, (decisions + 1) % 5)


@pytest.fixture(scope="module")
def halved(tiny_model, pixels, labels):
    return narrow(tiny_model, pixels, labels, most_bytes=20_000)


def frozen_with(model, formats):
    return freeze(quantize(model, Quantization(weights=formats)))


def total(graph):
    return sum(entry.bytes for entry in stored_weights(graph).values())


def test_what_is_measured_of_each_layer_is_what_happens(tiny_model, tiny_graph, pixels, labels, halved):
    before = tiny_graph.execute(pixels).argmax(1)
    assert halved.widest == Measured(total(tiny_graph), 0, 20)
    assert [(entry.layer, entry.format) for entry in halved.sensitivities] == [
        (layer, chosen) for layer in formattable_layers(tiny_model) for chosen in NARROWER
    ]
    for entry in halved.sensitivities[::4]:  # every format among them
        graph = frozen_with(tiny_model, {entry.layer: entry.format})
        now = trace_of(graph, pixels)["head.logits"].argmax(1)
        assert entry.measured == Measured(total(graph), int((now != before).sum()), int((now == labels).sum()))
        assert entry.layer_bytes == stored_weights(graph)[entry.layer].bytes
    assert any(entry.measured.changed for entry in halved.sensitivities)


def test_the_weights_fit_the_budget_and_the_choice_is_measured(tiny_model, pixels, labels, halved):
    graph = frozen_with(tiny_model, {layer: chosen for layer, chosen in halved.formats.items() if chosen != 8})
    now = graph.execute(pixels)
    before = quantize(tiny_model)
    assert halved.chosen.bytes == total(graph) <= 20_000 < halved.widest.bytes
    assert halved.chosen.correct == int((now.argmax(1) == labels).sum())
    assert before.quantization == Quantization()  # nothing of the model was changed
    assert halved.samples == 30
    settings = halved.settings(Quantization(profile="loihi"))
    assert settings.profile == "loihi"
    assert msgspec.structs.replace(settings, profile="cpu") == Quantization(weights=settings.weights)
    assert 8 not in settings.weights.values()


def test_a_wide_budget_narrows_nothing(tiny_model, pixels, halved):
    wide = narrow(tiny_model, pixels, most_bytes=10**6)
    assert set(wide.formats.values()) == {8}
    assert wide.chosen == wide.widest
    assert wide.widest.correct is None
    assert 0 < sum(chosen != 8 for chosen in halved.formats.values()) < len(halved.formats)


def test_the_loss_stays_within_the_budget_and_what_is_free_is_taken(tiny_model, pixels, labels):
    scored = narrow(tiny_model, pixels, labels, most_loss=5.0)
    assert scored.widest.correct - scored.chosen.correct <= 30 * 0.05
    assert scored.chosen.bytes < scored.widest.bytes
    plain = narrow(tiny_model, pixels, most_loss=10.0)
    assert plain.chosen.changed <= 3
    assert plain.chosen.bytes < plain.widest.bytes


def test_any_engine_gives_the_same_choice(tiny_model, pixels, labels, halved, monkeypatch):
    monkeypatch.setattr(narrowing, "library_path", lambda: None)
    assert narrow(tiny_model, pixels, labels, most_bytes=20_000) == halved


@pytest.mark.parametrize("budget", [{}, {"most_bytes": 1000, "most_loss": 1.0}, {"most_bytes": 3000}], ids=str)
def test_no_budget_two_budgets_and_one_that_cannot_be_kept_are_refused(tiny_model, pixels, budget):
    with pytest.raises(UsageError, match="DS2TA-516"):
        narrow(tiny_model, pixels[:2], **budget)


def test_samples_are_needed_and_must_fit(tiny_model, pixels):
    with pytest.raises(UsageError, match="DS2TA-507"):
        narrow(tiny_model, pixels[:0], most_loss=1.0)
    with pytest.raises(InputError, match="DS2TA-121"):
        narrow(tiny_model, pixels[:, :5], most_loss=1.0)


@given(st.lists(st.tuples(st.integers(1, 50), *[st.integers(0, 9)] * 3), min_size=1, max_size=5))
def test_every_step_is_the_cheapest_until_nothing_is_left(layers):
    """Plain loops over all that could be done next; a weight count and three numbers of changed decisions a layer."""
    sizes = {8: 8, 6: 6, 4: 4, "power-of-two": 4}
    alone = [
        Sensitivity(f"layer.{index}", chosen, count * sizes[chosen], Measured(0, cost, None))
        for index, (count, *costs) in enumerate(layers)
        for chosen, cost in zip(NARROWER, costs, strict=True)
    ]
    greedy = narrowing._Greedy({f"layer.{index}": 8 * count for index, (count, *_) in enumerate(layers)}, alone)
    changed = {(f"layer.{index}", 8): 0 for index in range(len(layers))} | {(e.layer, e.format): e.measured.changed for e in alone}
    now = {f"layer.{index}": 8 for index in range(len(layers))}
    while True:
        prices = {
            (layer, chosen): Fraction(
                max(changed[layer, chosen] - changed[layer, now[layer]], 0), count * (sizes[now[layer]] - sizes[chosen])
            )
            for layer, (count, *_) in zip(now, layers, strict=True)
            for chosen in NARROWER
            if sizes[chosen] < sizes[now[layer]]
        }
        step = greedy.best()
        if not prices:
            assert step is None
            break
        assert prices[step.layer, step.format] == min(prices.values())
        now[step.layer] = step.format
        greedy.formats[step.layer] = step.format
    assert set(now.values()) <= {4, "power-of-two"}
