import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import every_index
from torch import nn

from ds2ta_deploy.models.attention import Scale, SpikingAttention
from ds2ta_deploy.models.denoiser import Denoiser, IntegerDenoiser
from ds2ta_deploy.models.layers import SpikingLinear
from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.models.windows import TemporalWindow

NAMES = "abcdeu"


def denoiser(head_dim, *heads):
    """Return a float64 denoiser whose parameters a, b, c, d, e, u are given for each head."""
    made = Denoiser(len(heads), head_dim, 0.0).double()
    for name, values in zip(NAMES, zip(*heads, strict=True), strict=True):
        getattr(made, name).data = torch.tensor(values, dtype=torch.float64)
    return made


def f(s, a, b, c, d, e, u):
    """Eq. 6 and 7 in Python floats, before rounding."""
    return (a * s + b * (s - c) ** 2 + d / (1 + math.exp(s - e))) if s > u else 0.0


PARAMETERS = st.tuples(*(st.floats(low, high) for low, high in ((-2, 2), (-0.5, 0.5), (0, 8), (-4, 4), (0, 8), (-1, 9))))


@given(st.lists(PARAMETERS, min_size=1, max_size=3), st.integers(1, 8))
def test_the_table_is_eq_6_and_7_rounded_half_up(heads, head_dim):
    values = [[f(s, *head) for s in range(head_dim + 1)] for head in heads]
    # Where f + 1/2 is within rounding errors of an integer, Python's and PyTorch's last bits may decide differently.
    assume(all(abs(v + 0.5 - round(v + 0.5)) > 1e-9 for row in values for v in row if v))
    table = denoiser(head_dim, *heads).table().detach()
    assert table.tolist() == [[math.floor(v + 0.5) for v in row] for row in values]


def test_the_gate_is_strict():
    table = denoiser(5, (1, 0, 0, 0, 0, 3.0), (1, 0, 0, 0, 0, 2.999), (1, 0, 0, 0, 0, -1.0)).table()
    assert table.tolist() == [[0, 0, 0, 0, 4, 5], [0, 0, 0, 3, 4, 5], [0, 1, 2, 3, 4, 5]]


def test_halves_are_rounded_up_also_below_zero():
    table = denoiser(5, (0.5, 0, 0, 0, 0, -1.0), (-0.5, 0, 0, 0, 0, -1.0)).table()
    assert table.tolist() == [[0, 1, 1, 2, 2, 3], [0, 0, -1, -1, -2, -2]]


def test_entries_may_be_negative():
    assert denoiser(4, (1, -1, 0, 0, 0, 0.5)).table().tolist() == [[0, 0, -2, -6, -12]]


def test_the_sigmoid_falls_with_the_score():
    # d / (1 + e^(s - e)): 10 far below e, 5 at e, 0 far above.
    assert denoiser(40, (0, 0, 0, 10, 20, -1.0)).table()[0, [0, 20, 40]].tolist() == [10, 5, 0]


def test_the_quadratic_term_has_its_centre_at_c():
    assert denoiser(4, (0, 1, 3, 0, 0, -1.0)).table().tolist() == [[9, 4, 1, 0, 1]]


def test_a_new_denoiser_is_nearly_the_identity_above_its_threshold():
    table = Denoiser(2, 8, 3.0).double().table().detach()
    assert table[0].tolist() == table[1].tolist()
    assert table[0].tolist() == [math.floor(f(s, 1.0, 0.01, 4, 0.1, 4, 3.0) + 0.5) for s in range(9)]
    assert (table[0, :4] == 0).all()


def lookup_scores(heads, head_dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, head_dim + 1, (3, 2, heads, 4, 5), generator=generator).double()


HEADS = [(1.0, 0.05, 3.0, 0.7, 2.5, 1.3), (-0.4, 0.2, 2.0, -1.1, 4.0, 2.6), (0.8, -0.1, 1.0, 2.0, 3.0, -0.5)]


@pytest.mark.parametrize("integer", [False, True])
def test_every_head_looks_its_scores_up_in_its_own_table(integer):
    made = denoiser(6, *HEADS)
    table, scores = made.table().detach(), lookup_scores(3, 6)
    with torch.no_grad():
        denoised = (IntegerDenoiser(table) if integer else made)(scores)
    assert denoised.dtype == torch.float64
    assert len({tuple(row) for row in table.tolist()}) == 3
    for index in every_index(scores.shape):
        assert float(denoised[index]) == float(table[index[2], int(scores[index])])


class _Gate(torch.autograd.Function):
    """The step whose gradient is the surrogate's, as a spike's."""

    @staticmethod
    def forward(ctx, distance):
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (distance,) = ctx.saved_tensors
        sigmoid = torch.sigmoid(4 * distance)
        return gradient * 4 * sigmoid * (1 - sigmoid)


def elementwise(made, scores):
    """Eq. 6-7 applied to every score by itself, without a table and without rounding, for autograd."""
    a, b, c, d, e, u = (getattr(made, name)[:, None, None] for name in NAMES)
    return _Gate.apply(scores - u) * (a * scores + b * (scores - c) ** 2 + d / (1 + torch.exp(scores - e)))


def test_the_parameters_learn_as_if_every_score_were_denoised_by_itself():
    scores, upstream = lookup_scores(3, 6), torch.randn(3, 2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    table_made, plain = denoiser(6, *HEADS), denoiser(6, *HEADS)
    (table_made(scores) * upstream).sum().backward()
    (elementwise(plain, scores) * upstream).sum().backward()
    for name in NAMES:
        gradient, expected = getattr(table_made, name).grad, getattr(plain, name).grad
        assert expected.abs().min() > 1e-6, name
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)  # float64, summed entry by entry instead


def test_the_scores_get_the_slope_of_the_function_behind_the_table():
    upstream = torch.randn(3, 2, 3, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    scores = lookup_scores(3, 6).requires_grad_()
    made = denoiser(6, *HEADS)
    (gradient,) = torch.autograd.grad((made(scores) * upstream).sum(), scores)
    (expected,) = torch.autograd.grad((elementwise(made, scores) * upstream).sum(), scores)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


def test_single_precision_gradients_stay_single():
    made = Denoiser(2, 4, 1.0)
    made(torch.ones(1, 1, 2, 2, 2, requires_grad=True)).sum().backward()
    assert all(getattr(made, name).grad.dtype == torch.float32 for name in NAMES)


def test_a_baked_table_has_no_parameters():
    baked = IntegerDenoiser(torch.ones(2, 5))
    assert list(baked.parameters()) == []
    assert baked.table.dtype == torch.float64


# --- the whole attention ---------------------------------------------------------------------------------------------


def windowed_linear(width, neuron, taps, decay, *, bias):
    return SpikingLinear(width, width, neuron, bias=bias, window=TemporalWindow(taps, decay))


class Fixed(nn.Module):
    """Returns the same spikes whatever it is given."""

    def __init__(self, spikes):
        super().__init__()
        self.value = spikes

    def forward(self, _):
        return self.value


def denoised_attention(query, key, value, table, *, scale, output):
    """Return an attention whose queries, keys and values are given spikes."""
    parts = (Fixed(spikes) for spikes in (query, key, value))
    return SpikingAttention(*parts, num_heads=table.num_heads, scale=scale, neuron=Lif(1.0), output=output, denoiser=table)


def test_attention_by_the_definition():
    steps, batch, tokens, heads, width = 3, 2, 4, 3, 2
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randint(0, 2, (steps, batch, tokens, heads * width), generator=generator).double() for _ in range(3))
    table = torch.tensor([[0, 1, 3], [-1, 2, 4], [1, -2, 5]]).double()
    attention = denoised_attention(query, key, value, Denoiser(heads, width, 0.0), scale=0.25, output=nn.Identity()).double()
    attention.denoiser = IntegerDenoiser(table)
    seen = {}
    with torch.no_grad(), Watch(attention, seen.__setitem__):
        result = attention(torch.zeros(steps, batch, tokens, heads * width))
    assert torch.equal(result, seen["spikes"])
    assert 0.05 < float(result.mean()) < 0.95
    contexts = {}
    for t, b, h, i in every_index((steps, batch, heads, tokens)):
        channels = range(h * width, (h + 1) * width)
        for j in range(tokens):
            score = sum(int(query[t, b, i, c]) * int(key[t, b, j, c]) for c in channels)
            assert int(seen["scores"][t, b, h, i, j]) == score
            assert int(seen["denoised"][t, b, h, i, j]) == int(table[h, score])
        for c in channels:
            contexts[t, b, i, c] = sum(int(seen["denoised"][t, b, h, i, j]) * int(value[t, b, j, c]) for j in range(tokens))
            assert int(seen["context"][t, b, i, c]) == contexts[t, b, i, c]
            assert float(seen["current"][t, b, i, c]) == contexts[t, b, i, c] / 4
    for b, i, c in every_index((batch, tokens, heads * width)):
        carried = Fraction(0)
        for t in range(steps):
            membrane = carried + Fraction(contexts[t, b, i, c], 4)
            assert Fraction(float(seen["membrane"][t, b, i, c])) == membrane
            assert bool(seen["spikes"][t, b, i, c]) == (membrane >= 1)
            carried = Fraction(0) if membrane >= 1 else membrane / 2


def test_the_output_layer_gets_the_attention_spikes_and_its_result_is_returned():
    spikes = torch.ones(2, 1, 3, 4)
    output = windowed_linear(4, Lif(), 3, 2, bias=True)
    received = []
    output.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    attention = denoised_attention(spikes, spikes, spikes, Denoiser(2, 2, 0.0), scale=1.0, output=output)
    seen = {}
    with torch.no_grad(), Watch(attention, seen.__setitem__):
        result = attention(spikes)
    assert torch.equal(received[0], seen["spikes"])
    assert torch.equal(result, seen["proj.spikes"])


def test_a_windowed_population_is_square_and_has_its_own_decay():
    layer = windowed_linear(6, Lif(0.5), 4, 3, bias=False)
    assert layer.weight.shape == (6, 6)
    assert layer.bias is None
    assert isinstance(layer.window, TemporalWindow)
    assert (layer.window.taps, layer.window.integer_decay) == (4, 3)
    assert layer.neuron.threshold == 0.5
    assert windowed_linear(6, Lif(), 4, 3, bias=True).bias.shape == (6,)


def test_scale_multiplies():
    assert Scale(0.25)(torch.tensor([4.0, -2.0])).tolist() == [1.0, -0.5]


def test_a_threshold_for_each_channel_of_the_merged_heads():
    # Heads are merged before the neuron: channel c of head h is channel h d + c.
    ones = torch.ones(1, 1, 1, 4).double()
    attention = denoised_attention(ones, ones, ones, Denoiser(2, 2, 0.0), scale=1.0, output=nn.Identity()).double()
    attention.denoiser = IntegerDenoiser(torch.tensor([[0, 0, 5], [0, 0, 9]]))
    attention.neuron = IntegerLif(torch.tensor([5, 6, 9, 10]))
    with torch.no_grad():
        assert attention(ones).flatten().tolist() == [1, 0, 1, 0]
