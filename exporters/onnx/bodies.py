"""Bodies of the ``ai.ds2ta`` functions, in ONNX's own text form, made of standard integer ops only.

What an op *means* is said by its class in ``ds2ta_deploy.graph.ops``; here it is spelled for engines
that know nothing of it. House rules of these bodies:

* ``x >> k`` is ``Div(BitwiseAnd(x, -2^k), 2^k)``: exact under truncating and flooring division alike.
* Products are ``MatMulInteger`` of uint8 by int8. Wider integers are split into planes of 7 or 8 bits,
  so that no float and no slow integer kernel appears anywhere; ``ds2ta_deploy.graph.products`` says how, and
  why kernels that add pairs of products in 16 bits cannot saturate.
* Convolutions gather the k x k neighbourhood of a channels-last picture, then multiply.
* A body is unrolled over the T time steps and knows no other size: batch and picture are dynamic.
"""

from collections.abc import Sequence

from ds2ta_deploy.graph.products import MAP_PLANE_BITS, MAP_UPPER_ZERO, PLANE_BITS, UPPER_ZERO

UINT8, INT8, INT32, INT64 = 2, 3, 6, 7

#: Past the end of any axis, for Slice.
_END = 2**63 - 1

#: Most choices that np.choose takes, which onnx's reference evaluator uses for GatherElements.
_CHOICES = 63


def names(stem: str, count: int) -> list[str]:
    """``stem_0, stem_1, …``."""
    return [f"{stem}_{index}" for index in range(count)]


def scalar(name: str, attribute: str) -> list[str]:
    """Turn an integer attribute of the function into an int32 scalar."""
    return [f"{name}_64 = Constant <value_int: int = @{attribute}> ()", f"{name} = Cast <to = {INT32}> ({name}_64)"]


def split_time(value: str, steps: int) -> list[str]:
    """Cut a value into its time steps ``value_0, value_1, …``."""
    if steps == 1:
        return [f"{value}_0 = Identity ({value})"]
    return [f"{', '.join(names(value, steps))} = Split <axis = 0, num_outputs = {steps}> ({value})"]


def join_time(value: str, parts: Sequence[str]) -> str:
    """Put time steps together again."""
    return f"{value} = Concat <axis = 0> ({', '.join(parts)})"


def lif(steps: int, *, numerator: bool) -> list[str]:
    """Body of Lif(current, threshold) -> (spikes, membrane)."""
    lines = [*scalar("divisor", "leak_divisor"), "mask = Neg (divisor)", "zero = Constant <value = int32 {0}> ()"]
    if numerator:
        lines += scalar("numerator", "leak_numerator")
    lines += [*split_time("current", steps), "membrane_0 = Identity (current_0)", "fires_0 = GreaterOrEqual (membrane_0, threshold)"]
    for t in range(1, steps):
        lines.append(f"kept_{t} = Where (fires_{t - 1}, zero, membrane_{t - 1})")
        lines.append(f"scaled_{t} = {'Mul' if numerator else 'Identity'} (kept_{t}{', numerator' if numerator else ''})")
        lines += [f"masked_{t} = BitwiseAnd (scaled_{t}, mask)", f"leaked_{t} = Div (masked_{t}, divisor)"]
        lines += [f"membrane_{t} = Add (leaked_{t}, current_{t})", f"fires_{t} = GreaterOrEqual (membrane_{t}, threshold)"]
    fires, membranes = names("fires", steps), names("membrane", steps)
    return [*lines, join_time("fires", fires), f"spikes = Cast <to = {UINT8}> (fires)", join_time("membrane", membranes)]


def temporal_window(steps: int, taps: int, *, floors: bool) -> list[str]:
    """Body of TemporalWindow(product, bias) -> (current).

    Tap m is ``product << max(0, g - tau m) >> max(0, tau m - g)``, which equals ``(product << g) >> tau m``;
    the attributes hold the powers of two. ``floors`` is False when no tap needs the right shift.
    """
    taps = min(taps, steps)
    lines = ["multipliers_64 = Constant <value_ints: ints = @multipliers> ()", f"multipliers = Cast <to = {INT32}> (multipliers_64)"]
    lines.append(_split_scalars("multiplier", "multipliers", taps))
    if floors:
        lines += ["divisors_64 = Constant <value_ints: ints = @divisors> ()", f"divisors = Cast <to = {INT32}> (divisors_64)"]
        lines.append(_split_scalars("divisor", "divisors", taps))
    lines += ["offset = Mul (bias, multiplier_0)", *split_time("product", steps)]
    for t in range(steps):
        total = "offset"
        for lag in range(min(taps, t + 1)):
            tap = f"tap_{t}_{lag}"
            scaled = f"scaled_{t}_{lag}" if floors and lag else tap
            lines.append(f"{scaled} = Mul (product_{t - lag}, multiplier_{lag})")
            if floors and lag:
                lines += [f"mask_{t}_{lag} = Neg (divisor_{lag})", f"masked_{t}_{lag} = BitwiseAnd ({scaled}, mask_{t}_{lag})"]
                lines.append(f"{tap} = Div (masked_{t}_{lag}, divisor_{lag})")
            lines.append(f"sum_{t}_{lag} = Add ({total}, {tap})")
            total = f"sum_{t}_{lag}"
        lines.append(f"current_{t} = Identity ({total})")
    return [*lines, join_time("current", names("current", steps))]


def _split_scalars(stem: str, vector: str, count: int) -> str:
    if count == 1:
        return f"{stem}_0 = Identity ({vector})"
    return f"{', '.join(names(stem, count))} = Split <axis = 0, num_outputs = {count}> ({vector})"


def lookup(entries: int) -> list[str]:
    """Body of Lookup(scores, table) -> (denoised); scores have the heads first, ``[H, ...]``."""
    lines = ["flat_shape = Constant <value_ints: ints = [0, -1]> ()", "shape = Shape (scores)"]
    if entries <= _CHOICES:
        lines += ["flat = Reshape (scores, flat_shape)", "found = GatherElements <axis = 1> (table, flat)"]
    else:
        lines += [
            "whole = Constant <value_ints: ints = [-1]> ()",
            "heads = Shape <start = 0, end = 1> (table)",
            "entries = Shape <start = 1, end = 2> (table)",
            "begin = Constant <value_int: int = 0> ()",
            "one = Constant <value_int: int = 1> ()",
            "end = Squeeze (heads)",
            "head = Range (begin, end, one)",
            "start_64 = Mul (head, entries)",
            f"start = Cast <to = {INT32}> (start_64)",
            "column = Constant <value_ints: ints = [-1, 1]> ()",
            "offset = Reshape (start, column)",
            "flat = Reshape (scores, flat_shape)",
            "index = Add (flat, offset)",
            "entry = Reshape (table, whole)",
            "found = Gather <axis = 0> (entry, index)",
        ]
    return [*lines, "denoised = Reshape (found, shape)"]


def neighbourhood(value: str, size: int) -> list[str]:
    """Gather the ``size x size`` neighbourhood of ``[T, B, H, W, C]`` into ``patches``, ``[T, B, H, W, size^2 C]``."""
    margin = size // 2
    pads = [0, 0, margin, margin, 0] * 2
    lines = [
        f"pads = Constant <value_ints: ints = {pads}> ()",
        f"padded = Pad ({value}, pads)",
        "axes = Constant <value_ints: ints = [2, 3]> ()",
    ]
    parts = []
    for row in range(size):
        for column in range(size):
            ends = [offset - size + 1 if offset < size - 1 else _END for offset in (row, column)]
            part = f"part_{row}_{column}"
            lines += [
                f"start_{row}_{column} = Constant <value_ints: ints = [{row}, {column}]> ()",
                f"end_{row}_{column} = Constant <value_ints: ints = {ends}> ()",
                f"{part} = Slice (padded, start_{row}_{column}, end_{row}_{column}, axes)",
            ]
            parts.append(part)
    return [*lines, f"patches = Concat <axis = -1> ({', '.join(parts)})"]


def spike_max_pool() -> list[str]:
    """Body of SpikeMaxPool2d(spikes) -> (pooled): three rows of stride 2, then three columns."""
    lines, value = [], "spikes"
    for axis, kind in ((2, "row"), (3, "column")):
        pads = [1 if position % 5 == axis else 0 for position in range(10)]
        lines += [f"{kind}_pads = Constant <value_ints: ints = {pads}> ()", f"{kind}_padded = Pad ({value}, {kind}_pads)"]
        lines += [f"{kind}_axis = Constant <value_ints: ints = [{axis}]> ()", f"{kind}_step = Constant <value_ints: ints = [2]> ()"]
        for start, end in ((0, -2), (1, -1), (2, _END)):
            lines += [
                f"{kind}_start_{start} = Constant <value_ints: ints = [{start}]> ()",
                f"{kind}_end_{start} = Constant <value_ints: ints = [{end}]> ()",
            ]
            lines.append(f"{kind}_{start} = Slice ({kind}_padded, {kind}_start_{start}, {kind}_end_{start}, {kind}_axis, {kind}_step)")
        value = "pooled" if axis == 3 else "rows"
        lines.append(f"{value} = Max ({', '.join(names(kind, 3))})")
    return lines


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


def wide_product() -> list[str]:
    """``product = patches @ weight`` for int32 patches and int16 weights of up to 14 bits, by 7-bit planes."""
    lines = [f"weight_32 = Cast <to = {INT32}> (weight)"]
    lines += split_planes("patches", PLANE_BITS, "x") + split_planes("weight_32", PLANE_BITS, "w")
    lines += [
        f"zero_32 = Constant <value = int32 {{{UPPER_ZERO}}}> ()",
        f"zero_8 = Constant <value = uint8 {{{UPPER_ZERO}}}> ()",
        "x_shifted = Add (x_upper, zero_32)",
        f"x_upper_8 = Cast <to = {UINT8}> (x_shifted)",
        f"x_lower_8 = Cast <to = {UINT8}> (x_lower)",
        f"w_upper_8 = Cast <to = {INT8}> (w_upper)",
        f"w_lower_8 = Cast <to = {INT8}> (w_lower)",
        "upper_upper = MatMulInteger (x_upper_8, w_upper_8, zero_8)",
        "upper_lower = MatMulInteger (x_upper_8, w_lower_8, zero_8)",
        "lower_upper = MatMulInteger (x_lower_8, w_upper_8)",
        "lower_lower = MatMulInteger (x_lower_8, w_lower_8)",
        "high = Mul (upper_upper, x_unit)",
        "high_mixed = Add (high, upper_lower)",
        "mixed = Add (high_mixed, lower_upper)",
        "mixed_scaled = Mul (mixed, x_unit)",
        "product = Add (mixed_scaled, lower_lower)",
    ]
    return lines


def heads_first(source: str, target: str, permutation: Sequence[int]) -> list[str]:
    """``[T, B, N, D] -> [T, B, N, H, d]``, then the permutation."""
    return [f"{source}_split = Reshape ({source}, split_shape)", f"{target} = Transpose <perm = {list(permutation)}> ({source}_split)"]


def attention_context(*, one_plane: bool) -> list[str]:
    """Scores, lookup and ``context = A V``, the map in one plane if its entries are proven uint8; Lookup is called by name."""
    lines = [
        "heads_scalar = Constant <value_int: int = @heads> ()",
        "leading = Constant <value_ints: ints = [0, 0, 0]> ()",
        "rest = Constant <value_ints: ints = [-1]> ()",
        "first_axis = Constant <value_ints: ints = [0]> ()",
        "heads_vector = Unsqueeze (heads_scalar, first_axis)",
        "split_shape = Concat <axis = 0> (leading, heads_vector, rest)",
        "merge_shape = Constant <value_ints: ints = [0, 0, 0, -1]> ()",
        *heads_first("q", "query", (3, 0, 1, 2, 4)),
        *heads_first("k", "key_u8", (3, 0, 1, 4, 2)),
        *heads_first("v", "value_u8", (3, 0, 1, 2, 4)),
        f"key = Cast <to = {INT8}> (key_u8)",
        f"value = Cast <to = {INT8}> (value_u8)",
        "scores_heads = MatMulInteger (query, key)",
        "denoised_heads = @Lookup (scores_heads, table)",
    ]
    if one_plane:
        lines += [f"map = Cast <to = {UINT8}> (denoised_heads)", "mixed = MatMulInteger (map, value)"]
    else:
        lines += [
            f"map = Cast <to = {INT32}> (denoised_heads)",
            *split_planes("map", MAP_PLANE_BITS, "map"),
            f"upper_zero = Constant <value = int32 {{{MAP_UPPER_ZERO}}}> ()",
            f"upper_zero_8 = Constant <value = uint8 {{{MAP_UPPER_ZERO}}}> ()",
            "upper_shifted = Add (map_upper, upper_zero)",
            f"upper_8 = Cast <to = {UINT8}> (upper_shifted)",
            f"lower_8 = Cast <to = {UINT8}> (map_lower)",
            "mixed_upper = MatMulInteger (upper_8, value, upper_zero_8)",
            "mixed_lower = MatMulInteger (lower_8, value)",
            "mixed_scaled = Mul (mixed_upper, map_unit)",
            "mixed = Add (mixed_scaled, mixed_lower)",
        ]
    return [
        *lines,
        "mixed_tokens = Transpose <perm = [1, 2, 3, 0, 4]> (mixed)",
        "context = Reshape (mixed_tokens, merge_shape)",
        "scores = Transpose <perm = [1, 2, 0, 3, 4]> (scores_heads)",
        "denoised = Transpose <perm = [1, 2, 0, 3, 4]> (denoised_heads)",
    ]


def readout() -> list[str]:
    """Body of Readout(tokens, weight, bias) -> (logits)."""
    return [
        "product = MatMulInteger (tokens, weight)",
        "axes = Constant <value_ints: ints = [0, 2]> ()",
        "total = ReduceSum <keepdims = 0> (product, axes)",
        "logits = Add (total, bias)",
    ]


def input_table(*, still: bool) -> list[str]:
    """Body of InputTable(pixels, table, offsets) -> (values); the table is flat, channel c starts at ``offsets[c]``."""
    lines = [f"pixels_32 = Cast <to = {INT32}> (pixels)", "index = Add (pixels_32, offsets)"]
    if not still:
        return [*lines, "values = Gather <axis = 0> (table, index)"]
    return [
        *lines,
        "found = Gather <axis = 0> (table, index)",
        "axis = Constant <value_ints: ints = [0]> ()",
        "values = Unsqueeze (found, axis)",
    ]
