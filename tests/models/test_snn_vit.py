import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import every_index, pixels_for
from family_configs import CONFIGS, changed

from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.probe import Watch


@pytest.fixture(
    scope="module", params=[("snn-vit-v1", 1), ("snn-vit-v1", 4), ("snn-vit-v2", 2)], ids=lambda param: f"{param[0]}-{param[1]}"
)
def attention(request):
    """Return a saccadic attention of one of two versions, its number of heads, and all its values on some pictures.

    Its matrix and thresholds are multiples of 1/8, so that float32 adds exactly and every comparison is the definition's.
    """
    name, heads = request.param
    config, seen = changed(CONFIGS[name], num_heads=heads, embed_dim=16, depth=1), {}
    model = random_network(config, 1)
    for parameter in model.blocks[0].attn.saccade.parameters():
        parameter.data = (parameter.data * 8).round() / 8
    with torch.no_grad(), Watch(model, seen.__setitem__, lambda value: value.startswith("blocks.0.attn.")):
        model(torch.from_numpy(pixels_for(config, 2, 0).copy()))
    return model.blocks[0].attn, heads, {key.removeprefix("blocks.0.attn."): value for key, value in seen.items()}


def test_relevance_by_the_definition(attention):
    layer, heads, seen = attention
    query = seen["q.spikes"]
    steps, batch, tokens, width = query.shape
    for t, b, h in every_index((steps, batch, heads)):
        channels = range(h * width // heads, (h + 1) * width // heads)
        of_queries = [sum(int(query[t, b, n, c]) for c in channels) for n in range(tokens)]
        assert [int(value) for value in seen["q_sum"][t, b, h, :, 0]] == of_queries
        if layer.k is None:
            continue
        key = seen["k.spikes"]
        of_keys = [sum(int(key[t, b, n, c]) for c in channels) for n in range(tokens)]
        # The row sums of the rank-one map of queries by keys.
        assert [int(value) for value in seen["relevance"][t, b, h, :, 0]] == [
            sum(of_query * of_key for of_key in of_keys) for of_query in of_queries
        ]
    assert ("relevance" in seen) == (layer.k is not None)


def test_chosen_tokens_keep_their_values_and_the_others_none(attention):
    layer, heads, seen = attention
    relevance = seen["q_sum"] if layer.k is None else seen["relevance"]
    weights, thresholds = layer.saccade.weights().detach(), layer.saccade.threshold.detach()
    steps, batch, tokens, width = seen["v.spikes"].shape
    chosen = 0
    for t, b, h, n in every_index((steps, batch, heads, tokens)):
        mixed = sum(float(weights[t, u]) * float(relevance[u, b, h, n, 0]) for u in range(t + 1))
        spike = bool(seen["saccade.spikes"][t, b, h, n, 0])
        assert spike == (mixed >= float(thresholds[t]))
        chosen += spike
        part = slice(h * width // heads, (h + 1) * width // heads)
        assert torch.equal(seen["masked"][t, b, h, n], seen["v.spikes"][t, b, n, part] * spike)
    assert 0.05 < chosen / (steps * batch * heads * tokens) < 0.95


def test_the_output_layer_reads_the_masked_values_with_their_heads_merged(attention):
    layer, _, seen = attention
    merged = torch.cat(list(seen["masked"].unbind(2)), dim=-1)
    with torch.no_grad():
        assert torch.equal(layer.proj(merged), seen["proj.spikes"])
    assert 0.005 < float(seen["proj.spikes"].mean()) < 0.95
