"""Reproducer: a folder with one op, its operands and what two runtimes made of them, which replays by one command."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ds2ta_deploy.artifact import Manifest, encode_json, writer_versions
from ds2ta_deploy.bisection.finding import Finding, has_place
from ds2ta_deploy.bisection.search import Located
from ds2ta_deploy.bisection.sides import Side
from ds2ta_deploy.datasets import npz_bytes
from ds2ta_deploy.errors import Ds2taError
from ds2ta_deploy.graph import fragment as fragments
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import RUNTIMES
from ds2ta_deploy.staging import stage

#: Target that the manifest of a reproducer names.
REPRODUCER = "reproducer"

RECORD, OP, OPERANDS, VALUES = "reproducer.json", "op.safetensors", "operands.npz", "values.npz"


class PartRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one runtime makes the value with, when it can run it alone and then says the same.

    Attributes:
        runtime: the one that it was cut out for.
        target: whose files it is one of.
        file: its name.
        reads: names of the operands that it is given.

    """

    runtime: str
    target: str
    file: str
    reads: tuple[str, ...]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the files of a reproducer belong to.

    Attributes:
        schema: version of this format.
        value: dotted name.
        op: name of the op that computes it.
        words: the place in words.
        sample: among the inputs of the search.
        step: time step; None for values without time.
        index: inside the sample and step.
        baseline: name of the one runtime.
        runtime: name of the other.
        baseline_value: its integer there.
        runtime_value: the other's.
        op_value: what the op's class makes of the operands; None when it refuses them.
        parts: one a runtime that can run the op alone.

    """

    schema: Literal["ds2ta-reproducer/1"] = "ds2ta-reproducer/1"
    value: str
    op: str
    words: str
    sample: int
    step: int | None
    index: tuple[int, ...]
    baseline: str
    runtime: str
    baseline_value: int
    runtime_value: int
    op_value: int | None
    parts: tuple[PartRecord, ...]


def write(finding: Finding, located: Located, out: Path) -> Record:
    """Write a reproducer.

    Raises:
        UsageError: DS2TA-501 when the folder exists, 502 when it cannot be written.

    """
    record, files = _assemble(finding, located)
    manifest = Manifest(target=REPRODUCER, versions=writer_versions(), config={}, quantization={}, rounding="", files={})
    with stage(out) as staging:
        staging.write({**files, RECORD: encode_json(record), "README.md": _readme(record, finding).encode()})
        staging.commit(manifest)
    return record


def _assemble(finding: Finding, located: Located) -> tuple[Record, dict[str, bytes]]:
    divergence, name = finding.divergence, finding.divergence.value
    values = {"baseline": located.expected[name], "runtime": located.found[name]}
    files = {OP: fragments.to_bytes(finding.fragment)}
    parts, given = [], dict(finding.given)
    for side, said in ((located.baseline, located.expected[name]), (located.runtime, located.found[name])):
        cut = _part(side, name, located.expected, int(said[finding.place]), finding.place)
        if cut is not None:
            part, data = cut
            parts.append(part)
            files[part.file] = data
            given |= {read: located.expected[read] for read in part.reads}
    if finding.own.value is not None:
        values["op"] = finding.own.value
    files |= {OPERANDS: npz_bytes(given), VALUES: npz_bytes(values)}
    record = Record(
        value=name,
        op=finding.own.op.name,
        words=finding.words,
        sample=divergence.sample,
        step=divergence.step,
        index=divergence.index,
        baseline=divergence.baseline,
        runtime=divergence.runtime,
        baseline_value=int(values["baseline"][finding.place]),
        runtime_value=int(values["runtime"][finding.place]),
        op_value=finding.own.at_place,
        parts=tuple(parts),
    )
    return record, files


def _part(side: Side, value: str, known: Trace, said: int, place: tuple[int, ...]) -> tuple[PartRecord, bytes] | None:
    """Cut the op out of the file that the side runs, if run alone it says the same as in the whole."""
    info = RUNTIMES.get(side.name)
    part = side.isolate(value, tuple(known))
    if part is None or info is None or info.run_part is None:
        return None
    try:
        alone = info.run_part(part.data, {name: known[name] for name in part.reads}, value)
    except Ds2taError:
        return None  # runs as a whole only: the README says so
    if not has_place(alone, place) or int(alone[place]) != said:
        return None
    return PartRecord(side.name, info.executes, f"{side.name}.{info.executes}", part.reads), part.data


def _readme(record: Record, finding: Finding) -> str:
    """Say what the folder shows, and the one command that replays it."""
    alone = [part.runtime for part in record.parts]
    recorded = [name for name in (record.baseline, record.runtime) if name not in (*alone, ReferenceRuntime.name)]
    own = f"makes {record.op_value} of them" if record.op_value is not None else f"refuses them ({finding.own.refusal})"
    ops = _list([op.name for op in finding.fragment.ops])
    lines = [
        f"# {record.op}: {record.runtime} and {record.baseline} differ",
        "",
        f"`{record.value}` is {record.baseline_value} on {record.baseline} and {record.runtime_value} on {record.runtime}",
        f"({record.words}). This folder holds the op that makes it, alone:",
        f"the operands, the same on both sides up to there, and the values that were computed. The op's own class {own}.",
        "",
        "Replay it, in this folder:",
        "",
        "    ds2ta bisect .",
        "",
        "It exits with 1 while both still differ, with 0 when they no longer do.",
        "",
        *(
            f"- `{part.file}`: what {part.runtime} runs for this value, cut out of its file. Reads {_list(part.reads)}."
            for part in record.parts
        ),
        f"- `{OP}`: {ops} with parameters, cut out of the integer graph. Reads {_list(list(finding.fragment.reads))}.",
        f"- `{OPERANDS}`: what is read, of sample {record.sample} over all time steps.",
        f"- `{VALUES}`: the value as `baseline` ({record.baseline}), `runtime` ({record.runtime}) and `op`, the class, computed it.",
        f"- `{RECORD}`: the same for programs.",
    ]
    if recorded:
        lines += ["", f"{' and '.join(recorded)} cannot run this op alone, or does not show it then: the replay uses what was recorded."]
    return "\n".join(lines) + "\n"


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
