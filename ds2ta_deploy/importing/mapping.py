"""From published tensors to ours and back: names by :mod:`ds2ta_deploy.importing.dialects`, shapes by the network itself."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ds2ta_deploy.checkpoints import expected_tensors, require_match
from ds2ta_deploy.errors import Problem, UnsupportedError, UsageError
from ds2ta_deploy.importing.arguments import parametric
from ds2ta_deploy.importing.dialects import DIALECTS, Form, Shape, dead_shapes, find_dialect, is_dead, published_name, published_shape
from ds2ta_deploy.models.families import FamilyConfig

#: Counts of batches seen in training; evaluation never reads them, and some containers leave them out.
_COUNTER = ".num_batches_tracked"

_PARAMETRIC = re.compile(r".*lif\d?\.w")


def published_keys(config: FamilyConfig, dialect: str) -> dict[str, Shape]:
    """Return the names and shapes of every tensor, live and dead, that a published checkpoint of this network holds.

    Args:
        config: of the network.
        dialect: one of :data:`ds2ta_deploy.importing.dialects.DIALECTS`, of the config's family.

    Raises:
        UsageError: DS2TA-514 for an unknown dialect, or one of another family.

    Example:
        >>> published_keys(PRESETS["sdt-2-512"], "sdt")["block.0.attn.talking_heads.weight"]
        (8, 8, 1)

    """
    family, form = find_dialect(dialect)
    if family != config.family:
        advice = f"of {config.family}: {', '.join(name for name, (other, _) in DIALECTS.items() if other == config.family)}"
        raise UsageError(Problem("DS2TA-514", f"the dialect {dialect!r} is not of the family {config.family!r}", mend=advice))
    live = {name: tuple(tensor.shape) for name, tensor in _published(config, form).items()}
    return live | dead_shapes(form, config)


def to_published(tensors: Mapping[str, Tensor], dialect: str) -> dict[str, Tensor]:
    """Return our tensors under their published names, in their published shapes: what :func:`from_published` reads."""
    _, form = find_dialect(dialect)
    return {
        published_name(name, form): tensor.reshape(published_shape(name, tuple(tensor.shape), form)) for name, tensor in tensors.items()
    }


def from_published(tensors: Mapping[str, Tensor], config: FamilyConfig, form: Form, path: Path) -> dict[str, Tensor]:
    """Return the network's tensors under our names.

    Args:
        tensors: by published name.
        config: of the network; only what decides shapes is looked at.
        form: how the tensors are named.
        path: the file, for messages.

    Raises:
        InputError: naming every missing (DS2TA-105), unknown (106), mis-shaped (107) and non-finite (103) tensor; 110 for a
            network that cannot be.

    """
    ours = expected_tensors(config)
    expected = _published(config, form)
    found = {name: tensor for name, tensor in tensors.items() if not is_dead(name, form, config.depth)}
    needed = {name: tensor for name, tensor in expected.items() if name in found or not name.endswith(_COUNTER)}
    require_match(needed, found, path)
    return {
        name: found.get(published_name(name, form), torch.zeros((), dtype=torch.int64)).reshape(tensor.shape)
        for name, tensor in ours.items()
    }


def require_plain_neurons(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise when neurons learned their time constant: SpikingJelly's PLIF stores it as ``<neuron>.w``.

    Raises:
        UnsupportedError: DS2TA-204 naming every such neuron.

    """
    learned = [name for name in tensors if _PARAMETRIC.fullmatch(name)]
    if learned:
        raise UnsupportedError(parametric(f"{where}: {name}") for name in learned)


def _published(config: FamilyConfig, form: Form) -> dict[str, Tensor]:
    """Return tensors without elements, with published names and shapes."""
    return {
        published_name(name, form): tensor.reshape(published_shape(name, tuple(tensor.shape), form))
        for name, tensor in expected_tensors(config).items()
    }
