import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import every_index, pixels_for
from family_configs import CONFIGS, changed

from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.probe import Watch


def attention_values(name, **fields):
    """Return the first attention of a random network that fires, and all its values."""
    config, seen = changed(CONFIGS[name], embed_dim=16, depth=1, **fields), {}
    model = random_network(config, 1)
    with torch.no_grad(), Watch(model, seen.__setitem__, lambda value: value.startswith("blocks.0.attn.")):
        model(torch.from_numpy(pixels_for(config, 2, 0).copy()))
    return model.blocks[0].attn, {key.removeprefix("blocks.0.attn."): value for key, value in seen.items()}


def lif(currents, threshold):
    """The spikes of one neuron with input decay and tau_m = 2, of currents that are small multiples of a power of two."""
    membrane, spikes = 0.0, []
    for current in currents:
        membrane = (membrane + current) / 2
        spikes.append(membrane >= threshold)
        membrane = 0.0 if spikes[-1] else membrane
    return spikes


@pytest.mark.parametrize("erode", [False, True])
def test_masked_attention_by_the_definition(erode):
    _, seen = attention_values("sdt-dvs" if erode else "sdt", erode=erode)
    query = seen["q.spikes"]
    key, value = (seen[f"{part}_erosion.pooled"].flatten(2, 3) if erode else seen[f"{part}.spikes"] for part in "kv")
    steps, batch, tokens, width = query.shape
    both = seen["key_value"]
    for index in every_index(query.shape):
        assert float(both[index]) == float(key[index]) * float(value[index])
    if erode:  # per head [T, B, heads, N, d]; the erosion itself is tested where it is defined
        both = seen["key_value_erosion.pooled"].transpose(2, 3).flatten(3)
    fired = 0
    for b, c in every_index((batch, width)):
        totals = [sum(int(both[t, b, n, c]) for n in range(tokens)) for t in range(steps)]
        assert [int(total) for total in seen["total"][:, b, 0, c]] == totals
        gates = lif(totals, 0.5)
        assert [bool(gate) for gate in seen["gate.spikes"][:, b, 0, c]] == gates
        fired += sum(gates)
        for t in range(steps):
            assert torch.equal(seen["masked"][t, b, :, c], query[t, b, :, c] * gates[t])
    assert 0.05 < fired / (steps * batch * width) < 0.95


def test_erosions_read_what_the_published_network_pools():
    layer, seen = attention_values("sdt-dvs")
    assert torch.equal(layer.k_erosion(seen["k.spikes"]), seen["k_erosion.pooled"].flatten(2, 3))
    assert torch.equal(layer.key_value_erosion(seen["key_value"]), seen["key_value_erosion.pooled"].transpose(2, 3).flatten(3))
    assert torch.equal(layer.masked_erosion(seen["masked"]), seen["masked_erosion.pooled"].transpose(2, 3).flatten(3))
    assert not torch.equal(layer.masked_erosion(seen["masked"]), seen["masked"])


def test_eroded_chunks_read_pooled_spikes_and_are_masked_by_the_pooled_input():
    layer, seen = attention_values("statten-dvs")
    pooled = {part: seen[f"{part}_erosion.pooled"].flatten(2, 3) for part in ("q", "k", "v", "input")}
    for part in "qkv":
        assert torch.equal(getattr(layer, f"{part}_erosion")(seen[f"{part}.spikes"]), pooled[part])
    assert torch.equal(layer.input_erosion(seen["input.spikes"]), pooled["input"])
    assert torch.equal(layer.attend(pooled["q"], pooled["k"], pooled["v"]), seen["spikes"])
    assert torch.equal(seen["counts"], seen["spikes"] * pooled["input"] + pooled["input"])
    assert {float(count) for count in seen["counts"].unique()} == {0.0, 1.0, 2.0}
