"""Named places in a model where a value can be watched."""

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from torch import Tensor, nn

#: Receives the value's dotted name and the value, channels last.
Watcher = Callable[[str, Tensor], None]


class Probe(nn.Module):
    """Identity whose place in the module tree is the name of the value that passes through it.

    ``blocks.0.attn.q.spikes`` is a probe; the value has that name in the graph, in every runtime
    and in every report. A probe costs nothing unless it is watched.
    """

    def __init__(self, channel_axis: int = -1) -> None:
        """Say which axis of the value holds the channels; watchers see it moved to the end."""
        super().__init__()
        self.channel_axis = channel_axis

    def forward(self, value: Tensor) -> Tensor:
        """Return ``value`` unchanged, whatever its shape."""
        return value


class Watch:
    """Context in which every probe of ``model`` accepted by ``wanted`` reports to ``watcher``.

    Example:
        >>> seen = {}
        >>> with Watch(model, seen.__setitem__):  # doctest: +SKIP
        ...     model(images)
        >>> seen["blocks.0.attn.q.spikes"].shape  # doctest: +SKIP
        torch.Size([4, 1, 49, 64])

    """

    def __init__(self, model: nn.Module, watcher: Watcher, wanted: Callable[[str], bool] = lambda _: True) -> None:
        """Remember what to watch; nothing is attached before the context is entered."""
        self._probes = {name: module for name, module in model.named_modules() if isinstance(module, Probe) and wanted(name)}
        self._watcher = watcher
        self._detach: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        """Attach to every wanted probe."""
        for name, probe in self._probes.items():
            self._detach.append(probe.register_forward_hook(partial(self._report, name, probe.channel_axis)).remove)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Detach again, also after an error."""
        for detach in self._detach:
            detach()

    def _report(self, name: str, channel_axis: int, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._watcher(name, output.detach().movedim(channel_axis, -1))
