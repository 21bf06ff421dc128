"""Fuzz every reader with spoiled files: ``python -m fuzz.run``. Every case is a number; the same number is the same file.

What may happen to a spoiled file: it is refused with an error of ours; or it is accepted, unchanged in what it says; or, where
no hash covers it, accepted with other numbers that have every property the reader promises. Anything else is a failure.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from fuzz.contained import Contained, Outcome
from fuzz.readers import READERS

COLUMNS = ("refused", "unchanged", "other numbers", "wrongly accepted", "untyped", "hang", "crash")
FAILURES = COLUMNS[3:]


def judge(reader: str, found: Outcome, original: str) -> str:
    """Return the column that an outcome belongs to."""
    match found.kind:
        case "accepted" if found.payload == original:
            return "unchanged"
        case "accepted":
            return "wrongly accepted" if READERS[reader].hashed else "other numbers"
        case "violated":
            return "wrongly accepted"
        case _:
            return found.kind


class Campaign:
    """One reader, its good file and its spoiled copies, in a directory."""

    def __init__(self, reader: str, folder: Path, process: Contained, seed: int = 0) -> None:
        """Make the good file and read it."""
        self.reader, self.folder, self.process, self.seed = reader, folder, process, seed
        self.good, self.spoiled = folder / f"{reader}-good", folder / f"{reader}-spoiled"
        READERS[reader].seed(self.good)
        found = process.read(reader, self.good)
        if found.kind != "accepted":
            raise RuntimeError(f"{reader} does not accept its own good file: {found}")
        self.original, self.peak = found.payload, found.memory

    def run(self, case: int) -> tuple[str, Outcome]:
        """Make the spoiled file of this number and read it."""
        shutil.rmtree(self.spoiled, ignore_errors=True)
        self.spoiled.unlink(missing_ok=True)
        READERS[self.reader].spoil(self.good, self.spoiled, random.Random(f"{self.seed}/{self.reader}/{case}"))
        found = self.process.read(self.reader, self.spoiled)
        self.peak = max(self.peak, found.memory)
        return judge(self.reader, found, self.original), found


def main() -> int:
    """Run the campaigns asked for, print a table and return 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__)
    parser.add_argument("--reader", choices=READERS, action="append", help="only this reader; may be repeated")
    parser.add_argument("--share", type=float, default=1.0, help="share of the cases of a full run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="repeat one case, say all about it and keep its file")
    given = parser.parse_args()
    folder, failed = Path(tempfile.mkdtemp(prefix="ds2ta-fuzz-")), 0
    print(f"{'reader':<20}{'cases':>8}" + "".join(f"{column:>18}" for column in COLUMNS) + f"{'peak MiB':>10}")
    for reader in given.reader or [name for name, each in READERS.items() if each.available]:
        with Contained() as process:
            campaign = Campaign(reader, folder, process, given.seed)
            if given.case is not None:
                column, found = campaign.run(given.case)
                print(f"{column}: {found}\n{campaign.spoiled}")
                return int(column in FAILURES)
            counts: Counter[str] = Counter()
            cases = max(1, round(given.share * READERS[reader].cases))
            for case in range(cases):
                column, found = campaign.run(case)
                counts[column] += 1
                if column in FAILURES:
                    failed += 1
                    print(f"{reader} --seed {given.seed} --case {case}: {column}: {found.words[:500]}", file=sys.stderr)
            row = "".join(f"{counts[column]:>18,}" for column in COLUMNS)
            print(f"{reader:<20}{cases:>8,}{row}{campaign.peak:>10,}", flush=True)
    shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
