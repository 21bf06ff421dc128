"""What README.md and the examples' pages say is run: every fenced block behind a line ``<!-- run -->``, exactly as written.

``<!-- run: lava -->`` names a runtime without which the block cannot be run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ds2ta_deploy.runtimes.table import RUNTIMES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "examples").glob("*/README.md"))]

#: Those that must have something to run.
RECIPES = {"c_program", "events", "lava", "native", "onnxruntime_alone", "own_checkpoint"}

_MARK = re.compile(r"<!-- run(?:: (?P<runtime>[a-z-]+))? -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

#: How a block is run; its text comes on standard input.
_PROGRAMS = {"sh": ["bash", "-euo", "pipefail", "-s"], "python": [sys.executable, "-"]}


def blocks(text):
    """Return ``(runtime or None, language, text)`` of every block that is to be run."""
    found = [(match["runtime"], match["language"], match["text"]) for match in _MARK.finditer(text)]
    assert len(found) == text.count("<!-- run"), "a mark without a block behind it"
    return found


def test_every_recipe_has_blocks_that_are_run():
    assert {page.parent.name for page in PAGES if blocks(page.read_text())} - {ROOT.name} >= RECIPES


def test_only_known_languages_and_runtimes_are_named():
    for page in PAGES:
        for runtime, language, _ in blocks(page.read_text()):
            assert runtime is None or runtime in RUNTIMES, page
            assert language in _PROGRAMS, page


@pytest.mark.parametrize(
    "text", ["<!-- run -->\nno block\n", "<!-- run -->\n\n```sh\ntrue\n```\n", "<!-- run -->\n```sh\nnever closed\n", "<!-- run x -->\n"]
)
def test_a_mark_without_a_block_is_told(text):
    with pytest.raises(AssertionError, match="without a block"):
        blocks(text)


def run(language, text, where):
    """Run a block in a folder as a user's shell would, with this environment's programs first."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        _PROGRAMS[language], input=text, cwd=where, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )


@pytest.mark.parametrize("language", _PROGRAMS)
def test_a_block_that_fails_is_noticed(language, tmp_path):
    text = {"sh": "false\ntrue\n", "python": "assert False\n"}[language]
    assert run(language, text, tmp_path).returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text())], ids=lambda page: page.parent.name)
def test_the_page_does_what_it_says(page, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    found = blocks(page.read_text())
    for runtime in {runtime for runtime, _, _ in found if runtime}:
        if not RUNTIMES[runtime].available:
            pytest.skip(f"needs the runtime {runtime}: {RUNTIMES[runtime].install}")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for _, language, text in found:
        done = run(language, text, tmp_path)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
