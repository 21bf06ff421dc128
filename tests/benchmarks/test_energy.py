import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from benchmarks.energy import main
from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.energy.measure import measure_energy


def cells(done):
    assert done.exit_code == 0, done.output
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in done.output.splitlines()]


def test_the_papers_table():
    heads, _, *rows = cells(CliRunner().invoke(main, ["paper"]))
    saved = heads.index("saved")
    assert [row[saved] for row in rows] == ["88.3 %", "90.6 %", "91.1 %", "91.9 %"]
    assert [row[3:5] for row in rows] == [["7.69 nJ", "0.90 nJ"], ["6.93 nJ", "0.65 nJ"], ["6.28 nJ", "0.56 nJ"], ["5.19 nJ", "0.42 nJ"]]


def test_a_line_a_network(tiny_model, tiny_graph, tiny_inputs, tmp_path):
    import numpy as np

    save_checkpoint(tiny_model, tmp_path / "tiny.safetensors")
    right = tiny_graph.execute(tiny_inputs).argmax(1)
    labels = right.copy()
    labels[3] = (labels[3] + 1) % 5
    np.savez(tmp_path / "data.npz", images=tiny_inputs, labels=labels)
    heads, _, row = cells(CliRunner().invoke(main, ["networks", str(tmp_path / "tiny.safetensors"), "--data", str(tmp_path / "data.npz")]))
    found = dict(zip(heads, row, strict=True))
    expected = measure_energy(tiny_graph, tiny_inputs)
    assert (found["network"], found["top-1"]) == ("tiny", "75.00 %")
    assert found["effective ACs"] == f"{expected.total.effective_acs / 4:,.0f}"
    assert found["behind the denoiser"] == f"{expected.maps[0].sparsity_after:.2%}"
