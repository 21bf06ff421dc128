import pytest

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.cli.energy import energy_json
from ds2ta_deploy.energy.constants import FLOAT, INTEGER
from ds2ta_deploy.energy.measure import energy_pj, measure_energy


@pytest.fixture(scope="module")
def report(small_artifact, small_inputs):
    return measure_energy(Artifact.open(small_artifact).graph, small_inputs)


def test_json(cli, small_artifact, small_data, report):
    shown = cli("energy", small_artifact, "--data", small_data, "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.data == energy_json(report, INTEGER)
    total = shown.data["synaptic_operations"]
    assert total.keys() == {"dense", "effective_acs", "effective_macs", "window_additions", "energy_pj"}
    assert (total["effective_acs"], total["energy_pj"]) == (report.total.effective_acs, round(energy_pj(report.total), 3))
    assert sum(layer["synaptic_operations"]["effective_acs"] for layer in shown.data["layers"]) == total["effective_acs"]
    (entry,) = shown.data["attention_maps"]
    assert entry["sparsity_after"] == round(entry["zeros_after"] / entry["entries"], 6)
    assert entry["energy_nj"] == round(0.1 * entry["dense"] * (1 - entry["zeros_after"] / entry["entries"]) / 1000, 6)


def test_a_line_a_layer_and_a_line_a_map(cli, small_artifact, small_data, report):
    shown = cli("energy", small_artifact, "--data", small_data)
    assert (shown.code, shown.err) == (0, "")
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.out.splitlines() if line.startswith("│")]
    assert [line[0] for line in lines] == [*(layer.name for layer in report.layers), *(entry.name for entry in report.maps)]
    for layer, line in zip(report.layers, lines, strict=False):
        done = layer.operations
        counts = (layer.dense, done.effective_acs, done.effective_macs, done.window_additions)
        assert line[1:5] == [f"{count / 5:,.0f}" if count else "" for count in counts]
    (entry,) = report.maps
    assert lines[-1][1:3] == [f"{entry.sparsity_before:.2%}", f"{entry.sparsity_after:.2%}"]
    assert f"energy: {energy_pj(report.total) / 5000:,.1f} nJ a sample" in shown.out
    assert "Horowitz" in shown.out


def test_only_the_first_samples(cli, small_artifact, small_data, small_inputs, small_graph):
    shown = cli("energy", small_artifact, "--data", small_data, "--samples", 2, "--constants", "float32", "--json")
    expected = measure_energy(small_graph, small_inputs[:2])
    assert (shown.data["samples"], shown.data["constants"]["accumulate"]) == (2, 0.9)
    assert shown.data["synaptic_operations"]["energy_pj"] == round(energy_pj(expected.total, FLOAT), 3)


def test_a_checkpoint_is_put_on_the_grid_as_its_artifact_is(cli, tiny_checkpoint, tiny_artifact, tiny_data):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from_artifact, from_checkpoint, coarse = (
        cli("energy", source, "--data", tiny_data, *more, "--json").data
        for source, more in ((tiny_artifact, ()), (tiny_checkpoint, ()), (tiny_checkpoint, ("--weight-bits", 3)))
    )
    assert from_artifact == from_checkpoint
    assert coarse["connection_sparsity"] > from_checkpoint["connection_sparsity"]


def test_errors(cli, small_artifact, small_data, tmp_path):
    assert cli("energy", small_artifact, "--data", tmp_path / "none").is_error(4, "DS2TA-130")
    assert cli("energy", tmp_path, "--data", small_data).is_error(4, "DS2TA-150")
    assert cli("energy", small_artifact, "--data", small_data, "--weight-bits", 4).is_error(2, "DS2TA-504")
    assert cli("energy", small_artifact, "--data", small_data, "--arch", "sdt").is_error(2, "DS2TA-504")
    assert cli("energy", tmp_path / "none", "--data", small_data, "--allow-modified").is_error(2, "DS2TA-504")
    assert cli("energy", small_artifact).code == 2
