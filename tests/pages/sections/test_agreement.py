import json

import msgspec
import pytest
from builders import trace_of
from support import copy_artifact, frozen, rewrite

from ds2ta_deploy.artifact import GOLDEN_HASHES, REPORT, Artifact, ParityEntry
from ds2ta_deploy.exporting import export
from ds2ta_deploy.pages.observation import observe
from ds2ta_deploy.pages.parts import Mark, Table, Text
from ds2ta_deploy.pages.sections.agreement import agreement
from ds2ta_deploy.pages.summary import summarise
from ds2ta_deploy.report import Report


@pytest.fixture(scope="module")
def artifact(small_graph, small_inputs, tmp_path_factory):
    return export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("agreement") / "out", inputs=small_inputs)


def matrix(artifact, report=None, entries=None):
    """Runtime -> value -> what its cell says."""
    report = report or artifact.read_json(REPORT, Report)
    entries = artifact.manifest.parity if entries is None else entries
    section = agreement(artifact.graph, report, entries, json.loads(artifact.read(GOLDEN_HASHES)))
    (table,) = [block for block in section.blocks if isinstance(block, Table) and block.title.startswith("Different")]
    return {name: {row[0].text: row[table.columns.index(name)] for row in table.rows} for name in table.columns[4:]}, table


def test_every_value_meets_every_runtime(artifact, small_graph, small_inputs):
    cells, table = matrix(artifact)
    trace = trace_of(small_graph, small_inputs)
    assert set(cells) == {"onnxruntime", "onnxruntime-steps"}
    assert set(cells["onnxruntime"].values()) == {Mark("0", "good")}
    assert {row[0].text: row[2] for row in table.rows} == {name: trace[name].size for name in cells["onnxruntime"]}
    assert sum(row[2] for row in table.rows) == artifact.manifest.parity[0].integers
    assert set(cells["onnxruntime-steps"].values()) == {Mark("0", "good")}


def test_what_differs_and_what_is_hidden_stand_at_their_place(artifact):
    entry, _ = artifact.manifest.parity
    report = artifact.read_json(REPORT, Report)
    told = msgspec.structs.replace(
        report, differences={"onnxruntime": {"patch.tokens": 1234, "head.logits": 6}}, hidden={"onnxruntime": ("patch.residual",)}
    )
    other = msgspec.structs.replace(entry, different=1240, values=entry.values - 1)
    cells = matrix(artifact, told, (other,))[0]["onnxruntime"]
    assert (cells["patch.tokens"], cells["head.logits"]) == (Mark("1,234", "bad"), Mark("6", "bad"))
    assert cells["patch.residual"] == "computed in another form"
    assert list(cells.values()).count(Mark("0", "good")) == len(cells) - 3


@pytest.mark.parametrize("changes", [{"values": 3}, {"different": 5}])
def test_what_an_older_report_does_not_tell_is_not_made_up(artifact, changes):
    entry, _ = artifact.manifest.parity
    cells = matrix(artifact, entries=(msgspec.structs.replace(entry, **changes),))[0]["onnxruntime"]
    assert set(cells.values()) == {"not recorded"}


def test_what_was_not_compared_is_not_said_to_agree(artifact, small_inputs):
    unverified = Artifact(artifact.path, msgspec.structs.replace(artifact.manifest, parity=()))
    section = agreement(artifact.graph, artifact.read_json(REPORT, Report), (), {})
    assert isinstance(section.blocks[0], Text)
    assert "switched off" in section.blocks[0].text
    assert verdict(unverified, small_inputs).tone == "doubtful"


def verdict(artifact, inputs):
    return summarise(artifact, artifact.read_json(REPORT, Report), observe(artifact.graph, inputs), None).verdict


def test_the_verdict(artifact, small_inputs, tmp_path):
    assert verdict(artifact, small_inputs) == Mark("Every engine computes the same integers.", "good")
    differing = (ParityEntry("onnxruntime", 5, 1, 10, 1),)
    assert verdict(Artifact(artifact.path, msgspec.structs.replace(artifact.manifest, parity=differing)), small_inputs).tone == "bad"
    copy = copy_artifact(artifact.path, tmp_path / "copy")
    rewrite(copy, "model.onnx", b"other")
    assert verdict(Artifact.open(copy, allow_modified=True), small_inputs) == Mark("Files were changed after the export.", "bad")
