import base64
import gzip
import json
import re

import numpy as np
import onnx
import pytest
from page_support import HOSTILE, Page, hostile
from support import copy_artifact, frozen, rewrite

pytest.importorskip("jinja2", reason="needs the extra 'report'")

from ds2ta_deploy.artifact import GOLDEN_VALUES, Artifact
from ds2ta_deploy.datasets import npz_bytes
from ds2ta_deploy.errors import InputError, printable
from ds2ta_deploy.exporting import export
from ds2ta_deploy.pages.live import Engine, build_live
from ds2ta_deploy.runtimes.ort import OnnxRuntime

ENGINE = Engine("9.8.7</script><script>", b"export const tag = '</script>';", b"\0asm")


@pytest.fixture(scope="module")
def artifact(small_graph, small_inputs, tmp_path_factory):
    return export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("live") / "out", inputs=small_inputs)


def carried(page):
    """Take a page's parts out of it, as its program does."""
    found = dict(re.findall(r'<script type="application/octet-stream" id="part-(\w+)">([^<]*)</script>', page.decode()))
    facts = re.search(r'<script type="application/json" id="facts">([^<]*)</script>', page.decode())[1]
    return json.loads(facts), {name: gzip.decompress(base64.b64decode(text)) for name, text in found.items()}


def test_it_carries_the_engine_the_model_and_what_to_check(artifact, small_graph, small_inputs):
    page = build_live(artifact, ENGINE)
    facts, parts = carried(page)
    assert (parts["engine"], parts["wasm"]) == (ENGINE.script, ENGINE.wasm)
    assert parts["samples"] == small_inputs.tobytes()
    assert facts["logits"] == small_graph.execute(small_inputs).tolist()
    assert facts["input"] == {"name": "images", "shape": [1, 7, 5, 2]}
    assert facts["maps"] == [{"scores": "blocks.0.attn.scores", "denoised": "blocks.0.attn.denoised", "grid": [4, 3]}]
    assert facts["layers"] == [name for name in small_graph.observable if name.endswith(".spikes")]
    outputs = {output.name for output in onnx.load_model_from_string(parts["model"]).graph.output}
    assert outputs == {"head.logits", "blocks.0.attn.scores", "blocks.0.attn.denoised", *facts["layers"]}
    trace = OnnxRuntime(parts["model"], small_graph).trace(small_inputs, ["blocks.0.attn.denoised"])
    assert np.array_equal(trace["head.logits"], np.array(facts["logits"], np.int32))


def test_the_same_artifact_gives_the_same_page(artifact):
    assert build_live(artifact, ENGINE) == build_live(Artifact.open(artifact.path), ENGINE)


def test_it_needs_nothing_from_outside_and_names_stay_letters(small_graph, small_inputs, tmp_path):
    data = build_live(export(hostile(frozen(small_graph)), "onnx", tmp_path / "out", inputs=small_inputs), ENGINE)
    page = Page(data)
    assert [script.get("type") for script in page.named("script")] == ["application/json", *["application/octet-stream"] * 4, "module"]
    assert page.named("img") == page.named("link") == []
    assert "default-src 'none'" in page.named("meta")[1]["content"]
    assert not re.search(r"https?://", page.source)
    assert carried(data)[0]["name"] == printable(HOSTILE)


def test_without_the_recorded_logits_there_is_nothing_to_check_against(artifact, tmp_path):
    copy = copy_artifact(artifact.path, tmp_path / "copy")
    rewrite(copy, GOLDEN_VALUES, npz_bytes({"head.logits": np.zeros((2, 3), np.int32)}), rehash=True)
    with pytest.raises(InputError, match="DS2TA-133"):
        build_live(Artifact.open(copy), ENGINE)


def test_an_artifact_without_an_onnx_file_has_none(small_graph, small_inputs, tmp_path):
    artifact = export(frozen(small_graph), "c", tmp_path / "out", inputs=small_inputs, verify=False)
    with pytest.raises(InputError, match="DS2TA-152"):
        build_live(artifact, ENGINE)


def test_every_family_runs_live(family_graphs):
    from ds2ta_deploy.exporters.onnx import to_onnx
    from ds2ta_deploy.pages.live import _shown
    from ds2ta_deploy.runtimes.onnx_file import expose

    for graph in family_graphs.values():
        made = expose(to_onnx(graph), graph, _shown(graph))[1]
        assert set(_shown(graph)) <= set(made)
