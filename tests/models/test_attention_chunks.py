import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import every_index
from torch import nn

from ds2ta_deploy.models.attention import ChunkedAttention
from ds2ta_deploy.models.neurons import Lif
from ds2ta_deploy.models.probe import Watch


def lif(currents, threshold):
    """The spikes of one neuron with input decay and tau_m = 2, of currents that are small multiples of a power of two."""
    membrane, spikes = 0.0, []
    for current in currents:
        membrane = (membrane + current) / 2
        spikes.append(membrane >= threshold)
        membrane = 0.0 if spikes[-1] else membrane
    return spikes


class Fixed(nn.Module):
    """Returns the same spikes whatever it is given."""

    def __init__(self, spikes):
        super().__init__()
        self.value = spikes

    def forward(self, _):
        return self.value


def chunked(query, key, value, *, chunk_steps, heads=2):
    """Return all values of an attention over chunks whose queries, keys and values are given."""
    parts = (Fixed(spikes) for spikes in (query, key, value))
    neuron = Lif(0.5, decay_input=True)
    layer, seen = ChunkedAttention(*parts, chunk_steps=chunk_steps, num_heads=heads, scale=0.25, neuron=neuron, output=nn.Identity()), {}
    with Watch(layer, seen.__setitem__):
        layer(query)
    return seen


def spikes_of(seed, shape=(6, 2, 3, 4), share=0.7):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share).float()


@pytest.mark.parametrize("chunk_steps", [1, 2, 3, 6])
def test_chunked_attention_by_the_definition(chunk_steps):
    query, key, value = (spikes_of(seed) for seed in range(3))
    seen, (steps, batch, tokens, width) = chunked(query, key, value, chunk_steps=chunk_steps), query.shape
    d = width // 2
    for t, b, n, c in every_index(query.shape):
        head = c // d * d
        start = t // chunk_steps * chunk_steps
        context = sum(
            int(query[t, b, n, e]) * int(key[u, b, m, e]) * int(value[u, b, m, c])
            for e in range(head, head + d)
            for u in range(start, start + chunk_steps)
            for m in range(tokens)
        )
        assert int(seen["context"][t, b, n, c]) == context
    for b, n, c in every_index((batch, tokens, width)):
        currents = [int(seen["context"][t, b, n, c]) / 4 for t in range(steps)]
        assert [bool(spike) for spike in seen["spikes"][:, b, n, c]] == lif(currents, 0.5)
    assert 0.05 < float(seen["spikes"].mean()) < 0.95
    assert seen["key_value"].shape == (steps // chunk_steps, batch, 2, d, d)


def test_chunks_of_one_step_are_the_map_of_queries_by_keys():
    query, key, value = (spikes_of(seed) for seed in range(3))
    heads = [part.view(6, 2, 3, 2, 2).transpose(2, 3) for part in (query, key, value)]
    mapped = (heads[0] @ heads[1].transpose(-2, -1)) @ heads[2]
    assert torch.equal(chunked(query, key, value, chunk_steps=1)["context"], mapped.transpose(2, 3).flatten(3))


def test_inside_a_chunk_the_past_hears_of_the_future_and_across_chunks_it_does_not():
    query, key, value = (spikes_of(seed) for seed in range(3))
    before = chunked(query, key, value, chunk_steps=2)
    key[3], value[3] = 1.0, 1.0
    after = chunked(query, key, value, chunk_steps=2)
    changed_steps = [t for t in range(6) if not torch.equal(before["context"][t], after["context"][t])]
    assert changed_steps == [2, 3]
    assert not torch.equal(before["spikes"][2], after["spikes"][2])
    assert torch.equal(before["spikes"][:2], after["spikes"][:2])
