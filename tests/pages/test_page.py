import json
import re

import numpy as np
import pytest
from builders import pixels_for
from family_configs import CONFIGS
from page_support import HOSTILE, Page, hostile
from support import Tampered, copy_artifact, frozen, rewrite

pytest.importorskip("matplotlib", reason="needs the extra 'report'")

from ds2ta_deploy import exporting
from ds2ta_deploy.artifact import PAGE, Artifact
from ds2ta_deploy.errors import ParityError, printable
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.ops import Lookup
from ds2ta_deploy.pages.page import PageOptions, build_page
from ds2ta_deploy.runtimes.table import open_runtime

SECTIONS = ["agreement", "activity", "attention", "denoisers", "operations", "bounds", "integers", "memory", "chips", "origin"]


@pytest.fixture(scope="module")
def artifact(small_graph, small_inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "out"
    return export(frozen(small_graph), "onnx", out, inputs=small_inputs)


@pytest.fixture(scope="module")
def page(artifact):
    return Page(build_page(artifact))


def test_every_section_is_there_and_linked(page):
    assert [attributes["id"] for attributes in page.named("section")] == SECTIONS
    links = [attributes["href"] for attributes in page.named("a")]
    assert links[1:] == [f"#{name}" for name in SECTIONS]
    assert {link[1:] for link in links} <= set(page.ids)


def test_it_needs_nothing_from_outside(page):
    assert page.named("script") == page.named("link") == page.named("img") == []
    assert "default-src 'none'" in page.named("meta")[1]["content"]
    outside = set(re.findall(r"https?://[^\"' <]+", page.source))
    assert outside <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!#)", page.source)


def test_no_name_is_given_twice(page):
    assert [name for name, times in page.ids.items() if times > 1] == []
    referred = {
        attributes["xlink:href"][1:] for _, attributes in page.elements if "xlink:href" in attributes and attributes["xlink:href"][0] == "#"
    }
    assert referred <= set(page.ids)


def test_every_picture_has_words_and_numbers(page):
    drawings = [attributes for attributes in page.named("div") if attributes.get("class") == "drawing"]
    assert len(drawings) == len(page.named("svg")) == len(page.named("figure")) > 30
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 30 for attributes in drawings)
    for figure in re.findall(r"<figure>.*?</figure>", page.source, re.DOTALL):
        assert "<figcaption>" in figure
        assert figure.count("<table>") == 1
        assert figure.count("<td") > 3


def test_the_numbers_are_the_artifacts(page, artifact, small_graph, small_inputs):
    manifest = artifact.manifest
    total = sum(entry.integers for entry in manifest.parity)
    assert f"different integers of {total:,}" in page.text
    assert "Every engine computes the same integers." in page.text
    hashes = json.loads(artifact.read("vectors/hashes.json"))
    assert all(name in page.text and value in page.text for name, value in hashes.items())
    assert all(entry.sha256 in page.text for entry in manifest.files.values())
    assert "compared: reference, onnxruntime" in page.text


def test_the_same_artifact_gives_the_same_page(page, artifact):
    assert build_page(Artifact.open(artifact.path)).decode() == page.source


def test_another_choice_gives_another_page(page, artifact, small_inputs):
    options = PageOptions(inputs=small_inputs[:3], labels=np.array([0, 1, 9]), sample=2, chips=("loihi1",))
    other = Page(build_page(artifact, options))
    decisions = artifact.graph.execute(small_inputs[:3]).argmax(axis=1)
    right = int((decisions == [0, 1, 9]).sum())
    assert f"{right} of 3 samples" in other.text
    assert "Spikes of sample 2" in other.text
    assert "loihi2" not in other.text
    assert "loihi2" in page.text


def test_names_from_a_file_are_letters_and_nothing_else(small_graph, small_inputs, tmp_path):
    graph = hostile(frozen(small_graph))
    artifact = export(graph, "onnx", tmp_path / "out", inputs=small_inputs, html=True)
    found = Page(artifact.read(PAGE))
    assert found.named("script") == found.named("img") == []
    assert found.source.count("<script") == 0
    assert "{{7*7}}" in found.source
    assert printable(HOSTILE) in found.text
    assert "\u202e" not in found.source
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert [attributes["id"] for attributes in found.named("section")] == SECTIONS


def test_an_export_can_hold_its_page(artifact, small_graph, small_inputs, tmp_path):
    written = export(frozen(small_graph), "onnx", tmp_path / "out", inputs=small_inputs, html=True)
    assert PAGE in written.manifest.files
    assert {"jinja2", "matplotlib"} <= set(written.manifest.versions)
    opened = Artifact.open(written.path)
    assert [attributes["id"] for attributes in Page(opened.read(PAGE)).named("section")] == SECTIONS
    assert {name: entry for name, entry in opened.manifest.files.items() if name != PAGE} == artifact.manifest.files


def test_a_failed_export_shows_where(small_graph, small_inputs, tmp_path, monkeypatch):
    def tampered(name, staged, *arguments, **options):
        honest = open_runtime(name, staged, *arguments, **options)
        return Tampered(honest, "blocks.0.attn.q.spikes", (1, 2, 3, 4))

    monkeypatch.setattr(exporting, "open_runtime", tampered)
    with pytest.raises(ParityError):
        export(frozen(small_graph), "onnx", tmp_path / "out", inputs=small_inputs, html=True)
    found = Page((tmp_path / "out.failed" / PAGE).read_bytes())
    assert "Engines disagree" in found.text
    row = re.search(
        r"<tr>\s*<th scope=row class=\"code\">blocks\.0\.attn\.q\.spikes</th>(?:(?!</tr>).)*class=\"mark bad\">1</td>",
        found.source,
        re.DOTALL,
    )
    assert row
    assert found.source.count('class="mark bad">1</td>') == 2  # the runtime's sum, and that value


def test_values_that_no_longer_come_out_have_no_page(artifact, tmp_path):
    copy = copy_artifact(artifact.path, tmp_path / "copy")
    hashes = json.loads((copy / "vectors/hashes.json").read_text())
    rewrite(copy, "vectors/hashes.json", json.dumps({**hashes, "patch.tokens": "0" * 64}).encode(), rehash=True)
    with pytest.raises(ParityError, match=r"DS2TA-304.*patch\.tokens"):
        build_page(Artifact.open(copy))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_family_has_a_page(name, family_graphs, tmp_path):
    graph = family_graphs[name]
    artifact = export(graph, "onnx", tmp_path / "out", inputs=pixels_for(CONFIGS[name], 2, seed=2), verify=False)
    found = Page(build_page(artifact))
    expected = [section for section in SECTIONS if section != "denoisers" or any(isinstance(op, Lookup) for op in graph)]
    assert [attributes["id"] for attributes in found.named("section")] == expected
