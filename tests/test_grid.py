import copy
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import EVENTS, pixels_for, tiny_config
from torch import nn

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.grid import fold_norm, leak_fraction, leak_is_exact, quantize_table
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.ds2ta import Ds2ta
from ds2ta_deploy.models.layers import SpikingConv2d, SpikingLinear
from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.quantization import Quantization, quantize


def variant(model: Ds2ta, change) -> Ds2ta:
    """Return a changed copy of the model."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        change(copied)
    return copied


# --- folding ---------------------------------------------------------------------------------------------------------


def random_norm(norm: nn.Module) -> None:
    generator = torch.Generator().manual_seed(4)
    for values, low, high in ((norm.weight, -1.5, 1.5), (norm.bias, -1, 1), (norm.running_mean, -2, 2), (norm.running_var, 0.1, 3)):
        values.data = low + (high - low) * torch.rand(values.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_folded_batch_norm_gives_the_same_current(kind, bias):
    generator = torch.Generator().manual_seed(0)
    if kind == "linear":
        layer = SpikingLinear(6, 5, Lif(), bias=bias)
        inputs = torch.randint(0, 4, (3, 2, 4, 6), generator=generator).double()
    else:
        layer = SpikingConv2d(3, 5, Lif(), time_steps=2)
        layer.bias = nn.Parameter(torch.zeros(5)) if bias else None
        inputs = torch.randint(0, 4, (2, 3, 3, 4, 5), generator=generator).double()
    layer = layer.double().eval()
    random_norm(layer.norm)
    if bias:
        layer.bias.data = torch.randn(5, generator=generator, dtype=torch.float64)
    seen = {}
    with torch.no_grad(), Watch(layer, seen.__setitem__):
        layer(inputs)
        weight, offset = fold_norm(layer)
        if kind == "linear":
            folded = inputs @ weight.T + offset
        else:
            flat = nn.functional.conv2d(inputs.flatten(0, 1), weight, offset, padding=1)
            folded = flat.unflatten(0, (2, 3)).movedim(-3, -1)
    assert weight.dtype == offset.dtype == torch.float64
    # Real numbers in float64, the same sums in another order.
    torch.testing.assert_close(folded, seen["current"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", [nn.Identity(), nn.LayerNorm(5)])
def test_only_a_batch_norm_can_be_folded(norm):
    layer = SpikingLinear(6, 5, Lif())
    layer.norm = norm
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        fold_norm(layer)


def test_a_batch_norm_without_statistics_cannot_be_folded():
    layer = SpikingLinear(6, 5, Lif())
    layer.norm = nn.BatchNorm1d(5, track_running_stats=False)
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        fold_norm(layer)


# --- pixels ----------------------------------------------------------------------------------------------------------


def test_event_counts_are_kept_without_loss():
    quantized = quantize(random_network(tiny_config(**EVENTS)))
    assert torch.equal(quantized.encoder.table, torch.arange(256).double().expand(2, 256))


@pytest.mark.parametrize("bits", [8, 9, 10, 12])
def test_a_single_event_never_vanishes(bits):
    table = quantize(random_network(tiny_config(**EVENTS)), Quantization(first_layer_bits=bits)).encoder.table
    kept = min(2 ** (bits - 1) - 1, 255)
    assert torch.equal(table[:, : kept + 1], torch.arange(kept + 1).double().expand(2, -1))  # clipped above, if at all
    assert (table[:, kept:] == kept).all()


@pytest.mark.parametrize("bits", [8, 9, 10])
def test_polarities_of_different_units_keep_their_single_events(bits):
    config = tiny_config(**EVENTS | {"pixel_std": (1.0, 2.0)})
    table = quantize(random_network(config), Quantization(first_layer_bits=bits)).encoder.table
    assert (table[:, 0] == 0).all()
    assert (table[:, 1] != 0).all()


@pytest.mark.parametrize("scale", [1.0, 0.5, 3.0, 1 / 255, 0.1])
@pytest.mark.parametrize("deviation", [1.0, 0.5, 0.3, 0.7])
def test_counts_in_any_unit_are_counts(scale, deviation):
    values = torch.arange(256).double().expand(2, 256) * scale / deviation
    table, unit = quantize_table(values, 511, counts=True)
    assert torch.equal(table, torch.arange(256).double().expand(2, 256))
    assert unit == scale / deviation


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize(("mean", "deviation"), [((0.49, 0.48, 0.44), (0.24, 0.24, 0.26)), ((0.0, 0.5, 1.0), (1.0, 0.1, 0.5))])
def test_pictures_use_the_whole_grid_and_are_rounded(bits, mean, deviation):
    model = random_network(tiny_config(in_channels=3, pixel_mean=mean, pixel_std=deviation))
    quantized = quantize(model, Quantization(first_layer_bits=bits))
    largest = 2 ** (bits - 1) - 1
    pixels = torch.arange(256).double()
    values = torch.stack([(pixels / 255 - m) / d for m, d in zip(mean, deviation, strict=True)])
    assert quantized.encoder.table.abs().max() == largest
    unit = values.abs().max() / largest
    # Half a unit, and a little because the model keeps mean and deviation in single precision.
    assert ((quantized.encoder.table * unit - values).abs() <= unit * 0.5001).all()


# --- readout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("changes", [{}, EVENTS, {"pool_stages": "0110", "image_height": 9}, {"time_steps": 3}], ids=str)
def test_the_readout_has_one_scale_and_its_logits_are_the_trained_ones_up_to_rounding(changes, bits):
    def change(model):
        model.head.bias.copy_(torch.linspace(-0.3, 0.4, 5))

    model = variant(random_network(tiny_config(**changes)), change)
    quantized = quantize(model, Quantization(weight_bits=bits))
    head, largest = quantized.head, 2 ** (bits - 1) - 1
    weight, bias = model.head.weight.detach().double(), model.head.bias.detach().double()
    unit = float(weight.abs().max()) / largest
    seen = {}
    with Watch(quantized, seen.__setitem__):
        logits = quantized(torch.from_numpy(pixels_for(model.config, 3, 8).copy()))
    tokens = seen["blocks.0.mlp_residual"]
    summands = tokens.shape[0] * tokens.shape[2]
    assert torch.equal(head.weight, (weight / unit).round())
    assert head.weight.abs().max() == largest
    assert torch.equal(head.bias, (bias * summands / unit).round())
    assert head.scale == unit / summands
    exact = tokens.mean((0, 2)) @ weight.T + bias
    bound = head.scale * (0.5 * tokens.sum((0, 2, 3)) + 0.5)
    assert ((logits * head.scale - exact).abs() <= bound[:, None] * (1 + 1e-9)).all()


def test_a_readout_of_zeros_is_no_problem(tiny_model):
    def change(model):
        model.head.weight.zero_()

    head = quantize(variant(tiny_model, change)).head
    assert (head.weight == 0).all()
    assert math.isfinite(head.scale)


# --- leaks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tau", "fraction", "exact"),
    [
        (2.0, (1, 1), True),
        (4 / 3, (1, 2), True),
        (4.0, (3, 2), False),
        (8.0, (7, 3), False),
        (256.0, (255, 8), False),
        (3.0, (171, 8), False),
        (1.5, (85, 8), False),
        (1.004, (1, 8), False),  # rounded to a pure shift, which the real neuron has not
        (1000.0, (256, 8), False),
    ],
)
def test_leaks_as_fractions_of_a_power_of_two(tau, fraction, exact):
    assert leak_fraction(tau) == fraction
    assert leak_is_exact(tau) == exact
    assert abs(fraction[0] / 2 ** fraction[1] - (1 - 1 / tau)) <= 2**-9


@given(st.floats(1.001, 1e6))
def test_any_leak_is_within_half_a_unit_and_between_none_and_all(tau):
    numerator, shift = leak_fraction(tau)
    assert 0 <= shift <= 8
    assert 0 <= numerator <= 2**shift
    assert abs(Fraction(numerator, 2**shift) - (1 - 1 / Fraction(tau))) <= Fraction(1, 512) + Fraction(1, 2**50)


def test_every_neuron_gets_the_leak():
    quantized = quantize(random_network(tiny_config(membrane_time_constant=4.0)))
    leaks = {(m.leak_numerator, m.leak_shift) for m in quantized.modules() if isinstance(m, IntegerLif)}
    assert leaks == {(3, 2)}
