"""The published JSON schemas are those of the code, and what an export writes is valid under them."""

import importlib.util
import json
from pathlib import Path

import pytest
from support import frozen

from ds2ta_deploy.artifact import MANIFEST, REPORT
from ds2ta_deploy.exporting import export

ROOT = Path(__file__).parents[2]


def load(name):
    """Import a script of docs/tools."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


schemas = load("write_schemas")


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_the_files_are_as_the_types_are(name):
    found = (schemas.FOLDER / name).read_text(encoding="utf-8")
    assert found == schemas.schema(schemas.SCHEMAS[name]), "stale: python docs/tools/write_schemas.py"


@pytest.fixture(scope="module")
def written(small_graph, small_inputs, tmp_path_factory):
    """Return what an export wrote, by the schema's name."""
    out = export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("out") / "out", inputs=small_inputs).path
    return {
        "report.schema.json": json.loads((out / REPORT).read_text()),
        "manifest.schema.json": json.loads((out / MANIFEST).read_text()),
    }


@pytest.fixture
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra dev: pip install 'ds2ta-deploy[dev]'")

    def make(name):
        schema = json.loads((schemas.FOLDER / name).read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        return jsonschema.Draft202012Validator(schema)

    return make


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_what_an_export_writes_is_valid(name, validator, written):
    assert list(validator(name).iter_errors(written[name])) == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("report.schema.json", {"dense_operations": "many"}),
        ("report.schema.json", {"schema": "ds2ta-report/0"}),
        ("report.schema.json", {"ranges": {"head.logits": {"low": 0}}}),
        ("manifest.schema.json", {"files": {"model.onnx": {"sha256": 5, "size": 1}}}),
        ("manifest.schema.json", {"unknown": 1}),
    ],
)
def test_what_is_not_so_is_not_valid(name, wrong, validator, written):
    assert list(validator(name).iter_errors(written[name] | wrong)) != []
