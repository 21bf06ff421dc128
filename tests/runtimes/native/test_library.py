import _ctypes
import re
from pathlib import Path

import builders
import pytest
from native_support import needs_library

from ds2ta_deploy.errors import MissingRuntimeError, UsageError
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime

HEADER = (Path(library.__file__).parent / "src" / "ds2ta_native.h").read_text()


@pytest.fixture
def reload(monkeypatch):
    """Return a function that makes another file the library."""
    library.load.cache_clear()

    def use(path):
        monkeypatch.setattr(library, "library_path", lambda: path)

    yield use
    library.load.cache_clear()


def assert_missing(what):
    """Assert that neither the runtime nor opening it by name gets past the library."""

    class Opened:
        graph = builders.build_small_graph()

    for attempt in (library.load, lambda: NativeRuntime(Opened.graph), lambda: open_runtime("native", Opened)):
        with pytest.raises(MissingRuntimeError, match=what) as caught:
            attempt()
        (problem,) = caught.value.problems
        assert problem.code == "DS2TA-405"
        assert "pip install" in problem.mend
        assert caught.value.exit_code == 5


def test_a_library_that_was_not_built(reload):
    reload(None)
    assert not RUNTIMES["native"].available
    assert_missing("was not built")


def test_a_library_that_is_none(reload, tmp_path):
    path = tmp_path / "libds2ta_native.so"
    path.write_text("no library")
    reload(path)
    assert_missing("cannot be loaded")


def test_a_library_that_is_another(reload):
    reload(Path(_ctypes.__file__))
    assert_missing("not the native library")


@needs_library
def test_a_library_of_another_version(reload, monkeypatch):
    reload(library.library_path())
    monkeypatch.setattr(library, "ABI", 99)
    assert_missing("has interface 3, not 99")


def test_numbers_are_those_of_the_header():
    defined = {name: int(value) for name, value in re.findall(r"#define DS2TA_(\w+) (\d+)", HEADER)}
    assert (defined["ABI"], defined["TILE"], defined["GROUP"]) == (library.ABI, library.TILE, library.GROUP)
    assert defined["MAX_THREADS"] == library._MOST_THREADS
    numbered = {name.lower(): int(value) for name, value in re.findall(r"DS2TA_(\w+) = (\d+)", HEADER)}
    assert {name: numbered[name] for name in library.INNER} == {name: index for index, name in enumerate(library.INNER)}
    for kind in ("ENCODE", "LINEAR", "CONV", "ATTENTION", "POOL", "ADD", "READOUT"):
        assert numbered[kind.lower()] == getattr(library, kind)


@pytest.mark.parametrize(("structure", "name"), [(library.Value, "ds2ta_value"), (library.Operation, "ds2ta_op")])
def test_fields_are_those_of_the_header(structure, name):
    body = re.search(rf"typedef struct {{([^}}]*)}} {name};", HEADER).group(1)
    declared = [re.split(r",\s*", names) for names in re.findall(r"^\s*(?:const )?\w+_t ([^;]*);", body, re.MULTILINE)]
    fields = [re.sub(r"[*]|\[\d\]", "", field) for names in declared for field in names]
    assert fields == [field for field, *_ in structure._fields_]


@needs_library
@pytest.mark.parametrize("name", ["sse2", "AVX2", "scalar ", "neon\n", "best", "ä", "x" * 10000])
def test_an_instruction_set_that_there_is_not(name, monkeypatch):
    graph = builders.build_small_graph()
    with pytest.raises(UsageError, match=r"DS2TA-513 \[DS2TA_ISA\].*may be: scalar"):
        NativeRuntime(graph, instruction_set=name)
    monkeypatch.setenv(library.ISA, name)
    with pytest.raises(UsageError, match=r"DS2TA-513 \[DS2TA_ISA\].*may be: scalar"):
        NativeRuntime(graph)


@needs_library
@pytest.mark.parametrize("name", library.INSTRUCTION_SETS)
def test_the_environment_forces_an_instruction_set(name, monkeypatch):
    monkeypatch.setenv(library.ISA, name)
    if name in library.instruction_sets():
        assert NativeRuntime(builders.build_small_graph()).plan.instruction_set == name
        monkeypatch.setenv(library.ISA, "nothing")
        assert NativeRuntime(builders.build_small_graph(), instruction_set=name).plan.instruction_set == name  # an argument goes first
    else:
        with pytest.raises(UsageError, match="DS2TA-513"):
            NativeRuntime(builders.build_small_graph())


@needs_library
def test_without_a_word_the_best_instruction_set_runs(monkeypatch):
    graph = builders.build_small_graph()
    monkeypatch.delenv(library.ISA, raising=False)
    best = NativeRuntime(graph).plan.instruction_set
    assert best == next(name for name in ("avx512", "avx2", "neon", "scalar") if name in library.instruction_sets())
    monkeypatch.setenv(library.ISA, "")
    assert NativeRuntime(graph).plan.instruction_set == best


@needs_library
@pytest.mark.parametrize("said", ["", "0", "-1", "257", "1000", "two", "1.5", " 2", "2 ", "1_0", "²", "9" * 5000])
def test_a_number_of_threads_that_is_none(said, monkeypatch):
    monkeypatch.setenv(library.THREADS, said)
    with pytest.raises(UsageError, match=r"DS2TA-513 \[DS2TA_THREADS\]: .* is no number of threads \(1 to 256\)"):
        NativeRuntime(builders.build_small_graph())


@needs_library
@pytest.mark.parametrize("threads", [0, -1, 257, 2**31, 2**70])
def test_an_argument_that_is_no_number_of_threads(threads):
    with pytest.raises(UsageError, match=r"DS2TA-513 \[DS2TA_THREADS\]"):
        NativeRuntime(builders.build_small_graph(), threads)


def test_threads_are_those_asked_for_then_those_of_the_environment_then_one(monkeypatch):
    monkeypatch.delenv(library.THREADS, raising=False)
    assert library.choose_threads(None) == 1
    monkeypatch.setenv(library.THREADS, "256")
    assert library.choose_threads(None) == 256
    assert library.choose_threads(3) == 3
