"""The tables of speed and memory on the pages are those that the benchmarks wrote, by their own code, when they were run last.

What they measure depends on the machine, so it is recorded with the machine and the date, and not measured again here; that the benchmarks
run, and compare before they time, is what the tests beside this one see.
"""

from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import benchmarks
from benchmarks.outcome import Outcome
from benchmarks.scaling import Growth
from benchmarks.startup import Starting
from benchmarks.stepping import Stepping

FOLDER = Path(benchmarks.__file__).parent / "recorded"

#: The 4-384 network that all contestants run, at the rate that README names no other for.
_NETWORK = "ds2ta-4-384-15%"


def recorded(name, kind):
    return msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=kind)


@pytest.mark.parametrize(("name", "kind"), {"peers": Outcome, "scaling": Growth, "startup": Starting, "stepping": Stepping}.items())
def test_a_table_is_what_was_measured(name, kind, figures):
    figures.check_table("benchmarks: " + name, recorded(name, kind).summary() + "\n")


def test_readme_has_the_ratios_of_the_table(figures):
    alone = [result for result in recorded("peers", Outcome).results if (result.network, result.batch, result.threads) == (_NETWORK, 1, 1)]
    ratios = alone[0].ratios
    figures.check("benchmarks, in short", integers=ratios["ONNX Runtime integers / native"], eager=ratios["PyTorch eager / native"])


def test_every_record_is_shown():
    assert {path.stem for path in FOLDER.iterdir()} == {"peers", "scaling", "startup", "stepping"}
