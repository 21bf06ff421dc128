"""What the names and shapes of tensors tell of a network: form, family, sizes. Needs no PyTorch.

Every size is what most tensors say, so that one tensor of another shape is found to be wrong, not the whole checkpoint.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ds2ta_deploy.importing.dialects import Shape

_ATTENTION = re.compile(r"block\.\d{1,4}\.attn\.(?:q|k|v|proj)_(linear|conv)\.weight")
_MLP = re.compile(r"block\.\d{1,4}\.mlp\.fc[12]_(linear|conv)\.weight")
_BLOCK = re.compile(r"block\.(\d{1,4})\.")

#: Layer name and axes of the attention's and the MLP's weights -> form.
_FORM_OF = {("linear", 2, 2): "cifar", ("conv", 3, 3): "dvs", ("conv", 3, 4): "imagenet", ("conv", 4, 4): "stream"}

#: Tensors a block has of what only one family has; half of them say that it is this family.
_DS2TA, _DS2TA_TENSORS = re.compile(r"block\.\d{1,4}\.attn\.(?:nsad\.[abcdeu]|(?:q|k|v|proj)_tasa\.tau)"), 10
_SNN_VIT, _SNN_VIT_TENSORS = re.compile(r"block\.\d{1,4}\.attn\.saccade\.(?:m_w|v_th|alpha)"), 2


@dataclass(frozen=True)
class Structure:
    """What the tensors of one checkpoint tell.

    Attributes:
        form: how its tensors are named.
        families: whose network it may be; two where the tensors do not tell them apart.
        sizes: fields of the config.

    """

    form: str
    families: tuple[str, ...]
    sizes: dict[str, Any]


def find_structure(shapes: Mapping[str, Shape]) -> Structure | None:
    """Return what the tensors tell; None when their names are of no form that is known."""
    form = _find_form(shapes)
    if form is None:
        return None
    depth = _find_depth(shapes)
    families = ("sdt", "statten") if form == "stream" else (_find_family(shapes, depth),)
    sizes = _find_sizes(shapes, depth)
    if form != "stream":
        biases = _matching(shapes, r"block\.\d{1,4}\.attn\.[qkv]_(?:linear|conv)\.bias")
        sizes["qkv_bias"] = 2 * len(biases) > 3 * depth
    if families == ("spikformer",):
        sizes["attention_order"] = "state" if form == "imagenet" else "map"
    if families == ("snn-vit",):
        sizes |= _find_saccade(shapes)
    return Structure(form, families, {name: value for name, value in sizes.items() if value is not None})


def _find_form(shapes: Mapping[str, Shape]) -> str | None:
    """Return the form that most layers of the blocks are in."""
    layers: Counter[str] = Counter()
    axes: dict[str, Counter[int]] = {"attn": Counter(), "mlp": Counter()}
    for name, shape in shapes.items():
        for part, pattern in (("attn", _ATTENTION), ("mlp", _MLP)):
            if found := pattern.fullmatch(name):
                layers[found[1]] += 1
                axes[part][len(shape)] += 1
    if not axes["attn"] or not axes["mlp"]:
        return None
    return _FORM_OF.get((_most(layers.elements()) or "", _most(axes["attn"].elements()) or 0, _most(axes["mlp"].elements()) or 0))


def _find_depth(shapes: Mapping[str, Shape]) -> int:
    """Return the number of blocks from the first one on; a stray tensor or two make no block."""
    tensors = Counter(int(found[1]) for name in shapes if (found := _BLOCK.match(name)))
    depth = 0
    while 2 * tensors[depth] > max(tensors.values(), default=0):
        depth += 1
    return depth


def _find_family(shapes: Mapping[str, Shape], depth: int) -> str:
    for family, pattern, tensors in (("ds2ta", _DS2TA, _DS2TA_TENSORS), ("snn-vit", _SNN_VIT, _SNN_VIT_TENSORS)):
        if 2 * sum(pattern.fullmatch(name) is not None for name in shapes) >= tensors * depth > 0:
            return family
    return "spikformer"


def _find_sizes(shapes: Mapping[str, Shape], depth: int) -> dict[str, Any]:
    width = _size(shapes, r"block\.\d{1,4}\.attn\.(?:q|k|v|proj)_bn\.(?:weight|bias)", 0)
    hidden = _size(shapes, r"block\.\d{1,4}\.mlp\.fc1_bn\.(?:weight|bias)", 0)
    return {
        "embed_dim": width,
        "depth": depth,
        "mlp_ratio": round(hidden / width) or None if hidden and width else None,
        "num_classes": _size(shapes, r"head\.bias", 0) or _size(shapes, r"head\.weight", 0),
        "in_channels": _size(shapes, r"patch_embed\.proj_conv\.weight", 1),
        "num_heads": _size(shapes, r"block\.\d{1,4}\.attn\.(?:nsad\.[abcdeu]|talking_heads\.weight)", 0),
    }


def _find_saccade(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    version: Literal["v1", "v2"] = "v2" if _matching(shapes, r"block\.\d{1,4}\.attn\.saccade\.alpha") else "v1"
    dilated = "".join("1" if _matching(shapes, rf"patch_embed\.dilated_(?:conv|bn){index or ''}\..+") else "0" for index in range(4))
    steps = _size(shapes, r"block\.\d{1,4}\.attn\.saccade\.(?:m_w|v_th)", 0)
    return {"saccade": version, "dilated_stages": dilated, "time_steps": steps}


def _matching(shapes: Mapping[str, Shape], pattern: str) -> list[Shape]:
    return [shape for name, shape in shapes.items() if re.fullmatch(pattern, name)]


def _size(shapes: Mapping[str, Shape], pattern: str, axis: int) -> int | None:
    """Return the length of an axis in most tensors of these names."""
    found: int | None = _most(shape[axis] for shape in _matching(shapes, pattern) if len(shape) > axis)
    return found


def _most(found: Iterable[Any]) -> Any:
    """Return what is found most often, the first of several; None when there is nothing."""
    return next((value for value, _ in Counter(found).most_common(1)), None)
