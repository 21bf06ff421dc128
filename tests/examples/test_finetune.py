"""The script that fine-tunes: an interruption changes nothing, and its checkpoint exports what it trained."""

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import trace_of
from click.testing import CliRunner

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.cli.main import group
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.quantization import quantize

FOLDER = Path(__file__).parents[2] / "examples" / "fashion_mnist"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("finetune", FOLDER / "finetune.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path):
    """A data set of 12 and 4 random pictures."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for stem, count in (("train", 12), ("t10k", 4)):
        labels = generator.integers(0, 10, count).astype(np.uint8)
        images = generator.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    return folder


def finetune(script, data, output, *options):
    given = [str(FOLDER / "ds2ta-2-64.safetensors"), "--weight-bits", "4", "--data", str(data), "-o", str(output)]
    return CliRunner().invoke(script.main, [*given, "--epochs", "2", "--images", "8", "--batch", "4", *options])


def test_an_interrupted_fine_tuning_goes_on_to_the_same_network(script, data, tmp_path, monkeypatch):
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    assert finetune(script, data, whole).exit_code == 0
    once = script.train_epoch

    def interrupted(*arguments, **options):
        if arguments[3] == 1:
            raise KeyboardInterrupt
        return once(*arguments, **options)

    monkeypatch.setattr(script, "train_epoch", interrupted)
    assert finetune(script, data, resumed).exit_code == 1
    assert resumed.read_bytes() != whole.read_bytes()
    monkeypatch.setattr(script, "train_epoch", once)
    assert finetune(script, data, resumed, "--resume").exit_code == 0
    assert resumed.read_bytes() == whole.read_bytes()
    assert whole.stat().st_size < 500_000

    before, after = load_checkpoint(FOLDER / "ds2ta-2-64.safetensors"), load_checkpoint(whole)
    assert before.config == after.config
    assert not torch.equal(before.head.weight, after.head.weight)
    exported = ["export", str(whole), "--weight-bits", "4", "-o", str(tmp_path / "out"), "--samples", "2"]
    assert CliRunner().invoke(group, exported).exit_code == 0  # every runtime of the target computes the same integers


def spikes(checkpoint):
    """How often the populations of a checkpoint fire on the bundled pictures, in all."""
    pictures = np.load(FOLDER / "ds2ta-2-64.npz")["images"][:4]
    graph = freeze(quantize(load_checkpoint(checkpoint)))
    return sum(int(value.sum()) for name, value in trace_of(graph, pictures).items() if name.endswith(".spikes"))


def test_a_penalty_on_operations_leaves_fewer_spikes(script, data, tmp_path):
    plain, sparse = tmp_path / "plain.safetensors", tmp_path / "sparse.safetensors"
    assert finetune(script, data, plain, "--peak-rate", "1e-3").exit_code == 0
    done = finetune(script, data, sparse, "--peak-rate", "1e-3", "--operations-penalty", "20")
    assert done.exit_code == 0
    assert spikes(sparse) < 0.95 * spikes(plain)
