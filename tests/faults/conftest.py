"""The faulty artifacts' originals, and the scores at the end of ``pytest -s``."""

from collections.abc import Callable

import builders
import pytest
from faults.inputs import POOL, exciting_inputs
from faults.score import Score
from support import frozen

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.exporting import export

_TABLES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def excited(tmp_path_factory) -> Callable[[bool], Artifact]:
    """Return a function that exports the small graph, its functions expanded or not, on inputs that excite it."""
    graph, made = frozen(builders.build_small_graph()), dict[bool, Artifact]()
    inputs = exciting_inputs(graph, POOL)

    def get(inline: bool) -> Artifact:
        if inline not in made:
            out = tmp_path_factory.mktemp("excited") / "out"
            made[inline] = export(graph, "all", out, inputs=inputs, inline=inline, runtimes=["onnxruntime", "lava-stepper", "c"])
        return made[inline]

    return get


@pytest.fixture
def shown(request) -> Callable[[Score, str], Score]:
    """Return a function that keeps a score for the end and returns it."""

    def keep(score: Score, title: str) -> Score:
        request.config.stash.setdefault(_TABLES, []).append(score.table(title))
        return score

    return keep


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Print the scores when output is not captured."""
    if config.getoption("capture") == "no":
        for table in config.stash.get(_TABLES, []):
            terminalreporter.write_line(table)
