"""What a bisection found, in words for people and as JSON for programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.bisection.finding import Finding, Own
    from ds2ta_deploy.bisection.replay import Replay
    from ds2ta_deploy.bisection.reproducer import Record
    from ds2ta_deploy.bisection.search import Bisection
    from ds2ta_deploy.graph.intervals import IntArray
    from ds2ta_deploy.parity import Divergence

#: Integers of an operand that are shown to people, and given to programs.
_SHOWN, _LISTED = 16, 1024


def tell(finding: "Finding", record: "Record") -> list[str]:
    """Say what was found, line by line."""
    divergence, own = finding.divergence, finding.own
    operands = [
        f"{operand.name} [{' x '.join(map(str, operand.shape))}], {'equal on both sides' if operand.agrees else 'DIFFERENT already'}"
        for operand in finding.operands
    ]
    wiring = [part for part in record.parts if set(part.reads) != set(finding.fragment.reads)]
    return [
        f"{divergence.runtime} and {divergence.baseline} part at {own.op.name} ({type(own.op).__name__})",
        *_rows(
            ("value", divergence.value),
            ("place", finding.words),
            (divergence.baseline, divergence.expected),
            (divergence.runtime, divergence.found),
            *_own(own),
            *(("operand", operand) for operand in operands),
            *(("wiring", f"{part.runtime} makes it of {', '.join(part.reads)}") for part in wiring),
        ),
    ]


def tell_replay(result: "Replay") -> list[str]:
    """Say what a replay gave, line by line."""
    how = {"op": "the op's class, executed", "part": "the op alone, run", "recorded": "as recorded: it cannot run this op alone"}
    record = result.record
    return [
        f"{record.op} makes {record.value}, {record.words}",
        *_rows(*((said.runtime, f"{said.value} ({how[said.how]})") for said in (result.baseline, result.runtime)), *_own(result.own)),
        f"{'they differ' if result.divergence is not None else 'they agree: the fault does not show here'}",
    ]


def _rows(*rows: tuple[str, object]) -> list[str]:
    """Put words under words and integers under integers."""
    width = max(len(word) for word, _ in rows)
    return [f"  {word:<{width}}  {said}" for word, said in rows]


def _own(own: "Own") -> list[tuple[str, object]]:
    """Say what the op's class makes of the operands, and what it read at the place."""
    said = own.at_place if own.at_place is not None else f"refuses the operands: {own.refusal}"
    return [("op itself", said), *(("reads", f"{word}: {_integers(read)}") for word, read in own.read.items())]


def _integers(read: "IntArray") -> str:
    """Show a number as it is; an array by its shape, its first integers and how many are not zero."""
    if read.ndim == 0:
        return str(int(read))
    flat = [str(int(value)) for value in read.reshape(-1)[:_SHOWN]]
    more = " …" if read.size > _SHOWN else ""
    return f"[{' x '.join(map(str, read.shape))}] {' '.join(flat)}{more} ({int((read != 0).sum())} of {read.size} are not 0)"


def search_json(artifact: "Artifact", result: "Bisection", finding: "Finding | None", record: "Record | None", out: Path) -> dict[str, Any]:
    """Return the stable JSON form of a search."""
    return {
        "found": result.divergence is not None,
        "samples": result.samples,
        "values": result.values,
        "baseline": result.baseline,
        "runtimes": list(result.runtimes),
        "modified": list(artifact.modified),
        "divergence": None if result.divergence is None else _divergence_json(result.divergence),
        "finding": None if finding is None else _finding_json(finding),
        "reproducer": None if record is None else str(out),
        "alone": [] if record is None else [part.runtime for part in record.parts],
    }


def _divergence_json(divergence: "Divergence") -> dict[str, Any]:
    return {
        "runtime": divergence.runtime,
        "baseline": divergence.baseline,
        "value": divergence.value,
        "sample": divergence.sample,
        "step": divergence.step,
        "index": list(divergence.index),
        "baseline_value": divergence.expected,
        "runtime_value": divergence.found,
    }


def _finding_json(finding: "Finding") -> dict[str, Any]:
    operands = [{"name": operand.name, "shape": list(operand.shape), "agrees": operand.agrees} for operand in finding.operands]
    return {
        "axes": list(finding.axes),
        "words": finding.words,
        "ops": [op.name for op in finding.fragment.ops],
        "operands": operands,
        "first_cause": finding.is_first_cause,
        **_own_json(finding.own),
    }


def _own_json(own: "Own") -> dict[str, Any]:
    read = {word: {"shape": list(array.shape), "integers": array.reshape(-1)[:_LISTED].tolist()} for word, array in own.read.items()}
    return {"op": own.op.name, "kind": type(own.op).__name__, "op_value": own.at_place, "read": read}


def replay_json(result: "Replay") -> dict[str, Any]:
    """Return the stable JSON form of a replay."""
    said = [{"runtime": side.runtime, "value": side.value, "how": side.how} for side in (result.baseline, result.runtime)]
    return {
        "reproduces": result.divergence is not None,
        "said": said,
        "words": result.record.words,
        "value": result.record.value,
    } | _own_json(result.own)
