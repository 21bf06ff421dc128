import importlib.util
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("PIL", reason="needs Pillow: pip install 'ds2ta-deploy[images]'")

from click.testing import CliRunner
from picture_files import archived, encoded

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.models.presets import PRESETS

SCRIPT = Path(__file__).parents[2] / "examples" / "cifar10" / "train.py"
PRESET = "ds2ta-2-64-cifar10"

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm: pip install 'ds2ta-deploy[training]'")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Sums of floats depend on the number of threads, and two processes may begin with different ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_cifar10", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twenty training pictures of two classes, one of them bright, and six test pictures."""
    generator, files = np.random.default_rng(0), {}
    for split, count in (("train", 10), ("test", 3)):
        for number in range(count):
            picture = generator.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            files[f"{split}/bright/{number}.png"], files[f"{split}/dark/{number}.png"] = encoded(picture + 130), encoded(picture)
    return archived(tmp_path_factory.mktemp("data") / "cifar.zip", files)


#: Runs the script, and is killed when it has written its state for the third time.
_KILLED = """
import os, runpy, signal, sys
from pathlib import Path

import torch

torch.set_num_threads(1)
written, replace = [], Path.replace

def replace_and_die(self, target):
    made = replace(self, target)
    written.append(target)
    if sum(Path(path).name.endswith(".training.pt") for path in written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return made

Path.replace = replace_and_die
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def options(data, output, *more):
    fixed = ["--preset", PRESET, "--epochs", "2", "--batch", "4", "--warmup", "2", "--save-every", "1", "--augmentation", "light"]
    return [*fixed, "--device", "cpu", "--data", str(data), "-o", str(output), *more]


def train(script, *arguments):
    return CliRunner().invoke(script.main, options(*arguments))


def records(output):
    return [json.loads(line) for line in output.with_suffix(".jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(script, data, tmp_path_factory):
    """Train without an interruption."""
    output = tmp_path_factory.mktemp("whole") / "net.safetensors"
    result = train(script, data, output)
    assert result.exit_code == 0, result.output
    return output


def test_a_killed_training_goes_on_to_the_same_network(script, data, whole, tmp_path):
    output = tmp_path / "net.safetensors"
    state = output.with_suffix(".training.pt")
    command = [sys.executable, "-c", _KILLED, str(SCRIPT), *options(data, output)]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=300, check=False).returncode == -signal.SIGKILL
    step = torch.load(state, weights_only=True)["step"]
    assert step == 3
    assert train(script, data, output, "--resume").exit_code == 0
    same = output.read_bytes() == whole.read_bytes()
    assert same  # not compared in the assertion, which would look for the first of a million bytes that differs
    started, resumed = (record for record in records(output) if record["event"] in {"started", "resumed"})
    assert (started["step"], resumed["step"]) == (0, step)


def test_the_log_says_what_was_trained_and_how_far_it_came(whole):
    first, *epochs = records(whole)
    assert first["event"] == "started"
    assert first["total"] == 10
    assert first["settings"]["preset"] == PRESET
    assert [(epoch["epoch"], epoch["step"], epoch["steps_averaged"]) for epoch in epochs] == [(1, 5, 5), (2, 10, 5)]
    assert all(epoch["loss"] > 0 and 0 <= epoch["top1_test"] <= 100 for epoch in epochs)


def test_the_checkpoint_is_of_the_preset_and_has_changed(script, whole):
    trained = load_checkpoint(whole)
    assert trained.config == PRESETS[PRESET]
    torch.manual_seed(1)
    fresh = script.build(trained.config)
    assert any(not torch.equal(old, new) for old, new in zip(fresh.parameters(), trained.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in trained.parameters())


def test_a_training_with_other_settings_is_not_gone_on_with(script, data, whole):
    result = train(script, data, whole, "--resume", "--peak-rate", "0.5")
    assert result.exit_code == 1
    assert "peak_rate: 0.001 there, 0.5 here" in result.output


def test_mixed_precision_and_fewer_measurements(script, data, tmp_path):
    output = tmp_path / "net.safetensors"
    assert train(script, data, output, "--precision", "bf16", "--evaluate-every", "2").exit_code == 0
    assert [record["top1_test"] is None for record in records(output)[1:]] == [True, False]
    assert all(parameter.dtype == torch.float32 for parameter in load_checkpoint(output).parameters())


def test_data_that_cannot_be_read_are_one_line(script, tmp_path):
    (tmp_path / "empty.zip").write_bytes(b"")
    result = train(script, tmp_path / "empty.zip", tmp_path / "net.safetensors")
    assert result.exit_code == 1
    assert "DS2TA-146" in result.output


def test_too_few_pictures_for_a_batch(script, data, tmp_path):
    result = train(script, data, tmp_path / "net.safetensors", "--batch", "64")
    assert result.exit_code == 1
    assert "no batch of 64" in result.output


@needs_timm
def test_timms_augmentation_gives_bytes_and_shares_and_depends_on_the_generator_alone(script):
    augment = script.make_augmentation("timm", PRESETS[PRESET])
    images = torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6)
    results = []
    for seed in (5, 5, 6):
        random.random()
        np.random.random()  # noqa: NPY002 - whatever was drawn before
        results.append(augment(images, labels, torch.Generator().manual_seed(seed)))
    (pictures, shares), (again, same), (other, _) = results
    assert pictures.dtype == torch.uint8
    assert pictures.shape == images.shape
    assert shares.shape == (6, 10)
    assert torch.allclose(shares.sum(1), torch.ones(6))
    assert torch.equal(pictures, again)
    assert torch.equal(shares, same)
    assert not torch.equal(pictures, other)
    assert not torch.equal(pictures, images)


@needs_timm
def test_training_with_timms_augmentation(script, data, tmp_path):
    output = tmp_path / "net.safetensors"
    assert train(script, data, output, "--augmentation", "timm", "--epochs", "1").exit_code == 0
    assert records(output)[0]["settings"]["augmentation"] == "timm"


def test_without_timm_the_installing_command_is_named(script, data, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "timm" else find(name, *rest))
    result = train(script, data, tmp_path / "net.safetensors", "--augmentation", "timm")
    assert result.exit_code == 1
    assert "ds2ta-deploy[training]" in result.output
