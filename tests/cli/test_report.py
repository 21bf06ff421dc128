import importlib.util
import json

import numpy as np
import pytest
from page_support import Page
from support import names_in


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
    assert cli("report", small_artifact).is_error(2, "DS2TA-517")
    assert cli("report", small_artifact, "--target", "loihi2", "-o", tmp_path / "page.html").is_error(2, "DS2TA-517")
    assert cli("report", small_artifact, "--target", "loihi9").is_error(4, "DS2TA-165")
    assert cli("report", tmp_path, "--target", "loihi2").code == 4
    assert names_in(tmp_path) == []


def timing(**changes):
    fields = {"runtime": "native", "batch": 2, "threads": 1, "milliseconds": 3.5, "spread": 0.1, "best": 3.4, "repeats": 9}
    return {**fields, "open_milliseconds": 12.0, "memory": 4096, "populations": {}, **changes}


def test_a_page_of_everything(cli, tiny_artifact, tiny_checkpoint, tiny_data, tmp_path):
    (tmp_path / "bench.json").write_text(json.dumps([timing()]))
    options = ["--checkpoint", tiny_checkpoint, "--data", tiny_data, "--samples", 3, "--sample", 1, "--heads", "0,2", "--steps", "3"]
    shown = cli("report", tiny_artifact, "--html", "-o", tmp_path / "page.html", "--bench", tmp_path / "bench.json", *options, "--json")
    assert (shown.code, shown.err) == (0, "")
    data = (tmp_path / "page.html").read_bytes()
    assert [entry["size"] for entry in shown.data["pages"]] == [len(data)]
    page = Page(data)
    assert "timings" in [attributes["id"] for attributes in page.named("section")]
    assert "3.50 ± 0.10" in page.text
    assert "of 3 samples" in page.text
    assert "heads 0, 2 of 4; time steps 3 of 4" in page.text
    assert "f, as trained" in page.text


def test_without_a_name_it_is_written_beside_the_artifact(cli, changeable):
    shown = cli("report", changeable, "--html", "--target", "loihi1")
    assert (shown.code, shown.out) == (0, "")
    assert f"wrote {changeable.with_name('changeable.html')}" in shown.err
    assert names_in(changeable.parent) == ["changeable", "changeable.html"]
    again = cli("report", changeable, "--html")
    assert again.is_error(2, "DS2TA-501")


@pytest.fixture
def engine(tmp_path):
    """A folder like that of the npm package; what is in it is run by browsers only."""
    folder = tmp_path / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "9.8.7", "license": "MIT"}')
    (folder / "dist" / "ort.wasm.bundle.min.mjs").write_text("export const script = '</script>';")
    (folder / "dist" / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm")
    return folder


def test_a_live_page_is_written_beside_the_other(cli, changeable, engine):
    shown = cli("report", changeable, "--html", "--live", "--web", engine, "--json")
    assert (shown.code, shown.err) == (0, "")
    pages = [changeable.with_name("changeable.html"), changeable.with_name("changeable.live.html")]
    assert [(entry["page"], entry["size"]) for entry in shown.data["pages"]] == [(str(page), page.stat().st_size) for page in pages]
    pages[0].unlink()
    assert cli("report", changeable, "--html", "--live", "--web", engine).is_error(2, "DS2TA-501")
    assert not pages[0].exists()


@pytest.mark.parametrize("missing", ["package.json", "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"])
def test_the_engine_of_a_live_page_is_named_when_it_is_missing(cli, changeable, engine, missing):
    (engine / missing).unlink()
    shown = cli("report", changeable, "--html", "--live", "--web", engine)
    assert shown.is_error(5, "DS2TA-409")
    assert "npm install onnxruntime-web@" in shown.err
    assert names_in(changeable.parent) == ["changeable", "onnxruntime-web"]
    for text in ("{", "[]", "{}"):
        (engine / "package.json").write_text(text)
        assert cli("report", changeable, "--html", "--live", "--web", engine).is_error(5, "DS2TA-409")


def test_mistakes_about_a_page(cli, small_artifact, small_data, tmp_path):
    out = ["--html", "-o", tmp_path / "page.html"]
    assert cli("report", small_artifact, *out, "--web", tmp_path).is_error(2, "DS2TA-517")
    assert cli("report", small_artifact, "--target", "loihi2", "--live").is_error(2, "DS2TA-517")
    assert cli("report", small_artifact, *out, "--data", small_data, "--inputs", small_data).is_error(2, "DS2TA-517")
    assert cli("report", small_artifact, *out, "--sample", 99).is_error(2, "DS2TA-518")
    assert cli("report", small_artifact, *out, "--heads", "0,5").is_error(2, "DS2TA-518")
    assert cli("report", small_artifact, *out, "--heads", "one").code == 2
    assert cli("report", small_artifact, "--html", "-o", tmp_path / "no" / "page.html").is_error(2, "DS2TA-502")
    assert cli("report", small_artifact, *out, "--data", tmp_path / "missing.npz").is_error(4, "DS2TA-130")
    np.savez(tmp_path / "unlabelled.npz", images=np.zeros((2, 7, 5, 2), np.uint8))
    assert cli("report", small_artifact, *out, "--data", tmp_path / "unlabelled.npz").is_error(4, "DS2TA-134")
    np.savez(tmp_path / "unknown.npz", images=np.zeros((2, 7, 5, 2), np.uint8), labels=np.array([0, 3]))
    assert cli("report", small_artifact, *out, "--data", tmp_path / "unknown.npz").is_error(4, "DS2TA-135")
    np.savez(tmp_path / "larger.npz", images=np.zeros((2, 8, 5, 2), np.uint8))
    assert cli("report", small_artifact, *out, "--inputs", tmp_path / "larger.npz").is_error(4, "DS2TA-121")
    assert not (tmp_path / "page.html").exists()


def test_a_page_with_another_checkpoint(cli, small_artifact, small_data, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    page = tmp_path / "page.html"
    assert cli("report", small_artifact, "--html", "-o", page, "--checkpoint", small_data).is_error(4, "DS2TA-156")
    assert not page.exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", json.dumps([timing(batch=0)]), json.dumps([timing(milliseconds=0)]), "[" * 5000])
def test_what_is_no_list_of_timings(cli, small_artifact, tmp_path, text):
    (tmp_path / "bench.json").write_text(text)
    shown = cli("report", small_artifact, "--html", "-o", tmp_path / "page.html", "--bench", tmp_path / "bench.json")
    assert shown.is_error(4, "DS2TA-190")
    assert names_in(tmp_path) == ["bench.json"]


@pytest.mark.parametrize("absent", ["matplotlib", "jinja2"])
def test_the_command_that_installs_what_is_missing(cli, small_artifact, tiny_checkpoint, tmp_path, monkeypatch, absent):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None if name == absent else found(name, package))
    shown = cli("report", small_artifact, "--html", "-o", tmp_path / "page.html")
    assert shown.is_error(5, "DS2TA-408")
    assert "pip install 'ds2ta-deploy[report]'" in shown.err
    assert cli("export", tiny_checkpoint, "--html", "-o", tmp_path / "out").is_error(5, "DS2TA-408")
    assert names_in(tmp_path) == []


def test_an_export_writes_its_page(cli, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("export", tiny_checkpoint, "--inputs", tiny_data, "--html", "-o", tmp_path / "out", "--json")
    assert shown.code == 0
    assert "report.html" in shown.data["files"]
    assert Page((tmp_path / "out" / "report.html").read_bytes()).ids["agreement"] == 1
    assert cli("verify", tmp_path / "out", "--runtime", "onnxruntime").code == 0
