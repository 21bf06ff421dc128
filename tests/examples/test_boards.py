"""The bundled network on emulated microcontrollers. Minutes on a slow machine, and not installed everywhere."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from block_marks import blocks_for
from builders import build_small_graph, small_inputs
from c_support import write

from ds2ta_deploy.exporters.c import to_c

BOARDS = Path(__file__).parents[2] / "examples" / "boards"


def load():
    """Import the script."""
    spec = importlib.util.spec_from_file_location("boards_run", BOARDS / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pytestmark = pytest.mark.slow

boards = load()


@pytest.mark.parametrize("board", boards.BOARDS, ids=lambda board: board.name)
def test_the_small_network_passes_and_a_changed_one_is_named(tmp_path, board):
    if board.missing:
        pytest.skip(f"{' and '.join(board.missing)} not installed: bash examples/boards/install.sh")
    code = write(to_c(build_small_graph(), small_inputs()), tmp_path)
    result, said = boards.emulate(board, boards.build(board, code, tmp_path))
    assert (result, said.splitlines()[0]) == (0, "PASS small")
    stack = int(said.splitlines()[1].split()[1])
    assert 100 < stack < 1024
    found, announced = boards.sizes(board, code, tmp_path), boards.announced(code)
    assert {kind: found[kind] for kind in announced} == announced
    assert 4000 < found["code"] < 20_000
    data = (code / "model_data.c").read_text()
    place = data.index("{\n    ", data.index("const int8_t weight_")) + 6
    (code / "model_data.c").write_text(f"{data[:place]}7 + {data[place:]}")
    result, said = boards.emulate(board, boards.build(board, code, tmp_path))
    assert result == 1
    assert said.startswith("FAIL patch.position.product: differs (its checksum)\n")


@pytest.mark.parametrize("board", boards.BOARDS, ids=lambda board: board.name)
def test_the_code_of_the_bundled_network_is_as_large_as_the_page_says(tmp_path, figures, board):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.checkpoints import load_checkpoint
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.quantization import quantize

    if board.missing:
        pytest.skip(f"{' and '.join(board.missing)} not installed: bash examples/boards/install.sh")
    version = subprocess.run([f"{board.prefix}gcc", "-dumpversion"], capture_output=True, text=True, check=True).stdout
    if version.split(".")[0] != "12":
        pytest.skip(f"needs GCC 12, whose code the page has; this is {version.strip()}")
    model = load_checkpoint(BOARDS.parent / "fashion_mnist" / "ds2ta-2-64.safetensors")
    pixels = np.zeros((1, *model.config.input_shape[1:]), np.uint8)
    found = boards.sizes(board, write(to_c(freeze(quantize(model)), pixels), tmp_path), tmp_path)
    figures.check(f"C: code, {board.name}", code=found["code"])


def test_the_bundled_network_needs_what_the_page_says(tmp_path):
    """What `make boards` runs."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    for board in boards.BOARDS:
        if board.missing:
            pytest.skip(f"{' and '.join(board.missing)} not installed: bash examples/boards/install.sh")
    out, checkpoint = tmp_path / "out", BOARDS.parent / "fashion_mnist" / "ds2ta-2-64.safetensors"
    export = [sys.executable, "-m", "ds2ta_deploy.cli.main", "export", checkpoint, "--target", "c", "--samples", "8", "-o", out]
    subprocess.run(export, check=True, capture_output=True)
    done = subprocess.run([sys.executable, BOARDS / "run.py", out / "c"], capture_output=True, text=True, check=True)
    (block,) = blocks_for("docs/c.md", __file__)
    assert done.stdout == block.text
