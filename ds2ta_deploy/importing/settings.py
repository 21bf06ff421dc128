"""From what a file and a person say to the config of a network: every field has one source, and nothing is guessed.

What is said is the tensors', the training script's arguments and the flags; these must agree. Where none of them says a
thing, the one value that was published counts, or a rule of the published code. What is missing then is named, all at once.
"""

from collections.abc import Mapping
from typing import Any

from ds2ta_deploy.errors import InputError, Problem, UsageError
from ds2ta_deploy.importing.arguments import attention_of
from ds2ta_deploy.importing.dialects import dialect_of
from ds2ta_deploy.importing.flags import FLAGS
from ds2ta_deploy.importing.options import ImportOptions
from ds2ta_deploy.importing.published import published_values
from ds2ta_deploy.importing.structure import Structure
from ds2ta_deploy.models.families import FAMILIES, FamilyConfig

TENSORS, ARGUMENTS, SAID, PUBLISHED = "the tensors", "args", "the command", "as published"

#: Field -> the argument that leaves it to timm where it is None; what timm takes then depends on its version.
_TIMM_DECIDES = {"pixel_mean": "mean", "pixel_std": "std"}

#: Field -> (value, who says so).
Sourced = dict[str, tuple[Any, str]]


def choose_family(structure: Structure, arguments: Mapping[str, Any], options: ImportOptions, where: str) -> str | None:
    """Return the network's family; None when neither tensors nor arguments nor ``--arch`` say it.

    Raises:
        UsageError: DS2TA-514 when ``--arch`` contradicts the tensors or the arguments.

    """
    told = attention_of(arguments)[0] if len(structure.families) > 1 else structure.families[0]
    if options.arch == "auto":
        return told
    if options.arch not in structure.families:
        what = f"--arch {options.arch} contradicts the tensors, which are of {' or '.join(structure.families)}"
        raise UsageError(Problem("DS2TA-514", what, where))
    if told == "statten" and options.arch == "sdt" and arguments.get("attention_mode") is not None:
        what = "--arch sdt contradicts args.attention_mode, which says STAtten"
        raise UsageError(Problem("DS2TA-514", what, where))
    return options.arch


def require_family(family: str | None, arguments: Mapping[str, Any], where: str) -> list[Problem]:
    """Return the problem of a family that nobody told."""
    if family is not None:
        return []
    advice = "say --arch sdt, or --arch statten with --chunk-steps N"
    return [Problem("DS2TA-515", f"which family it is has to be said: {attention_of(arguments)[1]}", where, advice)]


def resolve(structure: Structure, told: Mapping[str, Any], arguments: Mapping[str, Any], options: ImportOptions, where: str) -> Sourced:
    """Return every field of the config, with its source.

    Args:
        structure: what the tensors tell.
        told: fields that the arguments tell.
        arguments: of the training script.
        options: what is said on the command line.
        where: the file, for messages.

    Raises:
        UsageError: DS2TA-514 when what is said contradicts the file or means nothing to the network, 515 naming everything
            that has to be said.
        InputError: DS2TA-110 when the arguments contradict the tensors.

    """
    family = choose_family(structure, arguments, options, where)
    kind = FAMILIES[family or structure.families[0]]
    dialect = dialect_of(family or structure.families[0], structure.form)
    said = options.fields()
    _require_meaning(said, kind, family, where)
    found: Sourced = {"family": (family, TENSORS if len(structure.families) == 1 else SAID if options.arch != "auto" else ARGUMENTS)}
    published = published_values(dialect, structure.sizes)
    if said.get("input_kind", published.get("input_kind")) == "frames":  # the scripts normalise pictures only
        told = {name: value for name, value in told.items() if not name.startswith("pixel_")}
    for source, values in ((TENSORS, structure.sizes), (ARGUMENTS, told), (SAID, said)):
        _add(found, source, {name: value for name, value in values.items() if name in kind.__struct_fields__}, where)
    for name, value in published.items():
        timms_own = name in _TIMM_DECIDES and arguments.get(_TIMM_DECIDES[name], ()) is None
        if name in kind.__struct_fields__ and not timms_own and (family is not None or name != "erode"):
            found.setdefault(name, (value, PUBLISHED))
    _add_rules(found, family)
    problems = require_family(family, arguments, where) + _missing(found, structure, kind, where)
    if problems:
        raise UsageError(problems)
    return found


def _require_meaning(said: Mapping[str, Any], kind: type[FamilyConfig], family: str | None, where: str) -> None:
    strange = [] if family is None else [FLAGS[name].name for name in said if name not in kind.__struct_fields__]
    if strange:
        raise UsageError(Problem("DS2TA-514", f"{flag} means nothing to a network of the family {family}", where) for flag in strange)


def _add(found: Sourced, source: str, values: Mapping[str, Any], where: str) -> None:
    """Add what one source says; what another one says already must be the same."""
    problems = []
    for name, value in values.items():
        known, by = found.setdefault(name, (value, source))
        if known != value:
            subject = FLAGS[name].name if source == SAID else source
            what = f"{subject} {_verb(source)} {_text(value)}, {by} {_verb(by)} {_text(known)}"
            problems.append((what, f"{where}: {name}"))
    if problems and source == SAID:
        raise UsageError(Problem("DS2TA-514", what, place, "leave it out, or give the checkpoint it is of") for what, place in problems)
    if problems:
        raise InputError(Problem("DS2TA-110", what, place, "the arguments are of another network") for what, place in problems)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _verb(source: str) -> str:
    return "says" if source == SAID else "say"


def _add_rules(found: Sourced, family: str | None) -> None:
    """Add what follows from the rest: event counts are not normalised; STAtten divides by its feature map's rows."""
    frames = found.get("input_kind", (None,))[0] == "frames"
    found.setdefault("pixel_scale", (1.0 if frames else 1 / 255, PUBLISHED))
    if frames:
        channels = found["in_channels"][0]
        for name, value in (("pixel_mean", (0.0,) * channels), ("pixel_std", (1.0,) * channels)):
            found.setdefault(name, (value, PUBLISHED))
    needed = ("image_height", "pool_stages", "chunk_steps", "erode")
    if family == "statten" and all(name in found for name in needed):
        height, stages, chunk, erode = (found[name][0] for name in needed)
        for flag in stages:
            height = (height + 1) // 2 if flag == "1" else height
        rows, steps = max(height, 1), max(chunk, 1)  # a size of zero is found out with the rest of the config
        found.setdefault("attention_scale", (1 / (rows * rows * steps) if erode else 1 / rows, PUBLISHED))
    if family == "spikformer" and found.get("chunk_steps", (1,))[0] > 1:
        found["attention_order"] = ("state", found["chunk_steps"][1])


def _missing(found: Sourced, structure: Structure, kind: type[FamilyConfig], where: str) -> list[Problem]:
    """Name each thing that has to be said, once a flag."""
    required = [field for field in kind.__struct_fields__ if field in FLAGS and field != "family"]
    if kind is FAMILIES["snn-vit"] and "1" not in structure.sizes.get("dilated_stages", ""):
        required.remove("dilation")
    if kind is FAMILIES["statten"]:
        required.remove("attention_scale")  # follows from what is missing with it
    lacking = {FLAGS[field].usage: FLAGS[field].words for field in required if field not in found}
    return [
        Problem("DS2TA-515", f"neither its tensors nor its arguments tell {words}", where, f"say {usage}")
        for usage, words in sorted(lacking.items())
    ]
