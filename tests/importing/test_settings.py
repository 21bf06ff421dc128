"""Where each field of an imported config comes from: tensors, arguments, flags, what was published; what contradicts, what lacks."""

import argparse

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from published_files import PUBLISHED, arguments_of, contained, said_of, state_of, write

import ds2ta_deploy as dd
from ds2ta_deploy.errors import InputError, UnsupportedError, UsageError
from ds2ta_deploy.importing.arguments import read_arguments
from ds2ta_deploy.importing.flags import FLAGS
from ds2ta_deploy.importing.loading import read_model
from ds2ta_deploy.importing.mapping import published_keys
from ds2ta_deploy.importing.options import ImportOptions
from ds2ta_deploy.importing.published import published_values
from ds2ta_deploy.importing.settings import resolve
from ds2ta_deploy.importing.structure import find_structure
from ds2ta_deploy.models.families import FAMILIES
from ds2ta_deploy.models.presets import PRESETS


def read(tmp_path, case, *, arguments=None, **said):
    """Import a timm file of this case with these arguments, an attribute of None left as it is."""
    torch.save(contained("timm", state_of(case), arguments), tmp_path / "last.pth.tar")
    return read_model(tmp_path / "last.pth.tar", ImportOptions(**said))


def usages(caught):
    """Return the flags that the problems ask for."""
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-515"}
    return {problem.mend.removeprefix("say ") for problem in caught.value.problems}


COMMON = {"--time-steps N", "--image-size HxW", "--images or --events", "--pixel-mean R,G,B", "--pixel-std R,G,B"}
LACKING = {
    "spikformer-cifar": COMMON | {"--heads N"},
    "spikformer-dvs": {"--time-steps N", "--image-size HxW", "--heads N"},
    "sdt": COMMON | {"--pool-stages 0011", "--erode or --no-erode"},
    "statten": COMMON | {"--pool-stages 0011", "--erode or --no-erode", "--chunk-steps N"},
    "ds2ta": COMMON | {"--decay-input or --no-decay-input"},
    "snn-vit-v1": COMMON - {"--time-steps N"} | {"--heads N", "--pool-stages 0011", "--dilation N", "--decay-input or --no-decay-input"},
}


@pytest.mark.parametrize("case", LACKING)
def test_everything_that_has_to_be_said_is_named_at_once(tmp_path, case):
    family = PUBLISHED[case][1].family
    with pytest.raises(UsageError) as caught:
        dd.import_checkpoint(write(tmp_path / "file", case), arch=family)
    assert usages(caught) == LACKING[case]
    missing = sorted(LACKING[case])
    for flag in missing:  # saying all but one leaves that one
        said = said_of(case)
        for name, entry in FLAGS.items():
            if entry.usage == flag:
                said.pop("image_size" if name.startswith("image_") else name, None)
        if flag == "--images or --events":
            continue  # with it unsaid, so may be the normalisation: covered above
        with pytest.raises(UsageError) as caught:
            dd.import_checkpoint(tmp_path / "file", **said)
        assert usages(caught) == {flag}


@pytest.mark.parametrize("case", ["sdt", "statten"])
def test_the_tensors_do_not_tell_a_spike_driven_transformer_from_statten(tmp_path, case):
    said = said_of("sdt") | {"arch": "auto"}
    with pytest.raises(UsageError) as caught:
        dd.import_checkpoint(write(tmp_path / "file", case), **said)
    assert usages(caught) == {"--arch sdt, or --arch statten with --chunk-steps N"}


def test_arguments_tell_them_apart_and_where_they_cannot_a_person_is_asked(tmp_path):
    arguments = vars(arguments_of("statten"))
    told = read(tmp_path, "statten", arguments=argparse.Namespace(**arguments), input_kind="images").model.config
    assert (told.family, told.chunk_steps, told.attention_scale) == ("statten", 2, 1 / 3)
    assert read(tmp_path, "sdt", arguments=arguments_of("sdt"), input_kind="images").model.config.family == "sdt"
    fork = argparse.Namespace(**(arguments | {"attention_mode": "SDT"}))  # the published script trains STAtten all the same
    with pytest.raises(UsageError, match="attention_mode asks for another attention than STAtten"):
        read(tmp_path, "statten", arguments=fork, input_kind="images")
    for arch in ("sdt", "statten"):
        assert read(tmp_path, "statten", arguments=fork, input_kind="images", arch=arch).model.config.family == arch
    with pytest.raises(UsageError, match=r"DS2TA-514.*--arch sdt contradicts args.attention_mode"):
        read(tmp_path, "statten", arguments=argparse.Namespace(**arguments), input_kind="images", arch="sdt")


@pytest.mark.parametrize(
    ("case", "said", "words"),
    [
        ("sdt", {"time_steps": 5}, "--time-steps says 5, args say 4"),
        ("sdt", {"num_heads": 2}, "--heads says 2, the tensors say 4"),
        ("sdt", {"image_size": (12, 12)}, "--image-size says 12, args say 10"),
        ("sdt", {"erode": True}, "--erode says True, args say False"),
        ("statten", {"pixel_mean": (0.5,)}, "--pixel-mean says 0.5, args say 0.3"),
        ("statten", {"arch": "spikformer"}, "--arch spikformer contradicts the tensors, which are of sdt or statten"),
        ("sdt", {"chunk_steps": 2}, "--chunk-steps means nothing to a network of the family sdt"),
        ("sdt", {"temporal_window": 3, "dilation": 2}, r"--temporal-window means nothing[\s\S]*--dilation means nothing"),
        ("sdt", {"attention_scale": 0.5}, "--attention-scale means nothing"),
    ],
)
def test_what_is_said_must_not_contradict_the_file(tmp_path, case, said, words):
    with pytest.raises(UsageError, match=rf"DS2TA-514.*{words}"):
        read(tmp_path, case, arguments=arguments_of(case), **({"input_kind": "images"} | said))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"chunk_steps": 3}, "--chunk-steps 3 does not divide the 4 time steps"),
        ({"pool_stages": "01x1"}, "--pool-stages must be four characters"),
        ({"pixel_std": (0.0,)}, "--pixel-mean must be finite, and the deviation greater than zero"),
        ({"pixel_mean": (0.1, 0.2)}, "--pixel-mean need one value a channel"),
        ({"attention_scale": -1.0}, "--attention-scale must be a finite number greater than zero"),
        ({"image_size": (5000, 4)}, r"--image-size must lie in 1..4096"),
        ({"num_heads": 4, "time_steps": 2000}, r"--time-steps must lie in 1..1024"),
    ],
)
def test_what_is_said_must_make_a_network(tmp_path, said, words):
    with pytest.raises(UsageError, match=rf"DS2TA-514.*{words}"):
        dd.import_checkpoint(write(tmp_path / "file", "statten"), **(said_of("statten") | said))


def test_another_unit_of_pixels(tmp_path):
    said = said_of("spikformer-cifar")
    path = write(tmp_path / "file", "spikformer-cifar")
    assert dd.import_checkpoint(path, **(said | {"pixel_scale": 1 / 64})).config.pixel_scale == 1 / 64
    del said["pixel_scale"]
    assert dd.import_checkpoint(path, **said).config.pixel_scale == 1 / 255
    with pytest.raises(UsageError, match=r"DS2TA-514.*--pixel-scale must be a finite number greater than zero"):
        dd.import_checkpoint(path, **(said | {"pixel_scale": 0.0}))


@pytest.mark.parametrize("said", [{"steps": 4}, {"time_steps": "four"}, {"arch": "vit"}, {"pixel_mean": 0.5}, {"erode": 1}])
def test_python_callers_are_told_of_unknown_names_and_types(tmp_path, said):
    with pytest.raises(UsageError, match="DS2TA-514"):
        dd.import_checkpoint(tmp_path / "nothing", **said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time_steps", "four"),
        ("time_steps", True),
        ("time_steps", 10**7),
        ("num_heads", 8.0),
        ("img_size", [1, 2, 3, 4]),
        ("img_size", -3),
        ("pooling_stat", 11),
        ("pooling_stat", "1" * 10**6),
        ("mean", [0.1, float("nan")]),
        ("mean", "0.1"),
        ("std", [0.5] * 1000),
        ("dvs_mode", "yes"),
        ("chunk_size", [2]),
        ("T", 5),
        ("input_size", [1, 12, 11]),
    ],
)
def test_arguments_that_cannot_be_are_named(tmp_path, name, value):
    arguments = argparse.Namespace(**(vars(arguments_of("statten")) | {name: value}))
    with pytest.raises(InputError) as caught:
        read(tmp_path, "statten", arguments=arguments, input_kind="images")
    assert [(problem.code, problem.where.rsplit(": ", 1)[-1]) for problem in caught.value.problems] == [("DS2TA-110", f"args.{name}")]
    assert len(str(caught.value)) < 500


def test_arguments_that_contradict_the_tensors_are_named(tmp_path):
    arguments = argparse.Namespace(**(vars(arguments_of("sdt")) | {"num_heads": 2}))
    with pytest.raises(InputError, match=r"DS2TA-110.*num_heads.*args say 2, the tensors say 4"):
        read(tmp_path, "sdt", arguments=arguments, input_kind="images")


def test_a_script_that_trained_parametric_neurons(tmp_path):
    arguments = argparse.Namespace(**(vars(arguments_of("sdt")) | {"spike_mode": "plif"}))
    with pytest.raises(UnsupportedError, match=r"DS2TA-204.*args.spike_mode"):
        read(tmp_path, "sdt", arguments=arguments, input_kind="images")


def test_an_mlp_as_wide_as_its_tokens_is_not_supported(tmp_path):
    from ds2ta_deploy.importing.mapping import to_published
    from ds2ta_deploy.models.build import build

    config = PUBLISHED["sdt"][1]
    tensors = to_published(build(config).state_dict(), "sdt")
    for name, tensor in tensors.items():  # the config of such a network is refused: cut one out of a wider one's
        if ".mlp.fc1" in name and tensor.dim():
            tensors[name] = tensor[: config.embed_dim].clone()
        elif ".mlp.fc2_conv.weight" in name:
            tensors[name] = tensor[:, : config.embed_dim].clone()
    torch.save(tensors, tmp_path / "file")
    with pytest.raises(UnsupportedError, match="DS2TA-204"):
        dd.import_checkpoint(tmp_path / "file", **said_of("sdt"))


def test_event_frames_are_not_normalised_whatever_the_arguments_say(tmp_path):
    arguments = argparse.Namespace(**(vars(arguments_of("sdt-dvs")) | {"mean": [0.5, 0.5], "std": [0.2, 0.2]}))
    config = read(tmp_path, "sdt-dvs", arguments=arguments).model.config
    assert (config.input_kind, config.pixel_mean, config.pixel_std, config.pixel_scale) == ("frames", (0.0, 0.0), (1.0, 1.0), 1.0)
    assert config.erode


#: Presets that are published networks, and what even then has to be said because two values were published, or none.
ASKED = {
    "spikformer-4-384": ("spikformer-cifar", set()),
    "spikformer-2-256": ("spikformer-dvs", {"time_steps"}),
    "spikformer-8-512": ("spikformer-imagenet", set()),
    "ds2ta-4-384": ("ds2ta-cifar", {"num_heads", "pixel_mean", "pixel_std", "decay_input"}),
    "ds2ta-2-256": ("ds2ta-dvs", {"num_heads", "decay_input"}),
    "sdt-2-512": ("sdt", set()),
    "sdt-8-512": ("sdt", set()),
    "sdt-2-256": ("sdt", set()),
    "statten-2-512": ("statten", {"chunk_steps", "pixel_mean", "pixel_std", "attention_scale"}),
    "statten-8-512": ("statten", {"chunk_steps", "attention_scale"}),
    "statten-2-256": ("statten", {"time_steps", "chunk_steps", "attention_scale"}),
}
#: What tensors tell, what follows from the rest, and what only training reads.
_NOT_ASKED = {"family", "embed_dim", "depth", "in_channels", "num_classes", "mlp_ratio", "threshold", "membrane_time_constant", "qkv_bias"}
_NOT_ASKED |= {"pixel_scale", "attention_order", "attention_threshold", "initial_decay", "initial_denoise_threshold"}


@pytest.mark.parametrize("preset", ASKED)
def test_what_was_published_once_is_the_presets(preset):
    """The table of published values and the presets were written apart, from the same sources: they agree."""
    config, (dialect, asked) = PRESETS[preset], ASKED[preset]
    values = published_values(dialect, {name: getattr(config, name) for name in ("in_channels", "num_classes", "embed_dim")})
    fields = set(FAMILIES[config.family].__struct_fields__)
    assert {name: value for name, value in values.items() if name in fields and value != getattr(config, name)} == {}
    counts = {"pixel_mean", "pixel_std"} if config.input_kind == "frames" else set()
    assert fields - set(values) - _NOT_ASKED - counts == asked


_CIFAR10 = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2470, 0.2435, 0.2616]}
_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "img_size": 224}
_STREAM = {"spike_mode": "lif", "TET": False, "dvs_mode": False, "num_heads": 8, "time_steps": 4, "in_channels": 3}
_SMALL_DVS = _STREAM | {"TET": True, "dvs_mode": True, "time_steps": 10, "in_channels": 2, "img_size": 64, "pooling_stat": "0011"}

#: Preset -> dialect, and what the published script and its configuration file for that network leave in ``args``.
SCRIPTS = {
    "spikformer-4-384": ("spikformer-cifar", _CIFAR10 | {"time_step": 4, "num_heads": 12, "img_size": 32, "input_size": None, "dim": 384}),
    "spikformer-2-256": ("spikformer-dvs", {"T": 10, "T_train": None, "model": "SEWResNet", "connect_f": "ADD"}),
    "spikformer-8-512": ("spikformer-imagenet", _IMAGENET),
    "sdt-2-512": ("sdt", _STREAM | _CIFAR10 | {"img_size": 32, "pooling_stat": "0011"}),
    "sdt-2-256": ("sdt", _SMALL_DVS | {"mean": None, "std": None}),
    "sdt-8-512": ("sdt", _STREAM | _IMAGENET | {"pooling_stat": "1111"}),
    "statten-2-512": (
        "statten",
        _STREAM | _CIFAR10 | {"img_size": 32, "pooling_stat": "0011", "chunk_size": 2, "attention_mode": "STAtten"},
    ),
    "statten-2-256": ("statten", _SMALL_DVS | {"chunk_size": 5, "attention_mode": "STAtten"}),
    "statten-8-512": ("statten", _STREAM | _IMAGENET | {"pooling_stat": "1111", "chunk_size": 2, "attention_mode": "STAtten"}),
}


@pytest.mark.parametrize("preset", SCRIPTS)
def test_the_arguments_of_the_published_scripts_need_no_flag(preset):
    config, (dialect, arguments) = PRESETS[preset], SCRIPTS[preset]
    structure = find_structure(published_keys(config, dialect))
    found = resolve(structure, read_arguments(arguments, "file"), arguments, ImportOptions(), "file")
    assert type(config)(**{name: value for name, (value, _) in found.items()}) == config


def test_a_mean_that_was_left_to_timm_has_to_be_said():
    preset = PRESETS["sdt-2-512"]
    arguments = SCRIPTS["sdt-2-512"][1] | {"mean": None, "std": None}
    structure = find_structure(published_keys(preset, "sdt"))
    with pytest.raises(UsageError) as caught:
        resolve(structure, read_arguments(arguments, "file"), arguments, ImportOptions(), "file")
    assert usages(caught) == {"--pixel-mean R,G,B", "--pixel-std R,G,B"}
