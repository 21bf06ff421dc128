"""The commands, run in this process as the program runs them, and things to run them on."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import copy_artifact, frozen

from ds2ta_deploy.cli.main import group, run
from ds2ta_deploy.exporting import export


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What ``--json`` printed; stdout must hold nothing else."""
        return json.loads(self.out)

    def is_error(self, exit_code: int, *codes: str) -> bool:
        """Assert that it ended in exactly these problems, a line each, and printed no data and no traceback."""
        assert self.code == exit_code, self
        lines = [line for line in self.err.splitlines() if line.startswith("error ")]
        assert [line.split()[1].rstrip(":") for line in lines] == list(codes), self.err
        assert lines == self.err.splitlines()[-len(lines) :], "words behind the errors"
        assert "Traceback" not in self.err
        assert self.out == ""
        return True


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys) -> Cli:
    """Return a function that runs ``ds2ta`` with the arguments."""

    def invoke(*arguments: Any) -> Outcome:
        capsys.readouterr()
        code = run(group, [str(argument) for argument in arguments], "ds2ta")
        return Outcome(code, *capsys.readouterr())

    return invoke


@pytest.fixture(scope="session")
def small_artifact(small_graph, small_inputs, tmp_path_factory) -> Path:
    """Return an artifact made without PyTorch. Shared: copy before changing it."""
    out = tmp_path_factory.mktemp("small") / "out"
    export(frozen(small_graph), "onnx", out, inputs=small_inputs, runtimes=["onnxruntime", "onnx-reference"])
    return out


@pytest.fixture
def changeable(small_artifact, tmp_path) -> Path:
    """Return a copy of :func:`small_artifact`."""
    return copy_artifact(small_artifact, tmp_path / "changeable")


@pytest.fixture(scope="session")
def small_data(small_graph, small_inputs, tmp_path_factory) -> Path:
    """Return a labelled data set for :func:`small_artifact`; the graph itself is right on three of five."""
    decisions = small_graph.execute(small_inputs).argmax(1)
    labels = np.where(np.arange(5) < 3, decisions, (decisions + 1) % 3)
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, images=small_inputs, labels=labels)
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_model, tmp_path_factory) -> Path:
    """Return a checkpoint of the tiny network."""
    from ds2ta_deploy.checkpoints import save_checkpoint

    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_checkpoint(tiny_model, path)
    return path


@pytest.fixture(scope="session")
def tiny_data(tiny_inputs, tmp_path_factory) -> Path:
    """Return labelled inputs for the tiny network."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, images=tiny_inputs, labels=np.arange(4))
    return path


@pytest.fixture(scope="session")
def tiny_artifact(tiny_checkpoint, tiny_data, tmp_path_factory) -> Path:
    """Return what the command exports from :func:`tiny_checkpoint`. Shared: copy before changing it."""
    out = tmp_path_factory.mktemp("tiny") / "out"
    arguments = ["export", str(tiny_checkpoint), "--inputs", str(tiny_data), "-o", str(out)]
    assert run(group, arguments, "ds2ta") == 0
    return out


@pytest.fixture
def altered_checkpoint(tiny_model, tmp_path) -> Callable[..., Path]:
    """Return a function that writes a checkpoint whose tensors or config were changed."""
    import msgspec
    import safetensors.torch

    from ds2ta_deploy.checkpoints import HEADER_KEY

    def alter(change: Callable[[dict[str, Any]], None] | None = None, **config: Any) -> Path:
        tensors = {name: tensor.clone().contiguous() for name, tensor in copy.deepcopy(tiny_model).state_dict().items()}
        if change is not None:
            change(tensors)
        header = json.dumps(msgspec.to_builtins(tiny_model.config) | config)
        path = tmp_path / "altered.safetensors"
        safetensors.torch.save_file(tensors, path, {HEADER_KEY: header})
        return path

    return alter
