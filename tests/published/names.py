"""What a parameter or a neuron of a published network is called in ``ds2ta_deploy``."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

#: Never read by the published networks' forward passes.
DEAD = re.compile(r"block\.\d+\.norm[12]\..*|block\.\d+\.attn\.talking_heads\.weight|pos_embed|norm\.(weight|bias)")

_STAGES = {"": "stages.0", "1": "stages.1", "2": "stages.2", "3": "stages.3"}
_MEMBRANE_STAGES = {**_STAGES, "3": "feature"}

_PARAMETERS = [
    (re.compile(r"patch_embed\.rpe_(conv|bn)\.(\w+)"), lambda m, _: f"patch.position.{_part(m[1])}{m[2]}"),
    (re.compile(r"patch_embed\.proj_(conv|bn)(\d?)\.(\w+)"), lambda m, stages: f"patch.{stages[m[2]]}.{_part(m[1])}{m[3]}"),
    (
        re.compile(r"block\.(\d+)\.(attn|mlp)\.(\w+)_(linear|conv|bn)\.(\w+)"),
        lambda m, _: f"blocks.{m[1]}.{m[2]}.{m[3]}.{_part(m[4])}{m[5]}",
    ),
    (re.compile(r"head\.(weight|bias)"), lambda m, _: m[0]),
]

_NEURONS = [
    (r"patch_embed\.rpe_lif", "patch.position"),
    (r"patch_embed\.proj_lif(\d)", r"patch.stages.\1"),
    (r"patch_embed\.proj_lif", "patch.stages.0"),
    (r"block\.(\d+)\.attn\.([qkv]|proj)_lif", r"blocks.\1.attn.\2"),
    (r"block\.(\d+)\.attn\.attn_lif", r"blocks.\1.attn"),
    (r"block\.(\d+)\.mlp\.(fc[12])_lif", r"blocks.\1.mlp.\2"),
]

#: Where the neurons come before the weights: the stream's readers.
_MEMBRANE_NEURONS = [
    (r"patch_embed\.proj_lif3", "patch.input"),
    (r"block\.(\d+)\.attn\.shortcut_lif", r"blocks.\1.attn.input"),
    (r"block\.(\d+)\.attn\.talking_heads_lif", r"blocks.\1.attn.gate"),
    (r"block\.(\d+)\.mlp\.fc1_lif", r"blocks.\1.mlp.input"),
    (r"block\.(\d+)\.mlp\.fc2_lif", r"blocks.\1.mlp.fc1"),
    (r"head_lif", "head.input"),
    *_NEURONS,
]


def _part(kind: str) -> str:
    return "norm." if kind == "bn" else ""


def parameter_name(published: str, *, membranes: bool) -> str:
    """Return our name; ``membranes`` is the backbone of the spike-driven transformer."""
    for pattern, name in _PARAMETERS:
        if match := pattern.fullmatch(published):
            return name(match, _MEMBRANE_STAGES if membranes else _STAGES)
    raise KeyError(published)


def neuron_name(published: str, *, membranes: bool) -> str:
    """Return our name of the neuron's spikes."""
    for pattern, name in _MEMBRANE_NEURONS if membranes else _NEURONS:
        if match := re.fullmatch(pattern, published):
            return f"{match.expand(name)}.spikes"
    raise KeyError(published)


def put_weights(network: nn.Module, ours: Mapping[str, Tensor], *, membranes: bool) -> None:
    """Give a published network the weights of ours, each of them once; what is dead keeps random numbers."""
    given = set()
    for name, value in network.state_dict().items():
        if DEAD.fullmatch(name):
            value.normal_()
        else:
            source = parameter_name(name, membranes=membranes)
            assert source in ours, name
            assert source not in given, name
            given.add(source)
            value.copy_(ours[source].reshape(value.shape))
    assert given == set(ours)
