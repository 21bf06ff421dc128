import pytest


def test_a_line_a_population_then_what_does_not_fit_then_the_sources(cli, small_artifact):
    shown = cli("report", small_artifact, "--target", "loihi2")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert any("blocks.0.mlp.fc1 " in line and "│" in line for line in lines)
    assert "Does not fit:" in lines
    assert "    blocks.0.attn" in lines
    assert "  cores per chip: 128*. Intel's technology brief" in shown.out
    assert lines[-1].endswith("nothing was run on a chip.")


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_it_never_says_that_it_runs_on_a_chip(cli, small_artifact, chip):
    words = " ".join(cli("report", small_artifact, "--target", chip).out.split()).lower()
    assert "runs on" not in words
    assert "run on loihi" not in words


def test_json(cli, small_artifact):
    data = cli("report", small_artifact, "--target", "loihi1", "--json").data
    assert (data["schema"], data["chip"]["name"], data["fits"]) == ("ds2ta-fit/1", "loihi1", False)
    assert {"name", "neurons", "synapses", "weight_bits", "state_bits", "payload_bits", "cores", "problems"} <= set(data["populations"][0])
    assert data["chip"]["limits"]["neurons_per_core"]["second_hand"] is True


def test_mistakes(cli, small_artifact, tmp_path):
    assert cli("report", small_artifact).code == 2
    assert cli("report", small_artifact, "--target", "loihi9").is_error(4, "DS2TA-165")
    assert cli("report", tmp_path, "--target", "loihi2").code == 4
