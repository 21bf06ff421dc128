"""Bodies of products: ``MatMulInteger`` of uint8 by int8, wider integers in planes, as ``ds2ta_deploy.graph.products`` says."""

from collections.abc import Sequence

from ds2ta_deploy.exporters.onnx.bodies import INT8, INT32, UINT8
from ds2ta_deploy.graph.products import MAP_PLANE_BITS, MAP_UPPER_ZERO, PLANE_BITS, UPPER_ZERO, Split


def split_planes(value: str, bits: int, stem: str) -> list[str]:
    """``value = stem_upper << bits + stem_lower`` with ``0 <= lower < 2^bits``, both still int32."""
    return [
        f"{stem}_low_mask = Constant <value = int32 {{{2**bits - 1}}}> ()",
        f"{stem}_high_mask = Constant <value = int32 {{{-(2**bits)}}}> ()",
        f"{stem}_unit = Constant <value = int32 {{{2**bits}}}> ()",
        f"{stem}_lower = BitwiseAnd ({value}, {stem}_low_mask)",
        f"{stem}_high_part = BitwiseAnd ({value}, {stem}_high_mask)",
        f"{stem}_upper = Div ({stem}_high_part, {stem}_unit)",
    ]


def plane_product(left: str, right: str, split: Split, product: str = "product") -> list[str]:
    """``product = left @ right``, each side cut into so many planes of 7 bits; the stored types do not matter.

    ``left = sum_i 2^(7 i) left_i`` and ``right = sum_j 2^(7 j) right_j``; the products of planes with equal i + j are added
    first, then one power after the other, the highest first. Sums wrap around at 32 bits on the way as they do at the end,
    where nothing is lost by proof.
    """
    if split == (1, 1):
        return [*_whole(left, "left", UINT8), *_whole(right, "right", INT8), f"{product} = MatMulInteger (left_0, right_0)"]
    lines = [
        *_cut(left, "left", split[0], UINT8),
        *_cut(right, "right", split[1], INT8),
        f"unit = Constant <value = int32 {{{2**PLANE_BITS}}}> ()",
        f"zero_8 = Constant <value = uint8 {{{UPPER_ZERO}}}> ()",
    ]
    total = ""
    for power in reversed(range(sum(split) - 1)):
        if total:
            lines.append(f"scaled_{power} = Mul ({total}, unit)")
            total = f"scaled_{power}"
        for one in range(split[0]):
            other = power - one
            if not 0 <= other < split[1]:
                continue
            zero = ", zero_8" if one == split[0] - 1 > 0 else ""
            lines.append(f"planes_{one}_{other} = MatMulInteger (left_{one}, right_{other}{zero})")
            if total:
                lines.append(f"sum_{one}_{other} = Add ({total}, planes_{one}_{other})")
            total = f"sum_{one}_{other}" if total else f"planes_{one}_{other}"
    return [*lines, f"{product} = Identity ({total})"]


def _whole(value: str, stem: str, kind: int) -> list[str]:
    return [f"{stem}_0 = Cast <to = {kind}> ({value})"]


def _cut(value: str, stem: str, planes: int, kind: int) -> list[str]:
    """``stem_0, stem_1 …``: the planes of a value, the lowest first; the topmost of an unsigned side has its zero point added."""
    if planes == 1:
        return _whole(value, stem, kind)
    lines, rest = [f"{stem}_32 = Cast <to = {INT32}> ({value})"], f"{stem}_32"
    for plane in range(planes - 1):
        step = f"{stem}_step_{plane}"
        lines += [*split_planes(rest, PLANE_BITS, step), f"{stem}_{plane} = Cast <to = {kind}> ({step}_lower)"]
        rest = f"{step}_upper"
    if kind == UINT8:
        lines += [f"{stem}_zero = Constant <value = int32 {{{UPPER_ZERO}}}> ()", f"{stem}_shifted = Add ({rest}, {stem}_zero)"]
        rest = f"{stem}_shifted"
    return [*lines, f"{stem}_{planes - 1} = Cast <to = {kind}> ({rest})"]


def map_product(denoised: str, value: str, product: str, *, one_plane: bool) -> list[str]:
    """``product = denoised @ value`` for an int16 map, in one plane if its entries are proven uint8, and int8 values."""
    if one_plane:
        return [f"map = Cast <to = {UINT8}> ({denoised})", f"{product} = MatMulInteger (map, {value})"]
    return [
        f"map = Cast <to = {INT32}> ({denoised})",
        *split_planes("map", MAP_PLANE_BITS, "map"),
        f"upper_zero = Constant <value = int32 {{{MAP_UPPER_ZERO}}}> ()",
        f"upper_zero_8 = Constant <value = uint8 {{{MAP_UPPER_ZERO}}}> ()",
        "upper_shifted = Add (map_upper, upper_zero)",
        f"upper_8 = Cast <to = {UINT8}> (upper_shifted)",
        f"lower_8 = Cast <to = {UINT8}> (map_lower)",
        f"mixed_upper = MatMulInteger (upper_8, {value}, upper_zero_8)",
        f"mixed_lower = MatMulInteger (lower_8, {value})",
        "mixed_scaled = Mul (mixed_upper, map_unit)",
        f"{product} = Add (mixed_scaled, mixed_lower)",
    ]


def matmul(split: Split | None, *, transpose_left: bool, transpose_right: bool, one_plane: bool = False) -> list[str]:
    """Body of MatMul(left, right) -> (product); without a split the left side is an int16 map."""
    lines = [
        f"{side}_turned = {'Transpose <perm = [0, 1, 2, 4, 3]>' if turned else 'Identity'} ({side})"
        for side, turned in (("left", transpose_left), ("right", transpose_right))
    ]
    if split is not None:
        return [*lines, *plane_product("left_turned", "right_turned", split)]
    return [*lines, f"value = Cast <to = {INT8}> (right_turned)", *map_product("left_turned", "value", "product", one_plane=one_plane)]


def heads_first(source: str, target: str, permutation: Sequence[int]) -> list[str]:
    """``[T, B, N, D] -> [T, B, N, H, d]``, then the permutation."""
    return [f"{source}_split = Reshape ({source}, split_shape)", f"{target} = Transpose <perm = {list(permutation)}> ({source}_split)"]


def split_shape() -> list[str]:
    """``split_shape``: where the last axis is cut into the heads that the attribute says."""
    return [
        "heads_scalar = Constant <value_int: int = @heads> ()",
        "leading = Constant <value_ints: ints = [0, 0, 0]> ()",
        "rest = Constant <value_ints: ints = [-1]> ()",
        "first_axis = Constant <value_ints: ints = [0]> ()",
        "heads_vector = Unsqueeze (heads_scalar, first_axis)",
        "split_shape = Concat <axis = 0> (leading, heads_vector, rest)",
    ]


def attention_context(*, one_plane: bool) -> list[str]:
    """Scores, lookup and ``context = A V``, the map in one plane if its entries are proven uint8; Lookup is called by name."""
    return [
        *split_shape(),
        "merge_shape = Constant <value_ints: ints = [0, 0, 0, -1]> ()",
        *heads_first("q", "query", (3, 0, 1, 2, 4)),
        *heads_first("k", "key_u8", (3, 0, 1, 4, 2)),
        *heads_first("v", "value_u8", (3, 0, 1, 2, 4)),
        f"key = Cast <to = {INT8}> (key_u8)",
        f"value = Cast <to = {INT8}> (value_u8)",
        "scores_heads = MatMulInteger (query, key)",
        "denoised_heads = @Lookup (scores_heads, table)",
        *map_product("denoised_heads", "value", "mixed", one_plane=one_plane),
        "mixed_tokens = Transpose <perm = [1, 2, 3, 0, 4]> (mixed)",
        "context = Reshape (mixed_tokens, merge_shape)",
        "scores = Transpose <perm = [1, 2, 0, 3, 4]> (scores_heads)",
        "denoised = Transpose <perm = [1, 2, 0, 3, 4]> (denoised_heads)",
    ]
