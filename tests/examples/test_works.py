"""The table of what runs where says what its command finds."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.models.families import FAMILIES
from ds2ta_deploy.verification import available_runtimes

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "families" / "works.py"


def load():
    spec = importlib.util.spec_from_file_location("works", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["works"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


works = load()


def cells():
    """Return ``(family, form)`` -> runtime -> integers compared, as the page has them."""
    page = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    lines = page[page.index(works.BEGIN) : page.index(works.END)].splitlines()[1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    names = rows[0][2:]
    return {(row[0], row[1]): dict(zip(names, (int(cell.replace(",", "")) for cell in row[2:]), strict=True)) for row in rows[2:]}


def test_the_table_has_every_form_and_every_runtime():
    found = cells()
    assert list(found) == [(form.family, form.form) for form in works.FORMS]
    assert {form.config.family for form in works.FORMS} == set(FAMILIES)
    for row in found.values():
        assert set(row) == {"onnxruntime", "onnx-reference", "native", "onnxruntime-native", "lava", "lava-stepper", "c"}
        assert min(row.values()) > 10**6


def test_text_goes_between_the_marks_and_nothing_else_changes():
    page = f"before\n{works.BEGIN}\nold\n{works.END}\nafter\n"
    assert works.put_between_marks(page, "new\n") == f"before\n{works.BEGIN}\nnew\n{works.END}\nafter\n"
    with pytest.raises(ValueError, match="not found"):
        works.put_between_marks("no marks", "new")


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", [form for form in works.FORMS if form.form in {"pictures", "V1", "ImageNet"}], ids=lambda form: f"{form.family} {form.form}"
)
def test_a_row_is_what_its_run_compares(form):
    report = works.run(form, available_runtimes("all", with_checkpoint=False))
    assert report.passed
    compared = works.compared(report)
    row = cells()[form.family, form.form]
    assert compared == {name: row[name] for name in compared}
    assert {"onnxruntime", "onnx-reference", "lava-stepper"} <= set(compared)
