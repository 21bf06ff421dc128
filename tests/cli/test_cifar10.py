"""The CIFAR-10 network and its pictures, the whole way, by the commands that users type. Minutes, not seconds."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("PIL", reason="needs Pillow: pip install 'ds2ta-deploy[images]'")

from support import COMPARED, NATIVE, STEPPED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "examples" / "cifar10" / "ds2ta-2-64-cifar10.safetensors"
PICTURES = ROOT.parent / "shared" / "data" / "cifar10.zip"

needs_pictures = pytest.mark.skipif(not PICTURES.exists(), reason="needs ../shared/data/cifar10.zip: CIFAR-10 in class folders")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export by the command that users type; verified on synthetic pictures, because none of the data set may be kept here."""
    from ds2ta_deploy.cli.main import group, run

    out = tmp_path_factory.mktemp("cifar10") / "out"
    assert run(group, ["export", str(CHECKPOINT), "--target", "onnx", "-o", str(out)], "ds2ta") == 0
    return out


def assert_parity(data, names, samples):
    """Assert that every runtime was compared on all values, found equal, and that every layer fired."""
    assert data["passed"] is True
    assert data["samples"] == samples
    assert [result["runtime"] for result in data["runtimes"]] == names
    assert all(result["integers"] > 500_000 * samples and result["different"] == 0 for result in data["runtimes"])
    assert len(data["firing_rates"]) == 19
    assert all(0.005 < rate < 0.95 for rate in data["firing_rates"].values()), data["firing_rates"]


def test_all_runtimes_compute_the_same_integers_on_synthetic_pictures(cli, exported):
    shown = cli("verify", exported, "--checkpoint", CHECKPOINT, "--json")
    assert shown.code == 0
    assert_parity(shown.data, ["reference", *COMPARED, "golden"], 8)


@needs_pictures
def test_real_pictures_give_the_same_integers_and_are_kept_in_the_artifact(cli, tmp_path, figures):
    shown = cli("export", CHECKPOINT, "--inputs", PICTURES, "--samples", "256", "--values", "all", "-o", tmp_path / "out", "--json")
    assert shown.code == 0
    parity = shown.data["parity"]
    assert_parity(parity, ["reference", "onnxruntime", STEPPED], 256)
    rates, (found,) = parity["firing_rates"].values(), (each for each in parity["runtimes"] if each["runtime"] == "onnxruntime")
    figures.check(
        "CIFAR-10 compared", integers=found["integers"], different=found["different"], least=100 * min(rates), most=100 * max(rates)
    )


@needs_pictures
@pytest.mark.parametrize("runtime", ["onnxruntime", *NATIVE])
def test_the_integers_are_as_often_right_as_the_readme_says(cli, exported, figures, runtime):
    shown = cli("eval", exported, "--data", PICTURES, "--runtime", runtime, "--json").data
    assert (shown["runtime"], shown["samples"]) == (runtime, 10_000)
    figures.check("CIFAR-10 in integers", percent=shown["top1_percent"], right=shown["correct"])


@needs_pictures
def test_the_trained_network_is_as_often_right_as_the_readme_says(cli, figures):
    shown = cli("eval", CHECKPOINT, "--data", PICTURES, "--json").data
    assert (shown["runtime"], shown["samples"]) == ("torch-float", 10_000)
    figures.check("CIFAR-10 in float", percent=shown["top1_percent"], right=shown["correct"])
