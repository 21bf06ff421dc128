"""Bodies of the ``ai.ds2ta`` functions, in ONNX's own text form, made of standard integer ops only.

What an op *means* is said by its class in ``ds2ta_deploy.graph.ops``; here it is spelled for engines
that know nothing of it: neurons, windows, tables and pictures here, products in ``product_bodies``, what only moves
or compares in ``op_bodies``. House rules of all bodies:

* ``x >> k`` is ``Div(BitwiseAnd(x, -2^k), 2^k)``: exact under truncating and flooring division alike.
* Products are ``MatMulInteger`` of uint8 by int8. Wider integers are split into planes of 7 or 8 bits,
  so that no float and no slow integer kernel appears anywhere; ``ds2ta_deploy.graph.products`` says how, and
  why kernels that add pairs of products in 16 bits cannot saturate.
* Convolutions gather the k x k neighbourhood of a channels-last picture, then multiply.
* A body is unrolled over the T time steps and knows no other size: batch and picture are dynamic.
"""

from collections.abc import Sequence

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


def repeat(current: str = "current") -> list[str]:
    """``repeated``: the current of a still picture at every step."""
    return ["repeats = Constant <value_ints: ints = @repeats> ()", f"repeated = Tile ({current}, repeats)"]


def lif(steps: int, *, numerator: bool, carried: bool = False) -> list[str]:
    """Body of Lif(current, threshold) -> (spikes, membrane).

    With ``carried`` it begins where steps before it ended, and says where it ends itself: StepLif(current, threshold, carried)
    -> (spikes, membrane, next_carried).
    """
    lines = [*scalar("divisor", "leak_divisor"), "mask = Neg (divisor)", "zero = Constant <value = int32 {0}> ()"]
    if numerator:
        lines += scalar("numerator", "leak_numerator")
    lines += split_time("current", steps)
    for t in range(steps):
        before = f"leaked_{t}" if t else "carried"
        lines.append(f"membrane_{t} = Add ({before}, current_{t})" if t or carried else "membrane_0 = Identity (current_0)")
        lines.append(f"fires_{t} = GreaterOrEqual (membrane_{t}, threshold)")
        if t + 1 == steps and not carried:
            break
        lines.append(f"kept_{t + 1} = Where (fires_{t}, zero, membrane_{t})")
        lines.append(f"scaled_{t + 1} = {'Mul' if numerator else 'Identity'} (kept_{t + 1}{', numerator' if numerator else ''})")
        lines += [f"masked_{t + 1} = BitwiseAnd (scaled_{t + 1}, mask)", f"leaked_{t + 1} = Div (masked_{t + 1}, divisor)"]
    if carried:
        lines += ["first_axis = Constant <value_ints: ints = [0]> ()", f"next_carried = Squeeze (leaked_{steps}, first_axis)"]
    fires, membranes = names("fires", steps), names("membrane", steps)
    return [*lines, join_time("fires", fires), f"spikes = Cast <to = {UINT8}> (fires)", join_time("membrane", membranes)]


def temporal_window(steps: int, taps: int, *, floors: bool, history: bool = False) -> list[str]:
    """Body of TemporalWindow(product, bias) -> (current).

    Tap m is ``product << max(0, g - tau m) >> max(0, tau m - g)``, which equals ``(product << g) >> tau m``;
    the attributes hold the powers of two. ``floors`` is False when no tap needs the right shift. With ``history`` the products
    of the steps before are there: StepTemporalWindow(product, bias, history) -> (current, next_history).
    """
    products, before = ("products", taps - 1) if history else ("product", 0)
    taps = min(taps, before + steps)
    lines = ["multipliers_64 = Constant <value_ints: ints = @multipliers> ()", f"multipliers = Cast <to = {INT32}> (multipliers_64)"]
    lines.append(_split_scalars("multiplier", "multipliers", taps))
    if floors:
        lines += ["divisors_64 = Constant <value_ints: ints = @divisors> ()", f"divisors = Cast <to = {INT32}> (divisors_64)"]
        lines.append(_split_scalars("divisor", "divisors", taps))
    lines.append("offset = Mul (bias, multiplier_0)")
    if history:
        lines.append(join_time("products", ["history", "product"]))
    lines += split_time(products, before + steps)
    for t in range(steps):
        total = "offset"
        for lag in range(min(taps, before + t + 1)):
            tap = f"tap_{t}_{lag}"
            scaled = f"scaled_{t}_{lag}" if floors and lag else tap
            lines.append(f"{scaled} = Mul ({products}_{before + t - lag}, multiplier_{lag})")
            if floors and lag:
                lines += [f"mask_{t}_{lag} = Neg (divisor_{lag})", f"masked_{t}_{lag} = BitwiseAnd ({scaled}, mask_{t}_{lag})"]
                lines.append(f"{tap} = Div (masked_{t}_{lag}, divisor_{lag})")
            lines.append(f"sum_{t}_{lag} = Add ({total}, {tap})")
            total = f"sum_{t}_{lag}"
        lines.append(f"current_{t} = Identity ({total})")
    if history:
        lines.append(join_time("next_history", names(products, before + steps)[steps:]))
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


def neighbourhood(value: str, size: int, dilation: int = 1) -> list[str]:
    """Gather the ``size x size`` neighbourhood of ``[T, B, H, W, C]`` into ``patches``, ``[T, B, H, W, size^2 C]``."""
    margin = size // 2 * dilation
    pads = [0, 0, margin, margin, 0] * 2
    lines = [
        f"pads = Constant <value_ints: ints = {pads}> ()",
        f"padded = Pad ({value}, pads)",
        "axes = Constant <value_ints: ints = [2, 3]> ()",
    ]
    parts = []
    for row in range(size):
        for column in range(size):
            starts = [offset * dilation for offset in (row, column)]
            ends = [start - 2 * margin if start < 2 * margin else _END for start in starts]
            part = f"part_{row}_{column}"
            lines += [
                f"start_{row}_{column} = Constant <value_ints: ints = {starts}> ()",
                f"end_{row}_{column} = Constant <value_ints: ints = {ends}> ()",
                f"{part} = Slice (padded, start_{row}_{column}, end_{row}_{column}, axes)",
            ]
            parts.append(part)
    return [*lines, f"patches = Concat <axis = -1> ({', '.join(parts)})"]


def max_pool(*, stride: int, axis: int) -> list[str]:
    """Body of a pooling(inputs) -> (pooled): three neighbours along one axis, then along the next.

    The padding repeats the edge, which changes no maximum, so that spikes, counts and currents of any sign are treated alike.
    """
    lines, value = [], "inputs"
    for place, kind in ((axis, "row"), (axis + 1, "column")):
        pads = [1 if position % 5 == place else 0 for position in range(10)]
        lines += [f"{kind}_pads = Constant <value_ints: ints = {pads}> ()", f'{kind}_padded = Pad <mode = "edge"> ({value}, {kind}_pads)']
        lines += [f"{kind}_axis = Constant <value_ints: ints = [{place}]> ()", f"{kind}_step = Constant <value_ints: ints = [{stride}]> ()"]
        for start, end in ((0, -2), (1, -1), (2, _END)):
            lines += [
                f"{kind}_start_{start} = Constant <value_ints: ints = [{start}]> ()",
                f"{kind}_end_{start} = Constant <value_ints: ints = [{end}]> ()",
            ]
            lines.append(f"{kind}_{start} = Slice ({kind}_padded, {kind}_start_{start}, {kind}_end_{start}, {kind}_axis, {kind}_step)")
        value = "pooled" if place > axis else "rows"
        lines.append(f"{value} = Max ({', '.join(names(kind, 3))})")
    return lines


def readout() -> list[str]:
    """Body of Readout(tokens, weight, bias) -> (logits)."""
    return [*_summed("total"), "logits = Add (total, bias)"]


def step_readout() -> list[str]:
    """Body of StepReadout(tokens, weight, total) -> (next_total): without the bias, which follows the number of steps."""
    return [*_summed("increment"), "next_total = Add (total, increment)"]


def step_logits() -> list[str]:
    """Body of StepLogits(total, summed, bias_whole, bias_rest) -> (logits), for a bias ``T bias_whole + bias_rest``, 0 <= bias_rest < T.

    The rounded ``bias summed / T`` of ``Readout.bias_over`` is ``bias_whole summed + floor((2 bias_rest summed + T) / 2 T)``,
    whose quotient is of numbers that are not negative: exact under truncating and flooring division alike.
    """
    return [
        "trained = Constant <value_int: int = @trained_steps> ()",
        "twice_trained = Add (trained, trained)",
        "whole = Mul (bias_whole, summed)",
        "rest = Mul (bias_rest, summed)",
        "twice_rest = Add (rest, rest)",
        "raised = Add (twice_rest, trained)",
        "rounded = Div (raised, twice_trained)",
        "bias_64 = Add (whole, rounded)",
        f"bias = Cast <to = {INT32}> (bias_64)",
        "logits = Add (total, bias)",
    ]


def _summed(total: str) -> list[str]:
    return [
        "product = MatMulInteger (tokens, weight)",
        "axes = Constant <value_ints: ints = [0, 2]> ()",
        f"{total} = ReduceSum <keepdims = 0> (product, axes)",
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
