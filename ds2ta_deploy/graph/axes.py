"""What the axes of every value count: an index spelled out in words."""

from collections.abc import Sequence

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops.base import Axes

#: Of a network's input, still or over time.
_PICTURES: Axes = ("sample", "row", "column", "channel")
_FRAMES: Axes = ("time step", *_PICTURES)


def axes_of(graph: Graph) -> dict[str, Axes]:
    """Return the axes of every value, input included, as the ops' classes say."""
    axes = {graph.input_name: _PICTURES if graph.input_type.shape[0] is None else _FRAMES}
    for op in graph:
        axes.update(zip(op.outputs, op.infer_axes([axes[name] for name in op.inputs]), strict=True))
    return axes


def in_words(axes: Sequence[str], index: Sequence[int]) -> str:
    """Spell an index out.

    Example:
        >>> in_words(("token", "channel"), (15, 9))
        'token 15, channel 9'

    """
    return ", ".join(f"{axis} {position}" for axis, position in zip(axes, index, strict=True))
