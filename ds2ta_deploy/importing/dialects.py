"""The names that published checkpoints give their tensors, and the tensors in them that no forward pass reads. Needs no PyTorch.

A *form* is a set of names and shapes; a *dialect* is a family's network in one of its forms. Three forms are those of the
published Spikformer, one of the spike-driven transformer, whose names STAtten shares. DS2TA and SNN-ViT were published
without code: their checkpoints are read under Spikformer's names, with names of this project for what Spikformer lacks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.models.config import NetworkConfig

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """How one published code base names and shapes its tensors.

    Attributes:
        layer: ``linear`` or ``conv``, the second half of a block's layer names (``q_linear``, ``fc1_conv``).
        attention_axes: axes of length 1 behind the weights ``[out, in]`` of q, k, v and the output layer.
        mlp_axes: the same of the MLP's layers.
        dead: tensors that every checkpoint of this form has and no forward pass reads: ``block`` those of each block, ``top``
            the others.

    """

    layer: str
    attention_axes: int
    mlp_axes: int
    dead_block: tuple[str, ...]
    dead_top: tuple[str, ...] = ()


_NORMS = tuple(f"norm{number}.{part}" for number in (1, 2) for part in ("weight", "bias"))

FORMS: dict[str, Form] = {
    "cifar": Form("linear", 0, 0, _NORMS),
    "dvs": Form("conv", 1, 1, _NORMS, ("pos_embed", "norm.weight", "norm.bias")),
    "imagenet": Form("conv", 1, 2, _NORMS),
    "stream": Form("conv", 2, 2, ("attn.talking_heads.weight",)),
}

#: Dialect -> family and form.
DIALECTS: dict[str, tuple[str, str]] = {
    **{f"{family}-{form}": (family, form) for family in ("spikformer", "ds2ta", "snn-vit") for form in ("cifar", "dvs", "imagenet")},
    "sdt": ("sdt", "stream"),
    "statten": ("statten", "stream"),
}

#: Old versions of SpikingJelly stored the steepness of a neuron's surrogate gradient; evaluation never reads it.
_ALWAYS_DEAD = ".surrogate_function.alpha"

#: Our names of parts -> published (prefix, stem, suffix): a layer's weights are ``<prefix><stem>_conv<suffix>``.
_PATCH_LAYERS = {
    "patch.feature": ("patch_embed.", "proj", "3"),
    "patch.position": ("patch_embed.", "rpe", ""),
    **{f"patch.stages.{index}": ("patch_embed.", "proj", str(index or "")) for index in range(4)},
    **{f"patch.stages.{index}.dilated": ("patch_embed.", "dilated", str(index or "")) for index in range(4)},
}
_BLOCK_LAYER = re.compile(r"blocks\.(\d+)\.(attn|mlp)\.(q|k|v|proj|fc1|fc2)\.(.+)")
_PATCH_LAYER = re.compile(r"(patch\.(?:stages\.\d(?:\.dilated)?|feature|position))\.((?:weight|norm\.).*)")
_SPECIAL = (
    (re.compile(r"blocks\.(\d+)\.attn\.denoiser\.([abcdeu])"), r"block.\1.attn.nsad.\2"),
    (re.compile(r"blocks\.(\d+)\.attn\.saccade\.matrix"), r"block.\1.attn.saccade.m_w"),
    (re.compile(r"blocks\.(\d+)\.attn\.saccade\.threshold"), r"block.\1.attn.saccade.v_th"),
    (re.compile(r"blocks\.(\d+)\.attn\.saccade\.gain"), r"block.\1.attn.saccade.alpha"),
)


def find_dialect(name: str) -> tuple[str, Form]:
    """Return a dialect's family and form.

    Raises:
        UsageError: DS2TA-514 when there is no dialect of this name.

    """
    if name not in DIALECTS:
        raise UsageError(Problem("DS2TA-514", f"there is no dialect {name!r}", mend=f"there are: {', '.join(DIALECTS)}"))
    family, form = DIALECTS[name]
    return family, FORMS[form]


def dialect_of(family: str, form: str) -> str:
    """Return the dialect's name of a family in a form."""
    return next(name for name, entry in DIALECTS.items() if entry == (family, form))


def published_name(name: str, form: Form) -> str:
    """Return the published name of one of our tensors.

    Example:
        >>> published_name("blocks.3.attn.q.norm.running_mean", FORMS["cifar"])
        'block.3.attn.q_bn.running_mean'

    """
    if found := _PATCH_LAYER.fullmatch(name):
        prefix, stem, suffix = _PATCH_LAYERS[found[1]]
        return _layer_tensor(prefix, stem, suffix, "conv", found[2])
    if found := _BLOCK_LAYER.fullmatch(name):
        return _layer_tensor(f"block.{found[1]}.{found[2]}.", found[3], "", form.layer, found[4])
    for pattern, replacement in _SPECIAL:
        if found := pattern.fullmatch(name):
            return found.expand(replacement)
    return name  # head.weight, head.bias


def _layer_tensor(prefix: str, stem: str, suffix: str, layer: str, tensor: str) -> str:
    """``weight`` and ``bias`` belong to the layer, ``norm.*`` to its batch norm, ``window.decay`` is tau of TASA."""
    if tensor == "window.decay":
        return f"{prefix}{stem}_tasa.tau"
    if tensor.startswith("norm."):
        return f"{prefix}{stem}_bn{suffix}.{tensor.removeprefix('norm.')}"
    return f"{prefix}{stem}_{layer}{suffix}.{tensor}"


def published_shape(name: str, shape: Shape, form: Form) -> Shape:
    """Return the published shape of one of our tensors: weights of a 1x1 convolution have axes of length 1."""
    found = _BLOCK_LAYER.fullmatch(name)
    if found is None or found[4] != "weight":
        return shape
    return shape + (1,) * (form.attention_axes if found[2] == "attn" else form.mlp_axes)


def is_dead(name: str, form: Form, depth: int) -> bool:
    """Whether a published tensor is one that no forward pass reads; only names on the form's lists are."""
    return name.endswith(_ALWAYS_DEAD) or name in form.dead_top or name in _dead_in_blocks(form, depth)


def _dead_in_blocks(form: Form, depth: int) -> Iterator[str]:
    return (f"block.{index}.{name}" for index in range(depth) for name in form.dead_block)


def dead_shapes(form: Form, config: NetworkConfig) -> dict[str, Shape]:
    """Return the dead tensors of a checkpoint of this size, with their shapes."""
    width, heads = config.embed_dim, config.num_heads
    names = [*_dead_in_blocks(form, config.depth), *form.dead_top]
    ends: dict[str, Shape] = {"pos_embed": (1, config.tokens, width), "talking_heads.weight": (heads, heads, 1)}
    return {name: next((shape for end, shape in ends.items() if name.endswith(end)), (width,)) for name in names}
