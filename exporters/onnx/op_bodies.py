"""Bodies of ops that move, mask, sum or compare: heads, chunks, reductions, the saccadic neuron."""

from ds2ta_deploy.exporters.onnx.bodies import INT32, UINT8, join_time, names, split_time
from ds2ta_deploy.exporters.onnx.product_bodies import split_shape


def split_heads() -> list[str]:
    """Body of SplitHeads(inputs) -> (split); the attribute ``heads`` says how many."""
    return [*split_shape(), "cut = Reshape (inputs, split_shape)", "split = Transpose <perm = [0, 1, 3, 2, 4]> (cut)"]


def merge_heads() -> list[str]:
    """Body of MergeHeads(inputs) -> (merged)."""
    return [
        "shape = Constant <value_ints: ints = [0, 0, 0, -1]> ()",
        "moved = Transpose <perm = [0, 1, 3, 2, 4]> (inputs)",
        "merged = Reshape (moved, shape)",
    ]


def map_lookup() -> list[str]:
    """Body of MapLookup(scores, table) -> (denoised): maps ``[T, B, H, N, N]`` with the heads first, and back; Lookup by name."""
    return [
        "heads_first = Transpose <perm = [2, 0, 1, 3, 4]> (scores)",
        "found = @Lookup (heads_first, table)",
        "denoised = Transpose <perm = [1, 2, 0, 3, 4]> (found)",
    ]


def chunk(time_steps: int, steps: int) -> list[str]:
    """Body of Chunk(inputs) -> (chunks): ``steps`` time steps side by side on the axis of the tokens."""
    parts = names("inputs", time_steps)
    lines = split_time("inputs", time_steps)
    for number in range(time_steps // steps):
        lines.append(f"chunk_{number} = Concat <axis = 3> ({', '.join(parts[number * steps : (number + 1) * steps])})")
    return [*lines, join_time("chunks", names("chunk", time_steps // steps))]


def unchunk(chunks: int, steps: int) -> list[str]:
    """Body of Unchunk(chunks) -> (values): the tokens of a chunk's steps one after the other in time."""
    lines, parts = split_time("chunks", chunks), []
    for number in range(chunks):
        made = names(f"step_{number}", steps)
        parts += made
        cut = f"Split <axis = 3, num_outputs = {steps}>" if steps > 1 else "Identity"
        lines.append(f"{', '.join(made)} = {cut} (chunks_{number})")
    return [*lines, join_time("values", parts)]


def reduce_sum(axis: int) -> list[str]:
    """Body of a sum(inputs) -> (total) over one axis, which stays."""
    return [
        f"wide = Cast <to = {INT32}> (inputs)",
        f"axis = Constant <value_ints: ints = [{axis}]> ()",
        "total = ReduceSum <keepdims = 1> (wide, axis)",
    ]


def time_mix(steps: int, rank: int, inputs: str = "inputs", matrix: str = "matrix") -> list[str]:
    """Body of TimeMix(inputs, matrix) -> (mixed): a column of the matrix for each step, added step after step.

    A column has the weights of one step for all present ones; those before it are zero.
    """
    shape = [-1, *[1] * (rank - 1)]
    columns = f"Split <axis = 1, num_outputs = {steps}>" if steps > 1 else "Identity"
    lines = [
        *split_time(inputs, steps),
        f"matrix_32 = Cast <to = {INT32}> ({matrix})",
        f"{', '.join(names('column', steps))} = {columns} (matrix_32)",
        f"shape = Constant <value_ints: ints = {shape}> ()",
    ]
    total = ""
    for step in range(steps):
        lines += [f"weights_{step} = Reshape (column_{step}, shape)", f"term_{step} = Mul (weights_{step}, {inputs}_{step})"]
        if total:
            lines.append(f"total_{step} = Add ({total}, term_{step})")
        total = f"total_{step}" if total else f"term_{step}"
    return [*lines, f"mixed = Identity ({total})"]


def step_time_mix(steps: int, present: int, rank: int) -> list[str]:
    """Body of StepTimeMix(inputs, block, matrix, past) -> (mixed, next_past): the rows of the matrix for so many present steps.

    ``seen`` has a place for every step that the matrix weighs: what is past, the present ones where they belong, and zero
    for later ones, but for the last, whose weight is zero until it is a present one.
    """
    lines = [
        *_present(present),
        "rows = Gather <axis = 0> (matrix, index)",
        *split_time("index", present),
        *split_time("inputs", present),
        f"place = Constant <value_ints: ints = {list(range(steps))}> ()",
        f"place_shape = Constant <value_ints: ints = {[-1, *[1] * (rank - 1)]}> ()",
        "places = Reshape (place, place_shape)",
        join_time("filled_0", ["past", f"inputs_{present - 1}"]),
    ]
    for step in range(present):
        lines.append(f"here_{step} = Equal (places, index_{step})")
        lines.append(f"filled_{step + 1} = Where (here_{step}, inputs_{step}, filled_{step})")
    lines += [
        f"seen = Identity (filled_{present})",
        "first = Constant <value_ints: ints = [0]> ()",
        f"last = Constant <value_ints: ints = [{steps - 1}]> ()",
        "next_past = Slice (seen, first, last, first)",
    ]
    return [*lines, *time_mix(steps, rank, "seen", "rows")]


def step_threshold(present: int, rank: int) -> list[str]:
    """Body of StepThreshold(inputs, block, threshold) -> (spikes): the thresholds of so many present steps."""
    return [*_present(present), "present = Gather <axis = 0> (threshold, index)", *threshold(rank, "present")]


def _present(steps: int) -> list[str]:
    """``index``: which steps of the run those of a block are."""
    return [
        f"size = Constant <value_ints: ints = [{steps}]> ()",
        f"ahead = Constant <value_ints: ints = {list(range(steps))}> ()",
        "begin = Mul (block, size)",
        "index = Add (begin, ahead)",
    ]


def threshold(rank: int, thresholds: str = "threshold") -> list[str]:
    """Body of Threshold(inputs, threshold) -> (spikes): a threshold for each time step."""
    return [
        f"shape = Constant <value_ints: ints = {[-1, *[1] * (rank - 1)]}> ()",
        f"limits = Reshape ({thresholds}, shape)",
        "fires = GreaterOrEqual (inputs, limits)",
        f"spikes = Cast <to = {UINT8}> (fires)",
    ]
