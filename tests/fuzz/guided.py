"""Coverage-guided fuzzing of one reader with atheris: ``python -m fuzz.guided READER [-runs=N] [-max_total_time=S] [FOLDER …]``.

Atheris keeps the files that reach new branches of the package and spoils those further, half of the time with the structural
changes of :mod:`fuzz.mutate`. A reader of a directory is given the bytes as the manifest. Everything else on the command line
goes to libFuzzer; the file of a failure is kept as ``crash-…`` in the directory it runs in, and is one for ``tests/fuzz/corpus``.
"""

import random
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ds2ta_deploy"], enable_loader_override=False):
    import ds2ta_deploy.artifact
    import ds2ta_deploy.checkpoints
    import ds2ta_deploy.cli.export
    import ds2ta_deploy.cli.inspect
    import ds2ta_deploy.datasets
    import ds2ta_deploy.freezing
    import ds2ta_deploy.quantization
    import ds2ta_deploy.runtimes.onnx_reference
    import ds2ta_deploy.runtimes.ort
    import ds2ta_deploy.verification  # noqa: F401 - all of these for their branches

from fuzz.contained import outcome
from fuzz.mutate import BY_SUFFIX, spoil_text
from fuzz.mutate_bytes import Change, spoil_bytes
from fuzz.readers import READERS
from fuzz.run import FAILURES, judge

from ds2ta_deploy.artifact import MANIFEST

#: How the bytes of a reader are spoiled besides what libFuzzer does.
CHANGES: dict[str, Change] = {
    "artifact": BY_SUFFIX[".json"],
    "checkpoint": BY_SUFFIX[".safetensors"],
    "checkpoint-torch": BY_SUFFIX[".npz"],
    "graph": BY_SUFFIX[".safetensors"],
    "graph-packed": BY_SUFFIX[".safetensors"],
    "onnx": BY_SUFFIX[".onnx"],
    "onnx-reference": BY_SUFFIX[".onnx"],
    "data": BY_SUFFIX[".npz"],
    "pictures": BY_SUFFIX[".npz"],
    "batch": spoil_bytes,
    "idx": spoil_bytes,
    "golden": BY_SUFFIX[".npz"],
    "settings": spoil_text,
}


class FoundError(Exception):
    """A file that is neither refused nor harmless."""


class Target:
    """A reader, its good file, and the place where spoiled ones lie."""

    def __init__(self, reader: str, folder: Path) -> None:
        """Make the good file."""
        self.reader, self.path, self.seeds = reader, folder / reader, folder / "seeds"
        READERS[reader].seed(self.path)
        self.original = outcome(reader, self.path).payload
        self.file = self.path / MANIFEST if self.path.is_dir() else self.path
        self.seeds.mkdir()
        shutil.copyfile(self.file, self.seeds / "good")

    def try_one(self, data: bytes) -> None:
        """Read the bytes as the file they stand for."""
        self.file.write_bytes(data)
        found = outcome(self.reader, self.path)
        column = judge(self.reader, found, self.original)
        if column in FAILURES:
            raise FoundError(f"{column}: {found.words}")

    def spoil(self, data: bytes, most: int, seed: int) -> bytes:
        """Spoil the bytes, every other time by their structure, if they still have one."""
        random_ = random.Random(seed)
        if random_.random() < 0.5:
            try:
                data = CHANGES[self.reader](data, random_)
            except Exception:  # noqa: BLE001 - no structure is left to spoil
                data = spoil_bytes(data, random_)
            return data[:most]
        mutated: bytes = atheris.Mutate(data, most)
        return mutated


def main() -> None:
    """Fuzz until libFuzzer's limits are reached or a failure is found."""
    reader, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ds2ta-guided-") as folder:
        target = Target(reader, Path(folder))
        corpus = Path(__file__).parent / "corpus" / reader
        folders = [str(target.seeds), *([str(corpus)] if corpus.is_dir() else [])]
        limits = ["-timeout=10", "-rss_limit_mb=3072", f"-max_len={max(2**16, 2 * target.file.stat().st_size)}"]
        atheris.Setup([sys.argv[0], *limits, *options, *folders], target.try_one, custom_mutator=target.spoil)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
