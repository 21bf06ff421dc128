"""The published networks as written here have the published keys and sizes."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("spikingjelly.activation_based.neuron", reason="needs SpikingJelly: make test installs it")

from published.names import DEAD, parameter_name
from published.spike_driven import SpikeDriven
from published.spikformer import CIFAR, EVENTS, IMAGENET, Spikformer

from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.presets import PRESETS

_PICTURES = {"channels": 3, "pools": "0011", "steps": 4}
_IMAGENET = {"channels": 3, "pools": "1111", "steps": 4, "classes": 1000}


def _spikformer(dialect, tokens, classes=10, **sizes):
    return lambda: Spikformer(dialect, tokens=tokens, classes=classes, **sizes)


def _spike_driven(chunk=None, classes=10, **sizes):
    return lambda: SpikeDriven(classes=classes, chunk=chunk, **sizes)


#: Published network, its preset here, number of parameters, number of keys (None: not on record).
SIZES = {
    "spikformer-4-384": (_spikformer(CIFAR, 64, width=384, depth=4, heads=12, **_PICTURES), 9_330_874, 216),
    "spikformer-2-256": (_spikformer(EVENTS, 64, width=256, depth=2, heads=16, channels=2, pools="1111", steps=10), 2_585_610, 121),
    "spikformer-8-512": (_spikformer(IMAGENET, 196, width=512, depth=8, heads=8, **_IMAGENET), 29_705_768, 376),
    "sdt-2-512": (_spike_driven(width=512, depth=2, heads=8, erode=False, **_PICTURES), 10_233_546, None),
    "sdt-8-512": (_spike_driven(width=512, depth=8, heads=8, erode=False, **_IMAGENET), 29_689_896, None),
    "statten-2-512": (_spike_driven(chunk=2, width=512, depth=2, heads=8, erode=False, **_PICTURES), 10_233_546, None),
    "statten-8-512": (_spike_driven(chunk=2, width=512, depth=8, heads=8, erode=False, **_IMAGENET), 29_689_896, None),
}


@pytest.mark.parametrize("name", SIZES)
def test_full_size(name):
    make, parameters, keys = SIZES[name]
    with torch.device("meta"):
        published, ours = make(), build(PRESETS[name])
    assert sum(parameter.numel() for parameter in published.parameters()) == parameters
    assert keys is None or len(published.state_dict()) == keys
    alive = {key: value for key, value in published.state_dict().items() if not DEAD.fullmatch(key)}
    renamed = {parameter_name(key, membranes=not name.startswith("spikformer")): value.numel() for key, value in alive.items()}
    assert len(renamed) == len(alive)
    assert renamed == {key: value.numel() for key, value in ours.state_dict().items()}


def test_shapes_of_each_dialect():
    sizes = {"tokens": 8, "channels": 3, "width": 16, "depth": 1, "heads": 2, "pools": "0011", "steps": 4, "classes": 5}
    cifar, frames, imagenet = (Spikformer(dialect, **sizes).state_dict() for dialect in (CIFAR, EVENTS, IMAGENET))
    assert cifar["block.0.attn.q_linear.weight"].shape == (16, 16)
    assert "block.0.attn.q_linear.bias" in cifar
    assert frames["block.0.attn.q_conv.weight"].shape == imagenet["block.0.attn.q_conv.weight"].shape == (16, 16, 1)
    assert "block.0.attn.q_conv.bias" not in frames.keys() | imagenet.keys()
    assert frames["block.0.mlp.fc1_conv.weight"].shape == (64, 16, 1)
    assert imagenet["block.0.mlp.fc1_conv.weight"].shape == (64, 16, 1, 1)
    assert frames["pos_embed"].shape == (1, 8, 16)
    assert "pos_embed" not in cifar.keys() | imagenet.keys()
    del sizes["tokens"]
    plain, statten = (SpikeDriven(**sizes, erode=True, chunk=chunk).state_dict() for chunk in (None, 2))
    assert {key: value.shape for key, value in plain.items()} == {key: value.shape for key, value in statten.items()}
    assert plain["block.0.attn.talking_heads.weight"].shape == (2, 2, 1)
    assert plain["block.0.attn.k_conv.weight"].shape == plain["block.0.attn.proj_conv.weight"].shape == (16, 16, 1, 1)
