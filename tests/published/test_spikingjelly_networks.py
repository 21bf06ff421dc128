"""SpikingJelly's own Spikformer and spike-driven transformer, and ours with the same weights: the same spikes everywhere."""

import re
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("spikingjelly.activation_based.model.spikformer", reason="needs SpikingJelly: make test installs it")

from builders import BUSIEST, QUIETEST, pixels_for
from published.cases import CASES
from published.compare import as_ours, exactly_representable, our_values
from spikingjelly.activation_based import functional, layer
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from spikingjelly.activation_based.model.spikformer import Spikformer
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn

from ds2ta_deploy.models.calibration import random_network

#: SpikingJelly's sequences of weights and batch norm, and the layers of ours that hold both.
SPIKFORMER = [
    (r"patch_embed\.stages\.(\d)\.conv_bn\.block", r"patch.stages.\1"),
    (r"patch_embed\.positional_encoding\.conv_bn\.block", "patch.position"),
    (r"blocks\.(\d)\.attn\.proj_conv_bn", r"blocks.\1.attn.proj"),
    (r"blocks\.(\d)\.mlp\.(fc[12])", r"blocks.\1.mlp.\2"),
]
SPIKE_DRIVEN = [
    (r"patch_embed\.stages\.(\d)", r"patch.stages.\1"),
    (r"patch_embed\.final_stage", "patch.feature"),
]
#: The same where weights and batch norm stand next to each other.
SPIKE_DRIVEN_PAIRS = [
    (r"patch_embed\.rpe_(conv|bn)", "patch.position"),
    (r"blocks\.(\d)\.attn\.(\w+)_(conv|bn)", r"blocks.\1.attn.\2"),
    (r"blocks\.(\d)\.mlp\.(?:fc|bn)(\d)", r"blocks.\1.mlp.fc\2"),
]
#: SpikingJelly's neurons and our populations.
SPIKFORMER_NEURONS = [
    (r"patch_embed\.stages\.(\d)\.neuron", r"patch.stages.\1"),
    (r"patch_embed\.positional_encoding\.neuron", "patch.position"),
    (r"blocks\.(\d)\.attn\.attn_lif", r"blocks.\1.attn"),
    (r"blocks\.(\d)\.attn\.proj_lif", r"blocks.\1.attn.proj"),
    (r"blocks\.(\d)\.mlp\.neuron(\d)", r"blocks.\1.mlp.fc\2"),
]
SPIKE_DRIVEN_NEURONS = [
    (r"patch_embed\.stages\.(\d)\.2", r"patch.stages.\1"),
    (r"patch_embed\.final_lif", "patch.input"),
    (r"blocks\.(\d)\.attn\.shortcut_lif", r"blocks.\1.attn.input"),
    (r"blocks\.(\d)\.attn\.([qkv])_lif", r"blocks.\1.attn.\2"),
    (r"blocks\.(\d)\.attn\.attn_lif", r"blocks.\1.attn.gate"),
    (r"blocks\.(\d)\.mlp\.lif1", r"blocks.\1.mlp.input"),
    (r"blocks\.(\d)\.mlp\.lif2", r"blocks.\1.mlp.fc1"),
    (r"head_lif", "head.input"),
]


def our_name(table, name):
    """Return our name of a module, or None."""
    return next((match.expand(ours) for pattern, ours in table if (match := re.fullmatch(pattern, name))), None)


def source_of(key, ours):
    """Return our tensor for one of SpikingJelly's keys; its biases before batch norms, where ours has none, are zero."""
    module, leaf = key.rsplit(".", 1)
    if qkv := re.fullmatch(r"blocks\.(\d)\.attn\.qkv_conv_bn\.([01])", module):
        norm = "norm." if qkv[2] == "1" else ""
        parts = [ours[f"blocks.{qkv[1]}.attn.{part}.{norm}{leaf}"] for part in "qkv"]
        return parts[0] if leaf == "num_batches_tracked" else torch.cat(parts)
    if module == "head":
        return ours[key]
    pair, _, position = module.rpartition(".")
    if name := our_name(SPIKFORMER + SPIKE_DRIVEN, pair):
        norm = "norm." if position == "1" else ""
    else:
        name, norm = our_name(SPIKE_DRIVEN_PAIRS, module), "norm." if re.search(r"bn\d?$", module) else ""
    source = f"{name}.{norm}{leaf}"
    return ours[source] if source in ours else torch.zeros(len(ours[f"{name}.weight"])) if leaf == "bias" and not norm else ours[source]


def _pool(pool, _stage, _inputs, spikes):
    return pool(spikes)


def pooled_after_neurons(network):
    """Move every pooling of SpikingJelly's Spikformer behind its neurons, where the published network has it."""
    for stage in network.patch_embed.stages:
        parts = list(stage.conv_bn.block)
        if isinstance(parts[-1], nn.MaxPool2d):
            stage.conv_bn.block = layer.SeqToANNContainer(*parts[:-1])
            stage.register_forward_hook(partial(_pool, layer.SeqToANNContainer(parts[-1])))
    return network


def run(network, neurons, model, pixels):
    """Return SpikingJelly's spikes under our names."""
    seen = {}

    def keep(name, _layer, _inputs, spikes):
        if qkv := re.fullmatch(r"blocks\.(\d)\.attn\.qkv_lif", name):
            seen.update({f"blocks.{qkv[1]}.attn.{part}.spikes": each for part, each in zip("qkv", spikes.chunk(3, dim=2), strict=True)})
        else:
            in_heads = isinstance(network, Spikformer) and name.endswith("attn_lif")  # [T, B, heads, d, N]
            seen[f"{our_name(neurons, name)}.spikes"] = spikes.flatten(2, 3) if in_heads else spikes

    for name, module in network.named_modules():
        if isinstance(module, LIFNode):
            module.register_forward_hook(partial(keep, name))
    functional.reset_net(network)
    with torch.inference_mode():
        network(model.encoder(torch.from_numpy(pixels.copy())).movedim(-1, -3))
    return seen


def sizes(config):
    return {"T": config.time_steps, "in_channels": config.in_channels, "num_classes": config.num_classes, "embed_dims": config.embed_dim}


def spikformer(config):
    square = {"img_size_h": config.image_height, "img_size_w": config.image_width, "patch_size": 4}
    return Spikformer(**sizes(config), **square, num_heads=config.num_heads, depths=config.depth)


def spike_driven(config):
    return SpikeDrivenTransformer(**sizes(config), num_heads=config.num_heads, depths=config.depth, pooling_stat=config.pool_stages)


def loaded(network, model):
    """Give SpikingJelly's network the weights of ours."""
    ours = model.state_dict()
    with torch.no_grad():
        for key, value in network.state_dict().items():
            value.copy_(source_of(key, ours).reshape(value.shape))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = 0.0
    return network.eval()


def model_and_pixels(name, seed):
    """Return a network whose numbers float32 holds exactly, so that only a difference in meaning can show."""
    config = CASES[name].config
    return exactly_representable(random_network(config, seed)), pixels_for(config, 3, seed + 90)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "make", "neurons"),
    [
        ("spikformer-cifar", lambda config: pooled_after_neurons(spikformer(config)), SPIKFORMER_NEURONS),
        ("sdt", spike_driven, SPIKE_DRIVEN_NEURONS),
        ("sdt-imagenet", spike_driven, SPIKE_DRIVEN_NEURONS),
    ],
    ids=["spikformer", "sdt", "sdt-imagenet"],
)
def test_the_same_spikes_in_every_population(name, make, neurons, seed):
    model, pixels = model_and_pixels(name, seed)
    theirs, ours = run(loaded(make(model.config), model), neurons, model, pixels), our_values(model, pixels)
    del ours["head.logits"]
    assert theirs.keys() == ours.keys()
    assert {key: spikes.mean().item() for key, spikes in ours.items() if not QUIETEST < spikes.mean().item() < BUSIEST} == {}
    assert [key for key, spikes in ours.items() if not torch.equal(as_ours(theirs[key], spikes, tokens_first=False), spikes)] == []


def test_spikingjelly_pools_currents_where_the_published_spikformer_pools_spikes():
    """Left as it is, its stem is another network from the first stage that pools on; before, nothing differs."""
    model, pixels = model_and_pixels("spikformer-cifar", 0)
    theirs = run(loaded(spikformer(model.config), model), SPIKFORMER_NEURONS, model, pixels)
    ours = our_values(model, pixels, lambda name: name.endswith((".spikes", "pooled")))
    assert torch.equal(theirs["patch.stages.1.spikes"].movedim(2, -1), ours["patch.stages.1.spikes"])
    pooled = theirs["patch.stages.2.spikes"].movedim(2, -1)
    assert pooled.shape == ours["patch.stages.2.pooled"].shape
    assert 0.01 < (pooled != ours["patch.stages.2.pooled"]).float().mean() < 0.5
