"""Published checkpoints of every dialect, in every container, give the network they were made from."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import msgspec
import numpy as np
from builders import assert_fires, pixels_for
from family_configs import changed
from published_files import CONTAINERS, PUBLISHED, network, plain, said_of, state_of, write

import ds2ta_deploy as dd
from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.errors import InputError, UnsupportedError, UsageError
from ds2ta_deploy.importing.loading import load_model, read_model
from ds2ta_deploy.importing.mapping import published_keys
from ds2ta_deploy.importing.options import ImportOptions
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.runtimes.pytorch import FloatRuntime

CASES = list(PUBLISHED)


def problems_of(kind, call):
    """Return (code, last word of the place) of every problem that a call raises."""
    with pytest.raises(kind) as caught:
        call()
    return {(problem.code, problem.where.rsplit(": ", 1)[-1]) for problem in caught.value.problems}


@pytest.mark.parametrize("case", CASES)
def test_a_published_checkpoint_computes_what_its_network_computes(tmp_path, case):
    loaded = dd.import_checkpoint(write(tmp_path / "file.pth", case), **said_of(case))
    assert plain(loaded.config) == plain(PUBLISHED[case][1])
    assert not loaded.training
    pixels = pixels_for(loaded.config, 4, 3)
    names = FloatRuntime(loaded).value_names
    found, expected = (FloatRuntime(model).trace(pixels, names) for model in (loaded, network(case)))
    assert all(np.array_equal(found[name], expected[name]) for name in names)
    assert_fires(found)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("case", ["spikformer-cifar", "spikformer-dvs", "spikformer-imagenet", "sdt", "statten-dvs", "ds2ta", "snn-vit-v1"])
def test_every_container_holds_every_dialect(tmp_path, container, case):
    imported = read_model(write(tmp_path / "file.pth.tar", case, container), ImportOptions(**said_of(case)))
    expected = network(case).state_dict()
    found = imported.model.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert imported.dialect == PUBLISHED[case][0]
    holders = {"timm": "state_dict", "timm-ema": "state_dict_ema", "sew-resnet": "model", "mae": "model"}
    assert imported.holder == holders.get(container, "file")


@pytest.mark.parametrize("case", CASES)
def test_the_config_of_an_artifacts_manifest_needs_no_word_more(tmp_path, case):
    path, config = write(tmp_path / "file", case), msgspec.to_builtins(PUBLISHED[case][1])
    loaded = load_model(path, config=config)
    assert loaded.config == PUBLISHED[case][1]
    assert all(torch.equal(tensor, network(case).state_dict()[name]) for name, tensor in loaded.state_dict().items())
    with pytest.raises(InputError, match=r"DS2TA-10[57]"):
        load_model(path, config=config | {"embed_dim": 64})
    other = msgspec.to_builtins(PUBLISHED["sdt" if "spikformer" in case else "spikformer-cifar"][1])
    with pytest.raises(InputError, match="DS2TA-110"):
        load_model(path, config=other)
    with pytest.raises(UnsupportedError, match="DS2TA-201"):
        load_model(path, config={})


def test_a_bare_safetensors_file(tmp_path):
    import safetensors.torch

    safetensors.torch.save_file(state_of("sdt"), tmp_path / "file.safetensors")
    loaded = dd.import_checkpoint(tmp_path / "file.safetensors", **said_of("sdt"))
    assert plain(loaded.config) == plain(PUBLISHED["sdt"][1])


@pytest.mark.parametrize("case", ["sdt", "sdt-dvs", "statten", "statten-dvs"])
def test_the_arguments_of_a_training_script_tell_everything(tmp_path, case):
    kind = PUBLISHED[case][1].input_kind
    imported = read_model(write(tmp_path / "last.pth.tar", case, "timm", arguments=True), ImportOptions(input_kind=kind))
    assert plain(imported.model.config) == plain(PUBLISHED[case][1])
    assert {imported.sources[name] for name in ("time_steps", "image_height", "pool_stages", "erode")} == {"args"}


def test_what_training_counted_may_be_left_out(tmp_path):
    counters = {name: None for name in state_of("sdt") if name.endswith("num_batches_tracked")}
    assert len(counters) == 5 + 2 * 6
    loaded = dd.import_checkpoint(write(tmp_path / "file", "sdt", **counters), **said_of("sdt"))
    assert loaded.state_dict()["patch.feature.norm.num_batches_tracked"] == 0


@pytest.mark.parametrize("case", CASES)
def test_dead_tensors_may_be_absent_and_change_nothing(tmp_path, case):
    state = state_of(case)
    dead = read_model(write(tmp_path / "with", case), ImportOptions(**said_of(case))).dead
    live = published_keys(PUBLISHED[case][1], PUBLISHED[case][0])
    assert set(dead) < set(live)
    assert dead
    alpha = {"block.0.attn.q_lif.surrogate_function.alpha": torch.tensor(4.0)}
    loaded = dd.import_checkpoint(write(tmp_path / "without", case, **dict.fromkeys(dead), **alpha), **said_of(case))
    assert all(torch.equal(tensor, network(case).state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert len(state) - len(dead) == len(network(case).state_dict())


@pytest.mark.parametrize("case", CASES)
def test_every_missing_renamed_and_extra_tensor_is_named_at_once(tmp_path, case):
    state = state_of(case)
    last = max(int(name.split(".")[1]) for name in state if name.startswith("block."))
    kind = "linear" if f"block.{last}.attn.q_linear.weight" in state else "conv"
    query, wide, output = f"block.{last}.attn.q_{kind}.weight", f"block.{last}.mlp.fc1_bn.bias", f"block.0.mlp.fc2_{kind}.weight"
    infinite = state["patch_embed.rpe_bn.weight"] * math.inf
    changes = {
        query: None,
        f"block.{last}.attn.query.weight": state[query],
        f"block.{last + 1}.attn.q_bn.weight": torch.zeros(3),
        "head.extra": torch.zeros(1),
        "head.weight": None,
        wide: torch.zeros(5),
        output: state[output][:-1],
        "patch_embed.rpe_bn.weight": infinite,
    }
    path = write(tmp_path / "file", case, **changes)
    assert problems_of(InputError, lambda: dd.import_checkpoint(path, **said_of(case))) == {
        ("DS2TA-105", query),
        ("DS2TA-106", f"block.{last}.attn.query.weight"),
        ("DS2TA-106", f"block.{last + 1}.attn.q_bn.weight"),
        ("DS2TA-106", "head.extra"),
        ("DS2TA-105", "head.weight"),
        ("DS2TA-107", wide),
        ("DS2TA-107", output),
        ("DS2TA-103", "patch_embed.rpe_bn.weight"),
    }


@pytest.mark.parametrize("case", CASES)
def test_each_live_tensor_is_needed(tmp_path, case):
    """Whichever single tensor is missing, it is the one that is named; a dead tensor of another dialect is unknown."""
    said, state = said_of(case), state_of(case)
    live = [
        name
        for name in state
        if not name.endswith("num_batches_tracked") and not torch.equal(state[name], torch.full_like(state[name], 7.0))
    ]
    for name in live[CASES.index(case) :: len(live) // 3]:
        path = write(tmp_path / "file", case, **{name: None})
        assert problems_of(InputError, lambda: dd.import_checkpoint(path, **said)) == {("DS2TA-105", name)}  # noqa: B023
    other = "pos_embed" if "pos_embed" not in state else "block.0.attn.talking_heads.weight"
    path = write(tmp_path / "file", case, **{other: torch.zeros(4, 4, 1)})
    assert problems_of(InputError, lambda: dd.import_checkpoint(path, **said)) == {("DS2TA-106", other)}


def test_learned_time_constants_are_not_supported(tmp_path):
    learned = {"head_lif.w": torch.tensor(0.0), "block.1.mlp.fc2_lif.w": torch.tensor(0.0), "patch_embed.proj_lif1.w": torch.tensor(0.0)}
    path = write(tmp_path / "file", "sdt", **learned)
    assert problems_of(UnsupportedError, lambda: dd.import_checkpoint(path)) == {("DS2TA-204", name) for name in learned}


def test_a_file_of_nothing_that_is_known(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    assert problems_of(InputError, lambda: load_model(tmp_path / "resnet.pth")) == {("DS2TA-102", str(tmp_path / "resnet.pth"))}


def test_the_own_format_is_read_as_ever(tmp_path, tiny_model):
    save_checkpoint(tiny_model, tmp_path / "own.safetensors")
    imported = read_model(tmp_path / "own.safetensors")
    assert (imported.model.config, imported.dialect, imported.sources, imported.notes) == (tiny_model.config, "own", {}, [])
    assert load_model(tmp_path / "own.safetensors", ImportOptions(arch="ds2ta", time_steps=4)).config == tiny_model.config
    with pytest.raises(UsageError, match=r"(?s)DS2TA-514.*config.time_steps.*--time-steps contradicts.*config.erode"):
        load_model(tmp_path / "own.safetensors", ImportOptions(time_steps=5, erode=True))


#: Preset, dialect, changes, number of tensors, number of parameters as counted in the authors' own networks.
COUNTS = [
    ("spikformer-4-384", "spikformer-cifar", {}, 216, 9_330_874),
    ("spikformer-4-384", "spikformer-cifar", {"num_classes": 100}, 216, 9_365_524),
    ("spikformer-4-384", "spikformer-cifar", {"embed_dim": 256, "num_heads": 8}, 216, 4_159_274),
    ("spikformer-4-384", "spikformer-cifar", {"depth": 2}, 124, 5_768_122),
    ("spikformer-2-256", "spikformer-dvs", {}, 121, 2_585_610),
    ("spikformer-8-512", "spikformer-imagenet", {}, 376, 29_705_768),
    ("sdt-2-512", "sdt", {}, 112, 10_233_546),
    ("sdt-2-512", "sdt", {"embed_dim": 256}, 112, 2_567_082),
    ("sdt-2-512", "sdt", {"num_classes": 100}, 112, 10_279_716),
    ("sdt-8-512", "sdt", {}, 352, 29_689_896),
    ("statten-2-512", "statten", {}, 112, 10_233_546),
    ("statten-8-512", "statten", {}, 352, 29_689_896),
    ("statten-8-512", "statten", {"embed_dim": 768}, 352, 66_339_144),
]


@pytest.mark.parametrize(("preset", "dialect", "changes", "tensors", "parameters"), COUNTS)
def test_parameters_are_as_many_as_published(preset, dialect, changes, tensors, parameters):
    keys = published_keys(changed(PRESETS[preset], **changes), dialect)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert len(keys) == tensors
    assert sum(math.prod(shape) for name, shape in keys.items() if not name.endswith(buffers)) == parameters


@pytest.mark.parametrize("dialect", ["sdt", "spikformer", "statten-cifar"])
def test_a_dialect_of_another_family_or_none(dialect):
    with pytest.raises(UsageError, match="DS2TA-514"):
        published_keys(PRESETS["spikformer-4-384"], dialect)
