import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from click.testing import CliRunner

from ds2ta_deploy.checkpoints import load_checkpoint

SCRIPT = Path(__file__).parents[2] / "examples" / "fashion_mnist" / "train.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("train", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path):
    """A data set of 96 and 32 pictures whose class is where they are bright."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for stem, count in (("train", 96), ("t10k", 32)):
        labels = generator.integers(0, 10, count).astype(np.uint8)
        images = generator.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 6] = 220
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    return folder


def train(script, data, output, *options):
    arguments = ["--data", str(data), "-o", str(output), "--epochs", "2", "--batch", "32", *options]
    return CliRunner().invoke(script.main, arguments)


def test_an_interrupted_training_goes_on_to_the_same_network(script, data, tmp_path, monkeypatch):
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    assert train(script, data, whole).exit_code == 0

    once = script.train_epoch

    def interrupted(*arguments, **options):
        if arguments[3] == 1:
            raise KeyboardInterrupt
        return once(*arguments, **options)

    monkeypatch.setattr(script, "train_epoch", interrupted)
    assert train(script, data, resumed).exit_code == 1
    assert resumed.read_bytes() != whole.read_bytes()

    monkeypatch.setattr(script, "train_epoch", once)
    assert train(script, data, resumed, "--resume").exit_code == 0
    assert resumed.read_bytes() == whole.read_bytes()


def test_the_result_is_a_checkpoint_that_has_learned_something(script, data, tmp_path):
    output = tmp_path / "out.safetensors"
    assert train(script, data, output).exit_code == 0
    trained = load_checkpoint(output)
    torch.manual_seed(1)
    fresh = script.build(trained.config)
    assert any(not torch.equal(old, new) for old, new in zip(fresh.parameters(), trained.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in trained.parameters())


def test_augmentation_shifts_and_mirrors_but_invents_no_pixel(script):
    images = torch.randint(1, 256, (8, 28, 28, 1), dtype=torch.uint8)
    changed = script.augment(images, torch.Generator().manual_seed(3))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, images)
    for before, after in zip(images, changed, strict=True):
        padded = torch.nn.functional.pad(before[..., 0], (2, 2, 2, 2))
        shifts = [padded[y : y + 28, x : x + 28] for y in range(5) for x in range(5)]
        assert any(torch.equal(after[..., 0], candidate) for shift in shifts for candidate in (shift, shift.flip(1)))


def test_the_learning_rate_warms_up_and_decays_to_zero(script):
    rates = [script.learning_rate(step, 1000, 0.003) for step in range(1000)]
    assert rates[0] < rates[100] < rates[199]
    assert max(rates) <= 0.003
    assert rates[-1] < 1e-7


def test_without_the_denoiser_every_table_is_the_identity_and_stays_so(script, data, tmp_path):
    output = tmp_path / "ablated.safetensors"
    assert train(script, data, output, "--without", "nsad", "--without", "tasa").exit_code == 0
    model = load_checkpoint(output)
    assert model.config.temporal_window == 1
    for block in model.blocks:
        table = block.attn.denoiser.table()
        assert torch.equal(table, torch.arange(table.shape[1]).expand_as(table).to(table))


def test_other_families_have_nothing_of_ds2ta_to_leave_out(script, data, tmp_path):
    done = train(script, data, tmp_path / "out.safetensors", "--arch", "sdt", "--without", "nsad")
    assert done.exit_code == 2
    assert not (tmp_path / "out.safetensors").exists()
