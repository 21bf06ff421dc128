"""The bundled network, the whole way, by the commands that users type. Minutes, not seconds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from block_marks import blocks_for
from lava_support import needs_lava
from support import COMPARED, STEPPED, copy_artifact, files_of, one_more, rewrite

from ds2ta_deploy.artifact import GOLDEN_INPUTS, GOLDEN_VALUES, MODEL, Artifact
from ds2ta_deploy.datasets import FASHION_MNIST

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"
CHECKPOINT = EXAMPLE / "ds2ta-2-64.safetensors"
PICTURES = EXAMPLE / "ds2ta-2-64.npz"

#: Integers that every runtime must be compared on.
ENOUGH = 5 * 10**7

#: Runs an exported model where there is nothing but NumPy and ONNX Runtime, and compares it with the recorded values.
STRANGER = """
import sys
import numpy as np
import onnxruntime

folder = sys.argv[1]
inputs = np.load(folder + "/vectors/inputs.npz")["images"]
expected = np.load(folder + "/vectors/expected.npz")
session = onnxruntime.InferenceSession(folder + "/model.onnx", providers=["CPUExecutionProvider"])
(logits,) = session.run(None, {session.get_inputs()[0].name: inputs})
assert not {"ds2ta_deploy", "torch", "onnx"} & {name.split(".")[0] for name in sys.modules}
assert logits.dtype == expected["head.logits"].dtype == np.int32
assert np.array_equal(logits, expected["head.logits"])
print(*np.bincount(logits.argmax(1), minlength=10))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export by the command that users type, into a directory that all tests here share."""
    from ds2ta_deploy.cli.main import group, run

    out = tmp_path_factory.mktemp("bundled") / "out"
    assert run(group, ["export", str(CHECKPOINT), "--target", "onnx", "--inputs", str(PICTURES), "-o", str(out)], "ds2ta") == 0
    return out


def test_values_have_the_names_that_the_page_lists(exported):
    (block,) = blocks_for("docs/onnx.md", __file__)
    names = block.text.split()
    assert len(names) > 8
    assert [name for name in names if name not in Artifact.open(exported).graph.types] == []


def assert_parity(data, names, samples=256):
    """Assert that every runtime was compared on enough integers, found equal, and that every layer fired."""
    assert data["passed"] is True
    assert data["samples"] == samples
    assert data["baseline"] == "torch"
    assert [result["runtime"] for result in data["runtimes"]] == names
    for result in data["runtimes"]:
        assert result["integers"] >= ENOUGH
        assert result["different"] == 0
    rates = data["firing_rates"]
    assert len(rates) == 19  # 4 stages and position, per block q, k, v, attention, proj, fc1, fc2
    assert all(0.005 < rate < 0.95 for rate in rates.values()), rates


def test_exporting_verifies_on_what_users_deploy_on(cli, exported):
    manifest = Artifact.open(exported).manifest
    assert [(entry.runtime, entry.different) for entry in manifest.parity] == [("reference", 0), ("onnxruntime", 0), (STEPPED, 0)]
    assert all(entry.integers >= ENOUGH for entry in manifest.parity)


@pytest.mark.parametrize("values", ["populations", "all"])
def test_all_runtimes_compute_the_same_integers(cli, exported, figures, values):
    shown = cli("verify", exported, "--checkpoint", CHECKPOINT, "--values", values, "--json")
    assert shown.code == 0
    assert_parity(shown.data, ["reference", *COMPARED, "golden"])
    if values == "populations":
        rates = shown.data["firing_rates"].values()
        figures.check("firing rates", least=100 * min(rates), most=100 * max(rates))


def test_with_the_functions_expanded_too(cli, tmp_path):
    shown = cli("export", CHECKPOINT, "--inputs", PICTURES, "--inline", "--values", "all", "-o", tmp_path / "out", "--json")
    assert shown.code == 0
    assert_parity(shown.data["parity"], ["reference", "onnxruntime", STEPPED])


@pytest.mark.parametrize("settings", [["--profile", "loihi"], ["--weight-bits", "4"], ["--first-layer-bits", "8"]])
def test_put_on_other_grids_too(cli, tmp_path, settings):
    shown = cli("export", CHECKPOINT, "--inputs", PICTURES, *settings, "-o", tmp_path / "out", "--json")
    assert shown.code == 0
    assert_parity(shown.data["parity"], ["reference", "onnxruntime", STEPPED])


def test_twice_gives_identical_bytes(cli, exported, tmp_path):
    program = [str(Path(sys.executable).with_name("ds2ta-export")), str(CHECKPOINT), "--target", "onnx", "--inputs", str(PICTURES)]
    subprocess.run([*program, "-o", "again"], cwd=tmp_path, check=True, capture_output=True)
    assert files_of(tmp_path / "again") == files_of(exported)


def test_the_file_gives_the_recorded_logits_to_whoever_has_numpy_and_onnxruntime(exported):
    done = subprocess.run([sys.executable, "-c", STRANGER, str(exported)], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert min(map(int, done.stdout.split())) > 0  # every class is decided for some picture


def test_the_recorded_inputs_are_the_bundled_pictures(exported):
    with np.load(exported / GOLDEN_INPUTS) as golden, np.load(PICTURES) as pictures, np.load(exported / GOLDEN_VALUES) as values:
        assert np.array_equal(golden["images"], pictures["images"])
        right = int((values["head.logits"].argmax(1) == pictures["labels"]).sum())
        assert right >= 0.85 * 256


def test_one_weight_changed_by_one(cli, exported, tmp_path):
    changed = copy_artifact(exported, tmp_path / "changed")
    rewrite(changed, MODEL, one_more((changed / MODEL).read_bytes(), "blocks.1.attn.q.weight", 64 * 7 + 3))
    assert cli("verify", changed).is_error(4, "DS2TA-153")
    shown = cli("verify", changed, "--allow-modified", "--runtime", "onnxruntime", "--values", "all")
    assert (shown.code, shown.out) == (1, "")
    (line,) = [line for line in shown.err.splitlines() if line.startswith("error")]
    assert line.startswith("error DS2TA-301 [blocks.1.attn.q.product]: onnxruntime computes ")
    assert "(sample 0, time step " in line
    assert ", index [" in line


def test_the_file_is_small_and_whole(exported):
    model = onnx.load(exported / MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert (exported / MODEL).stat().st_size < 250_000
    assert CHECKPOINT.stat().st_size < 1_000_000
    assert len(json.loads((exported / "manifest.json").read_text())["files"]) == 7


@needs_lava
def test_on_lava_with_the_shortest_command(cli, tmp_path, leftovers, figures):
    shown = cli("export", CHECKPOINT, "--target", "lava", "-o", tmp_path / "out", "--json")
    assert shown.code == 0
    assert_parity(shown.data["parity"], ["reference", "lava", "lava-stepper"])
    (on_lava,) = (result for result in shown.data["parity"]["runtimes"] if result["runtime"] == "lava")
    figures.check("integers on Lava", integers=on_lava["integers"], different=on_lava["different"])
    again = cli("verify", tmp_path / "out", "--runtime", "lava", "--json").data
    assert [(result["runtime"], result["different"]) for result in again["runtimes"]] == [("lava", 0), ("golden", 0)]
    assert min(result["integers"] for result in again["runtimes"]) >= ENOUGH


@needs_lava
def test_on_lavas_own_processes(cli, tmp_path, leftovers, figures):
    arguments = ["--target", "lava", "--lowering", "stock", "--thresholds", "layer", "--samples", 32, "--values", "all"]
    data = cli("export", CHECKPOINT, *arguments, "-o", tmp_path / "out", "--json").data
    stock = data["lowering"]["stock"]
    assert stock == ["blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "blocks.1.mlp.fc2"]
    assert data["lowering"]["why_not"]["blocks.1.mlp.fc1"].startswith("its bias [")
    assert data["parity"]["passed"]
    assert all(0.005 < rate < 0.95 for rate in data["parity"]["firing_rates"].values())
    compared = {result["runtime"]: result for result in data["parity"]["runtimes"]}
    assert {name: result["different"] for name, result in compared.items()} == {"reference": 0, "lava": 0, "lava-stepper": 0}
    assert compared["lava"]["values"] == compared["lava-stepper"]["values"] - 3 * len(stock)
    figures.check("integers on Lava's own processes", integers=compared["lava"]["integers"], different=compared["lava"]["different"])


@pytest.mark.parametrize("family", ["spikformer", "statten"])
def test_trained_networks_of_other_families(cli, tmp_path, leftovers, family):
    arguments = ["--target", "all", "--runtime", "all", "--inputs", PICTURES, "-o", tmp_path / "out", "--json"]
    parity = cli("export", EXAMPLE / f"{family}-2-64.safetensors", *arguments).data["parity"]
    assert_parity(parity, [result["runtime"] for result in parity["runtimes"]])
    assert {"reference", "onnxruntime", "onnx-reference", "lava-stepper"} <= {result["runtime"] for result in parity["runtimes"]}
    labels = cli("eval", tmp_path / "out", "--data", PICTURES, "--json").data
    assert labels["top1_percent"] > 75


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason=f"needs {FASHION_MNIST}: Debian's package dataset-fashion-mnist")
def test_ten_thousand_test_pictures_in_float_and_in_integers(cli, exported, figures):
    floating = cli("eval", CHECKPOINT, "--data", FASHION_MNIST, "--json").data
    integer = cli("eval", exported, "--data", FASHION_MNIST, "--json").data
    assert (floating["runtime"], integer["runtime"]) == ("torch-float", "onnxruntime")
    assert floating["samples"] == integer["samples"] == 10_000
    assert floating["top1_percent"] >= 88.0
    assert abs(floating["top1_percent"] - integer["top1_percent"]) <= 1.0
    figures.check("top-1 in float", percent=floating["top1_percent"])


@pytest.mark.parametrize("optimisation", ["-O0", "-O3"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_c_code_computes_the_same_integers_however_it_is_compiled(exported, compiler, optimisation):
    from ds2ta_deploy.parity import compare_runtimes
    from ds2ta_deploy.runtimes.c_program import CRuntime
    from ds2ta_deploy.runtimes.reference import ReferenceRuntime

    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    graph, pictures = Artifact.open(exported).graph, np.load(PICTURES)["images"]
    other = CRuntime(graph, compiler=compiler, flags=[optimisation, "-Wall", "-Wextra", "-Wconversion", "-Werror"])
    report = compare_runtimes(graph, pictures, ReferenceRuntime(graph), [other], graph.observable)
    assert (report.samples, [result.different for result in report.results]) == (256, [0])
    assert report.results[0].integers > ENOUGH
    assert not report.silent


def test_an_export_for_microcontrollers_says_what_it_takes(cli, tmp_path):
    shown = cli("export", CHECKPOINT, "--target", "c", "--inputs", PICTURES, "--samples", "16", "-o", tmp_path / "out")
    assert shown.code == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["c"]
    assert f"{found['rom_bytes']:,} bytes of constants (ROM), {found['ram_bytes']:,} bytes of state (RAM)" in shown.err
    assert found["rom_bytes"] < 2**18
    assert found["ram_bytes"] < 400_000
