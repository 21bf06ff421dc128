import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.errors import InputError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.ops import Lookup
from ds2ta_deploy.pages.trained import trained_heads


@pytest.fixture(scope="module")
def exported(tiny_model, tiny_quantized, tiny_graph, tiny_inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    save_checkpoint(tiny_model, folder / "tiny.safetensors")
    options = {"model": tiny_quantized, "checkpoint": folder / "tiny.safetensors", "inputs": tiny_inputs, "verify": False}
    return export(tiny_graph, "onnx", folder / "out", **options), folder / "tiny.safetensors"


def test_the_tables_are_the_trained_functions_rounded_behind_their_gates(exported):
    artifact, checkpoint = exported
    found = trained_heads(Artifact.open(artifact.path), checkpoint)
    tables = {op.name: op.table for op in artifact.graph if isinstance(op, Lookup)}
    assert set(found) == set(tables)
    for name, heads in found.items():
        assert len(heads) == len(tables[name]) == 4
        for head, table in zip(heads, tables[name], strict=True):
            assert np.array_equal(np.floor(head.function + 0.5), table)
            assert not table[np.arange(len(table)) <= head.gate].any()


def test_another_checkpoint_is_refused(exported, tmp_path):
    artifact, checkpoint = exported
    other = tmp_path / "other.safetensors"
    other.write_bytes(checkpoint.read_bytes() + b" ")
    with pytest.raises(InputError, match="DS2TA-156"):
        trained_heads(artifact, other)
    with pytest.raises(InputError, match="DS2TA-101"):
        trained_heads(artifact, tmp_path / "missing.safetensors")
