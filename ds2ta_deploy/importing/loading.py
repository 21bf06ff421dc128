"""Load any checkpoint that is known: this package's own, or a published one with what its file does not tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds2ta_deploy.checkpoints import model_of, parse_config
from ds2ta_deploy.errors import InputError, Problem, UnsupportedError, UsageError
from ds2ta_deploy.importing.arguments import read_arguments
from ds2ta_deploy.importing.containers import Content, read_content
from ds2ta_deploy.importing.dialects import FORMS, dialect_of, is_dead
from ds2ta_deploy.importing.flags import FLAGS
from ds2ta_deploy.importing.mapping import from_published, require_plain_neurons
from ds2ta_deploy.importing.options import ImportOptions, make_options
from ds2ta_deploy.importing.settings import PUBLISHED, SAID, Sourced, choose_family, resolve
from ds2ta_deploy.importing.structure import Structure, find_structure
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.families import FAMILIES, FamilyConfig
from ds2ta_deploy.models.network import SpikingTransformer

_NOTHING_SAID = ImportOptions()

#: What decides no tensor's shape, for the comparison of names and shapes that comes before all else is known.
_SHAPELESS: dict[str, Any] = {"image_height": 32, "image_width": 32, "pool_stages": "0000", "attention_scale": 1.0, "chunk_steps": 1}


@dataclass(frozen=True)
class Imported:
    """A checkpoint's model, and where it came from.

    Attributes:
        model: in evaluation mode.
        dialect: how its tensors were named; ``own`` for this package's format.
        holder: the entry of the file that held them.
        sources: who said each field of the config; empty for the own format, whose file says all.
        dead: tensors of the file that no forward pass reads.

    """

    model: SpikingTransformer
    dialect: str = "own"
    holder: str = "file"
    sources: dict[str, str] = field(default_factory=dict)
    dead: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What was taken to be as published because nobody said it, in words."""
        config = self.model.config
        assumed = [f"{name} {getattr(config, name)}" for name, source in self.sources.items() if source == PUBLISHED]
        return [f"taken as published for {self.dialect}: {', '.join(assumed)}"] if assumed else []


def import_checkpoint(path: str | Path, arch: str = "auto", **said: Any) -> SpikingTransformer:
    """Return the model of a checkpoint, this package's own or a published one.

    Args:
        path: the file: safetensors, or what ``torch.save`` wrote.
        arch: the family; ``auto`` takes what the file tells.
        **said: what the file does not tell, fields of :class:`ds2ta_deploy.importing.options.ImportOptions`.

    Raises:
        InputError: as :func:`ds2ta_deploy.checkpoints.load_checkpoint`.
        UsageError: DS2TA-514 when what is said contradicts the file, 515 naming everything that has to be said.
        UnsupportedError: DS2TA-201 unknown family, 204 a network without a form on the integer grid.

    Example:
        >>> model = import_checkpoint("model_best.pth.tar", "statten", chunk_steps=2)  # doctest: +SKIP

    """
    return load_model(path, make_options(arch=arch, **said))


def load_model(path: str | Path, options: ImportOptions = _NOTHING_SAID, *, config: Mapping[str, Any] | None = None) -> SpikingTransformer:
    """Return the model of a checkpoint; arguments and errors as :func:`read_model`."""
    return read_model(path, options, config=config).model


def read_model(path: str | Path, options: ImportOptions = _NOTHING_SAID, *, config: Mapping[str, Any] | None = None) -> Imported:
    """Return the model of a checkpoint and where each part of its config came from.

    Args:
        path: the file.
        options: what is said of it.
        config: the whole config, where it is known: that of an artifact's manifest. A file of the own format has its own.

    Raises:
        InputError, UsageError, UnsupportedError: as :func:`import_checkpoint`.

    """
    path = Path(path)
    content = read_content(path)
    if content.own:
        model = model_of(content, path)
        _require_agreement(model, options, str(path))
        return Imported(model, holder=content.holder)
    structure = find_structure({name: tuple(tensor.shape) for name, tensor in content.tensors.items()})
    if structure is None:
        advice = "docs/families.md lists the names that are known; save a model of this package with save_checkpoint"
        raise InputError(Problem("DS2TA-102", "has no config, and its tensors have the names of no published network", str(path), advice))
    require_plain_neurons(content.tensors, str(path))
    if config is None:
        parsed, sources = _find_config(content, structure, options, path)
    else:
        parsed, sources = _given_config(config, structure, path), {}
    return _import(content, structure, parsed, sources, path)


def _import(content: Content, structure: Structure, config: FamilyConfig, sources: dict[str, str], path: Path) -> Imported:
    form = FORMS[structure.form]
    tensors = from_published(content.tensors, config, form, path)
    model = build(config)
    model.load_state_dict(tensors)
    dead = tuple(name for name in content.tensors if is_dead(name, form, config.depth))
    return Imported(model.eval(), dialect_of(config.family, structure.form), content.holder, sources, dead)


def _find_config(content: Content, structure: Structure, options: ImportOptions, path: Path) -> tuple[FamilyConfig, dict[str, str]]:
    """Check every name and shape, which needs no word of anybody; then put the config together."""
    where = str(path)
    told = read_arguments(content.arguments, where)
    family = choose_family(structure, content.arguments, options, where) or structure.families[0]
    _require_known(structure, family, where)
    nominal = _nominal(structure, family)
    _validate(nominal, {}, where)
    from_published(content.tensors, nominal, FORMS[structure.form], path)
    found = resolve(structure, told, content.arguments, options, where)
    config: FamilyConfig = FAMILIES[family](**{name: value for name, (value, _) in found.items()})
    _validate(config, found, where)
    return config, {name: source for name, (_, source) in found.items()}


def _validate(config: FamilyConfig, found: Sourced, where: str) -> None:
    """Check the config; where a flag is to blame it is a wrong use of the command, otherwise the file is wrong."""
    try:
        config.validate()
    except InputError as error:
        fields = {problem: problem.where.removeprefix("config.").split(", ") for problem in error.problems}
        blamed = {problem: name for problem, names in fields.items() for name in reversed(names) if found.get(name, ("", ""))[1] == SAID}
        if blamed:
            raise UsageError(Problem("DS2TA-514", f"{FLAGS[name].name} {p.what}", where) for p, name in blamed.items()) from error
        raise InputError(Problem("DS2TA-110", p.what, f"{where}: {p.where}") for p in error.problems) from error


def _nominal(structure: Structure, family: str) -> FamilyConfig:
    """Return a config whose network has the checkpoint's tensors, whatever else it is."""
    kind = FAMILIES[family]
    sizes = {"embed_dim": 8, "num_classes": 1, "in_channels": 1, "num_heads": 1, "time_steps": 1, "mlp_ratio": 4} | structure.sizes
    fields = {name: value for name, value in (_SHAPELESS | sizes).items() if name in kind.__struct_fields__}
    channels = min(sizes["in_channels"], 64)
    return kind(**fields, pixel_mean=(0.0,) * channels, pixel_std=(1.0,) * channels)


def _require_known(structure: Structure, family: str, where: str) -> None:
    if structure.form == "stream" and structure.sizes.get("mlp_ratio") == 1:
        what = f"its MLP is as wide as its tokens: {family} then has a residual inside it, which has no form on the integer grid here"
        raise UnsupportedError(Problem("DS2TA-204", what, where, "train with an MLP ratio of 2 or more"))


def _given_config(config: Mapping[str, Any], structure: Structure, path: Path) -> FamilyConfig:
    parsed = parse_config(config, f"{path}: the artifact's manifest")
    if parsed.family not in structure.families:
        what = f"is of the family {' or '.join(structure.families)}, the artifact's network of {parsed.family}"
        raise InputError(Problem("DS2TA-110", what, str(path)))
    return parsed


def _require_agreement(model: SpikingTransformer, options: ImportOptions, where: str) -> None:
    """Refuse what contradicts a file that says everything itself."""
    problems = []
    said = options.fields() | ({} if options.arch == "auto" else {"family": options.arch})
    for name, value in said.items():
        if getattr(model.config, name, None) != value:
            what = f"{FLAGS[name].name} contradicts the config in the file"
            problems.append(Problem("DS2TA-514", what, f"{where}: config.{name}", "leave it out"))
    if problems:
        raise UsageError(problems)
