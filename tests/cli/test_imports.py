"""Published checkpoints on the command line: what has to be said, what must not be, and that every command takes them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import pixels_for
from published_files import PUBLISHED, as_flags, network, said_of, write
from support import STEPPED, names_in, read_manifest

from ds2ta_deploy.runtimes.pytorch import FloatRuntime


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return labelled pictures for the DS2TA network."""
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, images=pixels_for(PUBLISHED["ds2ta"][1], 4, 2), labels=np.arange(4))
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return a published checkpoint of a DS2TA network."""
    return write(tmp_path_factory.mktemp("published") / "upstream.pth.tar", "ds2ta", "timm")


FLAGS = as_flags(said_of("ds2ta"))


def test_export_and_verify_with_what_the_artifact_itself_says(cli, published, data, tmp_path):
    out = tmp_path / "out"
    shown = cli("export", published, *FLAGS, "--inputs", data, "-o", out)
    assert shown.code == 0, shown.err
    manifest = read_manifest(out)
    assert manifest["config"]["family"] == "ds2ta"
    assert manifest["config"]["image_height"] == 12
    shown = cli("verify", out, "--checkpoint", published, "--json")  # no flag: the manifest has the config
    assert shown.code == 0, shown.err
    assert shown.data["baseline"] == "torch"
    assert {result["different"] for result in shown.data["runtimes"]} == {0}
    shown = cli("run", out, "--runtime", "torch", "--checkpoint", published, "--inputs", data, "--json")
    expected = cli("run", out, "--inputs", data, "--json")
    assert shown.data["logits"] == expected.data["logits"]
    assert cli("run", out, "--inputs", data, "--arch", "ds2ta").is_error(2, "DS2TA-504")
    assert cli("eval", out, "--data", data, "--time-steps", "4").is_error(2, "DS2TA-504")
    assert cli("inspect", out, "--no-erode").is_error(2, "DS2TA-504")
    other = write(tmp_path / "other.pth.tar", "ds2ta", "timm-ema")
    assert cli("verify", out, "--checkpoint", other).is_error(4, "DS2TA-156")


@pytest.mark.slow
@pytest.mark.parametrize("case", PUBLISHED)
def test_every_familys_own_checkpoint_becomes_every_target(cli, case, tmp_path):
    upstream = write(tmp_path / "upstream.pth.tar", case, "timm")
    runtimes = [word for name in ("onnxruntime", "native", "lava-stepper", "c") for word in ("--runtime", name)]
    shown = cli("export", upstream, *as_flags(said_of(case)), "--target", "all", *runtimes, "-o", tmp_path / "out", "--json")
    assert shown.code == 0, shown.err
    parity = shown.data["parity"]
    assert (parity["passed"], parity["baseline"]) == (True, "torch")
    assert all(0.005 < rate < 0.95 for rate in parity["firing_rates"].values()), parity["firing_rates"]
    assert {result["runtime"]: result["different"] for result in parity["runtimes"]} == dict.fromkeys(
        ("reference", "onnxruntime", STEPPED, "native", "lava-stepper", "c"), 0
    )
    assert cli("verify", tmp_path / "out", "--checkpoint", upstream, "--runtime", "onnxruntime").code == 0


def test_run_eval_and_check(cli, published, data):
    shown = cli("run", published, *FLAGS, "--inputs", data, "--json")
    logits = FloatRuntime(network("ds2ta")).trace(np.load(data)["images"], ["head.logits"])["head.logits"]
    assert (shown.code, shown.data["logits"]) == (0, logits.tolist())
    right = int((logits.argmax(1) == np.arange(4)).sum())
    assert cli("eval", published, *FLAGS, "--data", data, "--json").data["correct"] == right
    shown = cli("check", published, *FLAGS, "--json")
    assert (shown.code, shown.data["supported"], shown.data["family"]) == (0, True, "ds2ta")


def test_what_was_taken_as_published_is_said(cli, published):
    flags = as_flags({name: value for name, value in said_of("ds2ta").items() if name not in ("attention_scale", "temporal_window")})
    shown = cli("check", published, *flags)
    assert shown.code == 0
    assert shown.err == "taken as published for ds2ta-cifar: attention_scale 0.125, temporal_window 3\n"


def test_inspect_shows_each_field_with_who_says_it(cli, tmp_path):
    path = write(tmp_path / "last.pth.tar", "statten", "timm-ema", arguments=True)
    shown = cli("inspect", path, "--images")
    assert shown.code == 0
    lines = shown.out.splitlines()
    parameters = sum(parameter.numel() for parameter in network("statten").parameters())
    assert lines[0] == f"{path}: statten, tensors of state_dict_ema named as in statten"
    assert lines[1] == f"{parameters:,} parameters; 2 tensors that no forward pass reads are left out"
    assert "  embed_dim 32 (the tensors)" in lines
    assert "  chunk_steps 2 (args)" in lines
    assert "  input_kind images (the command)" in lines
    assert "  decay_input True (as published)" in lines
    assert "  threshold 1.0 (the default)" in lines
    found = cli("inspect", path, "--images", "--json").data
    assert found["dead"] == [f"block.{index}.attn.talking_heads.weight" for index in range(2)]
    assert (found["config"]["family"], found["sources"]["chunk_steps"]) == ("statten", "args")
    assert cli("inspect", path, "--certificate").is_error(2, "DS2TA-504")


def test_inspect_shows_the_own_format_too(cli, tiny_checkpoint):
    shown = cli("inspect", tiny_checkpoint)
    assert shown.code == 0
    assert shown.out.startswith(f"{tiny_checkpoint}: ds2ta, tensors of file named as in own\n")
    assert "  time_steps 4 (the file)" in shown.out
    assert cli("inspect", tiny_checkpoint, "--time-steps", "5").is_error(2, "DS2TA-514")


def test_what_lacks_is_asked_for_by_the_names_of_the_flags_and_nothing_is_written(cli, published, tmp_path):
    shown = cli("export", published, "--heads", "4", "-o", tmp_path / "out")
    assert shown.is_error(2, *["DS2TA-515"] * 6)
    for flag in ("--image-size HxW", "--time-steps N", "--images or --events", "--pixel-mean", "--pixel-std", "--decay-input"):
        assert f"(say {flag}" in shown.err
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"head.bias": None}, ["DS2TA-105"]),
        ({"head.biased": 1}, ["DS2TA-106"]),
        ({"head.bias": None, "head.biased": 1}, ["DS2TA-105", "DS2TA-106"]),
        ({"block.0.attn.nsad.u": 3}, ["DS2TA-107"]),
    ],
)
def test_missing_renamed_and_extra_tensors_exit_with_4(cli, tmp_path, changes, codes):
    changed = {name: None if size is None else torch.zeros(size) for name, size in changes.items()}
    path = write(tmp_path / "upstream.pth", "ds2ta", **changed)
    assert cli("check", path, *FLAGS).is_error(4, *codes)
    assert cli("check", path).is_error(4, *codes)  # a wrong file is told before anything is asked


@pytest.mark.parametrize(
    "flags",
    [
        ["--image-size", "32xx"],
        ["--image-size", "1x2x3"],
        ["--image-size", "９"],
        ["--pixel-mean", "a"],
        ["--pixel-std", "nan"],
        ["--pixel-mean", ""],
        ["--time-steps", "0"],
        ["--arch", "vit"],
        ["--erode=yes"],
    ],
)
def test_flags_that_cannot_be_are_usage_errors(cli, published, flags):
    shown = cli("check", published, *flags)
    assert shown.code == 2
    assert flags[0].split("=")[0] in shown.err


def test_a_square_needs_one_number(cli, published, tmp_path):
    said = said_of("spikformer-cifar") | {"image_size": (12, 12)}
    flags = [*as_flags({name: value for name, value in said.items() if name != "image_size"}), "--image-size", "12"]
    shown = cli("inspect", write(tmp_path / "file", "spikformer-cifar"), *flags, "--json")
    assert (shown.data["config"]["image_height"], shown.data["config"]["image_width"]) == (12, 12)
