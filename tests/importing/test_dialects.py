"""Published names and shapes, compared with lists written down apart from the code, by hand from the published networks."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from family_configs import CONFIGS, changed
from hypothesis import given
from hypothesis import strategies as st
from published_files import PUBLISHED, network

from ds2ta_deploy.importing.dialects import DIALECTS, FORMS, is_dead, published_name
from ds2ta_deploy.importing.mapping import published_keys, to_published
from ds2ta_deploy.importing.structure import find_structure
from ds2ta_deploy.models.presets import PRESETS


def norm(name, size):
    return {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")} | {f"{name}.num_batches_tracked": ()}


def patch(width, channels):
    sizes = [channels, width // 8, width // 4, width // 2, width]
    keys = {}
    for index, suffix in enumerate(["", "1", "2", "3"]):
        keys |= {f"patch_embed.proj_conv{suffix}.weight": (sizes[index + 1], sizes[index], 3, 3)}
        keys |= norm(f"patch_embed.proj_bn{suffix}", sizes[index + 1])
    return keys | {"patch_embed.rpe_conv.weight": (width, width, 3, 3)} | norm("patch_embed.rpe_bn", width)


def cifar(width, depth, channels, classes):
    keys = patch(width, channels) | {"head.weight": (classes, width), "head.bias": (classes,)}
    for index in range(depth):
        block = f"block.{index}"
        for name in ("norm1", "norm2"):
            keys |= {f"{block}.{name}.weight": (width,), f"{block}.{name}.bias": (width,)}
        for name in "q", "k", "v", "proj":
            keys |= {f"{block}.attn.{name}_linear.weight": (width, width), f"{block}.attn.{name}_linear.bias": (width,)}
            keys |= norm(f"{block}.attn.{name}_bn", width)
        keys |= {f"{block}.mlp.fc1_linear.weight": (4 * width, width), f"{block}.mlp.fc1_linear.bias": (4 * width,)}
        keys |= {f"{block}.mlp.fc2_linear.weight": (width, 4 * width), f"{block}.mlp.fc2_linear.bias": (width,)}
        keys |= norm(f"{block}.mlp.fc1_bn", 4 * width) | norm(f"{block}.mlp.fc2_bn", width)
    return keys


def convolutional(width, depth, channels, classes, ones, mlp_ones):
    keys = patch(width, channels) | {"head.weight": (classes, width), "head.bias": (classes,)}
    for index in range(depth):
        block = f"block.{index}"
        for name in "q", "k", "v", "proj":
            keys |= {f"{block}.attn.{name}_conv.weight": (width, width, *ones)} | norm(f"{block}.attn.{name}_bn", width)
        keys |= {f"{block}.attn.proj_conv.bias": (width,)}
        keys |= {f"{block}.mlp.fc1_conv.weight": (4 * width, width, *mlp_ones), f"{block}.mlp.fc1_conv.bias": (4 * width,)}
        keys |= {f"{block}.mlp.fc2_conv.weight": (width, 4 * width, *mlp_ones), f"{block}.mlp.fc2_conv.bias": (width,)}
        keys |= norm(f"{block}.mlp.fc1_bn", 4 * width) | norm(f"{block}.mlp.fc2_bn", width)
    return keys


def layer_norms(width, depth):
    return {f"block.{index}.norm{number}.{part}": (width,) for index in range(depth) for number in (1, 2) for part in ("weight", "bias")}


def talking_heads(heads, depth):
    return {f"block.{index}.attn.talking_heads.weight": (heads, heads, 1) for index in range(depth)}


LISTS = [
    ("spikformer-4-384", "spikformer-cifar", cifar(384, 4, 3, 10)),
    (
        "spikformer-2-256",
        "spikformer-dvs",
        convolutional(256, 2, 2, 10, (1,), (1,))
        | layer_norms(256, 2)
        | {"pos_embed": (1, 64, 256), "norm.weight": (256,), "norm.bias": (256,)},
    ),
    ("spikformer-8-512", "spikformer-imagenet", convolutional(512, 8, 3, 1000, (1,), (1, 1)) | layer_norms(512, 8)),
    ("sdt-2-512", "sdt", convolutional(512, 2, 3, 10, (1, 1), (1, 1)) | talking_heads(8, 2)),
    ("statten-2-256", "statten", convolutional(256, 2, 2, 10, (1, 1), (1, 1)) | talking_heads(8, 2)),
    (
        "ds2ta-4-384",
        "ds2ta-cifar",
        cifar(384, 4, 3, 10)
        | {f"block.{index}.attn.nsad.{letter}": (12,) for index in range(4) for letter in "abcdeu"}
        | {f"block.{index}.attn.{name}_tasa.tau": () for index in range(4) for name in ("q", "k", "v", "proj")},
    ),
]


@pytest.mark.parametrize(("preset", "dialect", "expected"), LISTS, ids=lambda value: value if isinstance(value, str) else "")
def test_names_and_shapes_are_the_published_ones(preset, dialect, expected):
    found = published_keys(PRESETS[preset], dialect)
    assert {name: (found.get(name), shape) for name, shape in expected.items() if found.get(name) != shape} == {}
    assert set(found) == set(expected)


def test_the_names_that_are_this_projects_own():
    config = changed(CONFIGS["snn-vit-v1"], depth=1, dilated_stages="1011")
    keys = published_keys(config, "snn-vit-cifar")
    assert {name: shape for name, shape in keys.items() if "saccade" in name} == {
        "block.0.attn.saccade.m_w": (4, 4),
        "block.0.attn.saccade.v_th": (4,),
    }
    assert {name: shape for name, shape in keys.items() if "dilated_conv" in name} == {
        "patch_embed.dilated_conv.weight": (4, 1, 3, 3),
        "patch_embed.dilated_conv2.weight": (16, 8, 3, 3),
        "patch_embed.dilated_conv3.weight": (32, 16, 3, 3),
    }
    assert {"patch_embed.dilated_bn.running_var", "patch_embed.dilated_bn3.bias"} <= set(keys)
    second = published_keys(changed(CONFIGS["snn-vit-v2"], depth=1), "snn-vit-dvs")
    assert second["block.0.attn.saccade.alpha"] == ()
    assert not any(".k_" in name for name in second)


@pytest.mark.parametrize("case", PUBLISHED)
def test_no_two_tensors_have_one_name_and_none_is_dead(case):
    dialect, config = PUBLISHED[case]
    state, form = network(case).state_dict(), FORMS[DIALECTS[dialect][1]]
    names = {published_name(name, form) for name in state}
    assert len(names) == len(state)
    assert not any(is_dead(name, form, config.depth) for name in names)
    assert set(to_published(state, dialect)) == names


@pytest.mark.parametrize(
    "name", ["norm1.weight", "block.2.norm1.weight", "block.0.norm3.weight", "pos_embed", "block.0.attn.talking_heads.weight", "head.w"]
)
def test_only_listed_names_are_dead(name):
    assert not is_dead(name, FORMS["cifar"], 2)
    assert is_dead("block.1.norm2.bias", FORMS["cifar"], 2)


SHAPES = {case: published_keys(config, dialect) for case, (dialect, config) in PUBLISHED.items()}


@given(st.sampled_from(sorted(PUBLISHED)), st.data())
def test_one_wrong_tensor_does_not_change_what_most_say(case, data):
    """Whichever tensor is missing, stray or of another shape, the network is seen to be the same one."""
    shapes, config = SHAPES[case], PUBLISHED[case][1]
    expected = find_structure(shapes)
    assert expected is not None
    assert expected.form == DIALECTS[PUBLISHED[case][0]][1]
    assert config.family in expected.families
    # Spikformer's order is its dialect's: STAtten's attention on its backbone is said by a flag.
    fields = {name: value for name, value in expected.sizes.items() if name != "attention_order"}
    assert {name: value for name, value in fields.items() if getattr(config, name) != value} == {}
    alone = {"patch_embed.proj_conv.weight", "head.bias", "head.weight"}
    name = data.draw(st.sampled_from(sorted(set(shapes) - alone)))
    shape = tuple(data.draw(st.lists(st.integers(1, 99), max_size=4)))
    for spoiled in (
        {other: value for other, value in shapes.items() if other != name},
        shapes | {name: shape},
        shapes | {data.draw(st.sampled_from(["block.7.attn.q_conv.weight", "block.2.x", "block.99999.y", "x", ""])): shape},
    ):
        assert find_structure(spoiled) == expected
