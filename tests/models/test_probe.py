import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from torch import nn

from ds2ta_deploy.models.probe import Probe, Watch


class Doubler(nn.Module):
    """Doubles a value, watched before and after."""

    def __init__(self):
        super().__init__()
        self.before, self.after = Probe(), Probe(channel_axis=-3)

    def forward(self, value):
        return self.after(2 * self.before(value))


class Twice(nn.Module):
    """Two doublers, so that names have parts."""

    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList([Doubler(), Doubler()])

    def forward(self, value):
        for step in self.steps:
            value = step(value)
        return value


VALUE = torch.arange(24.0).view(1, 2, 3, 4)
NAMES = ["steps.0.before", "steps.0.after", "steps.1.before", "steps.1.after"]


def test_a_probe_changes_nothing():
    assert Probe()(VALUE) is VALUE


def test_values_are_reported_in_order_under_the_probes_dotted_names():
    seen = []
    model = Twice()
    with Watch(model, lambda name, value: seen.append((name, value))):
        result = model(VALUE)
    assert torch.equal(result, 4 * VALUE)
    assert [name for name, _ in seen] == NAMES
    assert torch.equal(seen[0][1], VALUE)
    assert torch.equal(seen[2][1], 2 * VALUE)


def test_channels_are_moved_to_the_end():
    seen = {}
    model = Twice()
    with Watch(model, seen.__setitem__):
        model(VALUE)
    assert seen["steps.0.before"].shape == (1, 2, 3, 4)
    assert seen["steps.0.after"].shape == (1, 3, 4, 2)
    assert torch.equal(seen["steps.0.after"], (2 * VALUE).permute(0, 2, 3, 1))


def test_only_what_is_wanted_is_reported():
    seen = {}
    model = Twice()
    with Watch(model, seen.__setitem__, lambda name: name.endswith("after")):
        model(VALUE)
    assert list(seen) == ["steps.0.after", "steps.1.after"]


def test_nothing_is_watched_before_or_after():
    seen = []
    model = Twice()
    watch = Watch(model, lambda name, _: seen.append(name))
    model(VALUE)
    assert seen == []
    with watch:
        model(VALUE)
    model(VALUE)
    assert seen == NAMES


def test_an_error_ends_the_watch_too():
    seen = []
    model = Twice()
    with pytest.raises(RuntimeError, match="stop"), Watch(model, lambda name, _: seen.append(name)):
        raise RuntimeError("stop")
    model(VALUE)
    assert seen == []


def test_two_watches_at_once():
    model, inner, outer = Twice(), [], []
    with Watch(model, lambda name, _: outer.append(name)):
        with Watch(model, lambda name, _: inner.append(name)):
            model(VALUE)
        model(VALUE)
    assert inner == NAMES
    assert outer == NAMES * 2


def test_reported_values_carry_no_gradient_and_do_not_disturb_it():
    model, seen = Twice(), {}
    value = VALUE.clone().requires_grad_()
    with Watch(model, seen.__setitem__):
        model(value).sum().backward()
    assert not any(reported.requires_grad for reported in seen.values())
    assert torch.equal(value.grad, torch.full_like(VALUE, 4))
