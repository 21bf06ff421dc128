"""Where float32 itself decides: a scale that is no power of two, batch norms folded. Smallest cases, in exact numbers."""

from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("spikingjelly.activation_based.neuron", reason="needs SpikingJelly: make test installs it")

import msgspec
from builders import pixels_for
from published.cases import CASES, our_network
from published.compare import as_ours, folded, our_values, published_spikes
from published.names import put_weights
from published.spike_driven import SpikeDriven

from ds2ta_deploy.models.layers import SpikingLinear
from ds2ta_deploy.models.neurons import Lif
from ds2ta_deploy.models.probe import Watch


def exact_neuron(context, scale, threshold):
    """The neuron with input decay and tau_m = 2 on integers times a rational scale: spikes, and where the threshold is met."""
    membrane, spikes, ties = np.zeros(context.shape[1:], object), [], []
    for step in context.astype(object):
        membrane = (membrane + step * scale) / 2
        spikes.append(membrane >= threshold)
        ties.append(membrane == threshold)
        membrane = np.where(spikes[-1], Fraction(0), membrane)
    return np.stack(spikes).astype(bool), np.stack(ties).astype(bool)


def test_statten_on_frames_meets_its_threshold_where_the_published_code_may_round_below_it():
    """The published code multiplies K^T V by 1 / (4^2 5), which float32 has not, and then adds: a sum of 80 can miss 1.

    We scale once, behind the sum, and fire as the exact numbers do, everywhere. The published network's first block differs
    from them at such ties (and, for the neuron it happens to, after them) and nowhere else.
    """
    config = msgspec.structs.replace(CASES["statten-dvs-5"].config, attention_scale=1 / 80, depth=1)
    missed = 0
    for seed in range(4):
        model, pixels = our_network(config, seed), pixels_for(config, 3, seed + 50)
        sizes = {"channels": 2, "width": 24, "depth": 1, "heads": 3, "pools": "0011", "steps": 10, "classes": 5}
        network = SpikeDriven(**sizes, erode=True, chunk=5).eval()
        put_weights(network, model.state_dict(), membranes=True)
        ours = our_values(model, pixels, lambda name: name in {"blocks.0.attn.context", "blocks.0.attn.spikes"})
        mine, context = ours["blocks.0.attn.spikes"], ours["blocks.0.attn.context"].numpy()
        assert np.array_equal(context, context.astype(np.int64))
        spikes, ties = exact_neuron(context.astype(np.int64), Fraction(1, 80), Fraction(1, 2))
        assert np.array_equal(mine.numpy().astype(bool), spikes)
        assert ties.sum() > 20
        published = published_spikes(network, model, pixels, membranes=True)["blocks.0.attn.spikes"]
        theirs = as_ours(published, mine, tokens_first=False).numpy().astype(bool)
        wrong = theirs != spikes
        first = wrong & (wrong.cumsum(axis=0) == 1)
        assert not (first & ~ties).any()
        missed += int(first.sum())
    assert missed > 0


def test_folding_a_batch_norm_in_float32_can_move_a_sum_off_its_threshold():
    """Two weights and a gain of 1/25: (5 + 20) / 25 is 1, but 5/25 + 20/25 is 1 - 2^-24, as each product is rounded by itself."""
    layer = SpikingLinear(2, 1, Lif(1.0), bias=False).eval()
    layer.norm.eps = 0.0
    inputs = torch.ones(1, 1, 1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[5.0, 20.0]]))
        layer.norm.weight.fill_(1 / 25)
        for each, membrane, spike in ((layer, Fraction(1), 1), (folded(layer), 1 - Fraction(1, 2**24), 0)):
            seen = {}
            with Watch(each, seen.__setitem__):
                each(inputs)
            assert Fraction(seen["membrane"].item()) == membrane
            assert seen["spikes"].item() == spike
