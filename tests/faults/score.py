"""Put faults into a target, one after the other, and count what becomes of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from faults.catalogue import Fault, with_element
from faults.targets import Target


@dataclass
class Row:
    """What became of the faults of one kind."""

    faults: int = 0
    refused: int = 0
    populations: int = 0
    all: int = 0
    equivalent: int = 0


@dataclass
class Score:
    """What became of all faults.

    Attributes:
        rows: by kind.
        proved: reasons of those that change nothing, with their number.
        unexcited: those that the golden inputs cannot show, by reason.
        survivors: those that verification could have noticed and did not; there must be none.
        contradictions: those that were noticed although some reason says that they cannot be; there must be none.
        notes: more lines for the table.

    """

    rows: dict[str, Row] = field(default_factory=lambda: defaultdict(Row))
    proved: Counter[str] = field(default_factory=Counter)
    unexcited: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    survivors: list[Fault] = field(default_factory=list)
    contradictions: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, target: Target, fault: Fault, data: bytes) -> None:
        """Verify the faulty file and enter the result."""
        row, verdict = self.rows[fault.kind], target.verify(data)
        row.faults += 1
        row.refused += bool(verdict.refused)
        row.populations += verdict.caught("populations")
        row.all += verdict.caught("all")
        reason, missed = target.equivalent(fault), target.unexcited(fault)
        if (reason and verdict.populations) or (missed and verdict.all):
            self.contradictions.append(fault)
        if verdict.caught("all"):
            return
        if reason is not None:
            row.equivalent += 1
            self.proved[reason] += 1
        elif missed is not None:
            self.unexcited[missed].append(fault)
        else:
            self.survivors.append(fault)

    @property
    def total(self) -> Row:
        """The sum of all rows."""
        return Row(*(sum(getattr(row, name) for row in self.rows.values()) for name in Row.__dataclass_fields__))

    @property
    def figures(self) -> dict[str, int | float]:
        """The sum of all rows, as the pages show it."""
        row, unexcited = self.total, sum(map(len, self.unexcited.values()))
        share = 100 * (row.all + row.equivalent) / row.faults
        found = {"tried": row.faults, "caught": row.all, "refused": row.refused, "by_spikes": row.populations}
        return {**found, "equivalent": row.equivalent, "unexcited": unexcited, "score": share}

    def table(self, title: str) -> str:
        """Return the score as text, a row a kind of fault."""
        lines = ["", title, f"{'fault':24}{'tried':>8}{'caught':>8}{'by spikes':>11}{'refused':>9}{'equivalent':>12}{'score':>9}"]
        for kind, row in [*sorted(self.rows.items()), ("all", self.total)]:
            score = (row.all + row.equivalent) / row.faults
            lines.append(f"{kind:24}{row.faults:8}{row.all:8}{row.populations:11}{row.refused:9}{row.equivalent:12}{score:9.2%}")
        lines += [f"equivalent: {count} because {reason}" for reason, count in sorted(self.proved.items())]
        lines += [f"not excited: {len(faults)}, {reason}" for reason, faults in sorted(self.unexcited.items())]
        lines += self.notes
        lines += [f"SURVIVES: {fault}" for fault in self.survivors]
        lines += [f"CONTRADICTS its reason: {fault}" for fault in self.contradictions]
        return "\n".join(lines)


def score_data(target: Target, faults: Iterable[Fault]) -> Score:
    """Score faults of single integers."""
    score, tensors = Score(), target.tensors
    for fault in faults:
        score.add(target, fault, target.with_tensor(fault.place, with_element(tensors[fault.place], fault)))
    return score


def score_structural(target: Target, every: int) -> Score:
    """Score the structural faults that the target's file can express, or one of ``every`` so many."""
    score = Score()
    for fault, data in islice(target.structural(), 0, None, every):
        score.add(target, fault, data)
    return score
