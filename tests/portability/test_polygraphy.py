"""What docs/neighbours.md says of polygraphy: the command there marks every value of an exported file and runs it."""

import shlex
import subprocess
import sys

import numpy as np
import pytest
from block_marks import blocks_for
from builders import assert_fires, trace_of
from support import frozen

from ds2ta_deploy.exporting import export

pytestmark = pytest.mark.portability

comparator = pytest.importorskip("polygraphy.comparator", reason="needs the extra portability: make portability")

#: The program, in this environment.
PROGRAM = [sys.executable, "-c", "import sys; sys.argv[0] = 'polygraphy'; from polygraphy.tools import main; sys.exit(main())"]


def documented():
    """Return the words of the command on the page, and the loader of inputs there."""
    commands, loader = blocks_for("docs/neighbours.md", __file__)
    install, command = commands.commands()
    assert install == "pip install polygraphy onnx onnxruntime"
    program, *words = shlex.split(command)
    assert program == "polygraphy"
    return words, loader.text


def test_every_value_is_marked_and_equal(small_graph, small_inputs, tmp_path):
    export(frozen(small_graph), "onnx", tmp_path / "OUT", inputs=small_inputs)
    command, loader = documented()
    (tmp_path / "inputs.py").write_text(loader)
    done = subprocess.run([*PROGRAM, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (iterations,) = comparator.RunResults.load(str(tmp_path / "outputs.json")).values()
    expected = trace_of(small_graph, small_inputs)
    assert_fires(expected)
    assert len(iterations) == len(small_inputs)
    for number, outputs in enumerate(iterations):
        found = {name: np.asarray(outputs[name]) for name in outputs if name in expected}
        assert set(found) >= {name for name in expected if name.endswith((".spikes", ".logits"))}
        for name, array in found.items():
            axis = 0 if name == small_graph.output else 1
            assert array.dtype.kind in "iu"
            assert (array == np.take(expected[name], [number], axis)).all(), name
