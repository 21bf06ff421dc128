"""The exported directory alone, where Lava itself is at home: Python 3.10, Lava and NumPy, and nothing of ours."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import assert_fires, small_inputs
from lava_support import chunked_network, write_export
from numpy.typing import NDArray
from stream_graph import build_stream_graph
from support import assert_all_equal

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import read_npz
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv310" / "bin" / "python"
CHECKPOINT = ROOT / "examples" / "fashion_mnist" / "ds2ta-2-64.safetensors"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs Lava on Python 3.10: make python-3.10, where that Python is installed"),
]


@pytest.mark.parametrize(("engine", "lowering"), [("lava", "custom"), ("lava", "stock"), ("stepper", "custom"), ("stepper", "stock")])
def test_the_directory_alone_gives_the_same_spikes(engine, lowering, tmp_path):
    graph = freeze(quantize(load_checkpoint(CHECKPOINT), Quantization(profile="loihi", thresholds="layer")))
    images = read_npz(CHECKPOINT.with_suffix(".npz")).images[:32]
    expected = ReferenceRuntime(graph).trace(images, population_values(graph))
    assert_fires(expected)
    assert_all_equal(expected, run_alone(write_export(graph, tmp_path / "export", lowering), images, engine, tmp_path))


def run_alone(exported: Path, images, engine: str, tmp_path: Path) -> dict[str, NDArray[np.integer]]:
    """Run a copy of an exported directory on Python 3.10 and return the trace."""
    directory = tmp_path / "alone"
    shutil.copytree(exported, directory)
    np.savez(tmp_path / "inputs.npz", images=images)
    command = [PYTHON, "-m", "ds2ta_lava", tmp_path / "inputs.npz", tmp_path / "trace.npz", "--engine", engine]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=directory, env=clean, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with np.load(tmp_path / "trace.npz") as found:
        return dict(found)


@pytest.mark.parametrize("engine", ["lava", "stepper"])
@pytest.mark.parametrize("network", ["streams", "chunks"])
def test_membrane_streams_and_chunks(engine, network, tmp_path):
    graph, images = (build_stream_graph(), small_inputs()) if network == "streams" else chunked_network((1, 2, 4), still=True)
    expected = ReferenceRuntime(graph).trace(images, population_values(graph))
    assert_fires(expected)
    assert_all_equal(expected, run_alone(write_export(graph, tmp_path / "export"), images, engine, tmp_path))


def test_nothing_of_ours_is_installed_there():
    program = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ds2ta_deploy') is not None)"
    assert subprocess.run([PYTHON, "-I", "-c", program], check=False).returncode == 0
