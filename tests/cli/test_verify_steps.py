"""``ds2ta verify --steps``."""

import json

import pytest

from ds2ta_deploy.exporting import export


@pytest.fixture(scope="module")
def stepping_artifact(small_graph, tmp_path_factory):
    return export(small_graph, target="lava", out=tmp_path_factory.mktemp("steps") / "out", runtimes=["lava-stepper"]).path


def test_a_report_for_each_number_of_steps(cli, stepping_artifact):
    shown = cli("verify", stepping_artifact, "--steps", "1,3,3", "--runtime", "lava-stepper", "--json")
    assert shown.code == 0
    reports = json.loads(shown.out)["steps"]
    assert [report["time_steps"] for report in reports] == [1, 3]
    assert all(report["passed"] and report["runtimes"][0]["integers"] > 1000 for report in reports)


def test_a_table_for_people(cli, stepping_artifact):
    shown = cli("verify", stepping_artifact, "--steps", "2", "--runtime", "lava-stepper")
    assert shown.code == 0
    assert "2 time steps, one by one" in shown.out + shown.err
    assert "every integer is equal" in shown.err


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--steps", "a,b"], ""), (["--steps", "2", "--checkpoint", "x"], "DS2TA-525"), (["--steps", "0"], "DS2TA-524")],
)
def test_what_cannot_be(cli, stepping_artifact, options, code):
    shown = cli("verify", stepping_artifact, *options)
    assert shown.code == 2
    assert code in shown.err
