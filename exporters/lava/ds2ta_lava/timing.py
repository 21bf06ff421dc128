"""In which time steps the values of a process are there, and whether its ops need them in these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def span_behind(op: str, steps: int, read: Sequence[int]) -> int:
    """Time steps that one array of what an op makes covers: 1, or those of a chunk.

    Args:
        op: its name.
        steps: of Chunk and Unchunk.
        read: time steps that one array of each of its inputs covers.

    """
    span = max(read, default=1)
    if op == "Chunk":
        return span * steps
    if op == "Unchunk":
        return max(span // steps, 1)
    return 1 if op in ("Repeat", "Readout") else span


def problems_in_time(process: dict[str, Any], data: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the ``steps`` of the values of a process whose ops are otherwise well-formed.

    A value is there in every time step, or once for a still picture, or once a chunk; an op makes a value as often as
    it reads one, except that Chunk makes of ``steps`` of them one, Unchunk of one ``steps``, Repeat of one all, and
    Readout of all one.
    """
    total, head = data["time_steps"], data["input"]
    counts = {name: value["steps"] for name, value in data["values"].items()} | {head["name"]: 1 if head["still"] else total}
    spans: dict[str, int] = {}
    for step in process["steps"]:
        made = step["outputs"][0]
        size = step["integers"].get("steps", 1)
        expected = _expected(step["op"], size, [counts[name] for name in step["inputs"]], total)
        spans.update(dict.fromkeys(step["outputs"], span_behind(step["op"], size, [spans.get(name, 1) for name in step["inputs"]])))
        still = spans[made] == counts[made] == 1 < total
        if any(counts[name] != expected for name in step["outputs"]):
            yield f"{step['op']} makes {made!r} in {expected} of {total} time steps, not in {counts[made]}"
        elif step["once"] != still:
            yield f"{step['op']} makes {made!r} {'once' if still else 'anew in every time step'}, and 'once' says the opposite"
    if spans[process["output"]] > 1:
        yield f"sends {process['output']!r}, which is not there in every time step"


def _expected(op: str, size: int, read: Sequence[int], total: int) -> int | None:
    """In how many time steps of a sample an op makes its values; None when it cannot, because its inputs do not go together."""
    if op == "Repeat":
        return total if read[0] == 1 else None
    if op == "Readout":
        return 0 if read[0] == total else None
    if 0 in read or len(set(read)) > 1 or (op == "Chunk" and read[0] % size):
        return None
    return read[0] // size if op == "Chunk" else read[0] * size if op == "Unchunk" else read[0]
