"""What of docs/ is generated is as the code is; what a page names is there; links arrive."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "docs" / "tools"


def load(name):
    """Import a script of docs/tools."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


links, commands = load("links"), load("write_commands")


def test_the_commands_are_described_as_their_code_does():
    assert commands.PAGE.read_text(encoding="utf-8") == commands.page(), "stale: python docs/tools/write_commands.py"


@pytest.mark.parametrize("page", ["adding.md", "concepts.md"])
def test_every_file_that_a_guide_names_is_there(page):
    named = re.findall(r"`([a-z0-9_]+/[\w./]*|[A-Z]+\.md)`", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(named) > 8
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        ("docs/index.md", "[an op](../CONTRIBUTING.md#add-an-op)", "[an op](contributing.md#add-an-op)"),
        ("docs/onnx.md", "[numbers](numerics.md)", "[numbers](numerics.md)"),
        ("docs/bits.md", "[it](../examples/fashion_mnist/README.md)", "[it](examples/fashion_mnist.md)"),
        ("README.md", "![a page](docs/images/report-desktop.png)", "![a page](images/report-desktop.png)"),
        ("examples/fashion_mnist/README.md", "[bits](../../docs/bits.md)", "[bits](../bits.md)"),
        ("benchmarks/README.md", "[native](../docs/native.md#step-by-step)", "[native](native.md#step-by-step)"),
        ("docs/onnx.md", "see [the code](../ds2ta_deploy/errors.py).", "see the code."),
        ("docs/onnx.md", "[nothing](../no/such/file.md)", "[nothing](../no/such/file.md)"),
        ("docs/onnx.md", "[here](#names) [there](https://example.org/a.md)", "[here](#names) [there](https://example.org/a.md)"),
        ("docs/onnx.md", "```\n[code](../README.md)\n```\n[words](../README.md)", "```\n[code](../README.md)\n```\n[words](readme.md)"),
    ],
)
def test_links_are_as_the_site_needs_them(source, before, after):
    assert links.moved(before, source) == after


def test_every_link_of_every_page_leads_to_a_file_of_the_project():
    pages = [*(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))), *links.guests()]
    named = re.compile(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")
    found = [(page, path) for page in pages for path in named.findall((ROOT / page).read_text(encoding="utf-8"))]
    assert len(found) > 50
    assert [(page, path) for page, path in found if not ((ROOT / page).parent / path).exists()] == []


@pytest.fixture
def copied(tmp_path):
    """Copy what the site is made of."""
    for folder in ("docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.safetensors", "*.npz", "__pycache__"))
    for path in [*ROOT.glob("*.md"), ROOT / "mkdocs.yml"]:
        shutil.copy(path, tmp_path)
    return tmp_path


def build(folder):
    return subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_is_built_and_a_lost_link_or_anchor_or_page_stops_it(copied):
    pytest.importorskip("material", reason="needs the extra docs: pip install 'ds2ta-deploy[docs]'")
    done = build(copied)
    assert done.returncode == 0, done.stderr
    assert 'href="contributing.html#add-an-op"' in (copied / "build" / "docs" / "index.html").read_text()
    assert 'href="../onnx.html"' in (copied / "build" / "docs" / "examples" / "onnxruntime_alone.html").read_text()
    index = copied / "docs" / "index.md"
    honest = index.read_text()
    for wrong in ("[lost](../examples/none/README.md)", "[lost](onnx.md#no-such-heading)"):
        index.write_text(f"{honest}\n{wrong}\n")
        assert build(copied).returncode != 0, wrong
    index.write_text(honest)
    (copied / "docs" / "forgotten.md").write_text("# A page without a place\n")
    assert build(copied).returncode != 0
