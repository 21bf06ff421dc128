"""A penalty on synaptic operations: a network that does fewer of them takes less time on a CPU and less energy on a chip."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.attention import SpikingAttention
from ds2ta_deploy.models.layers import ConvSynapses, Synapses

#: Returns the share of the dense operations that were done in the forward pass before, and forgets it.
TakeShare = Callable[[], Tensor]


@contextmanager
def watch_operations(model: nn.Module) -> Iterator[TakeShare]:
    """Watch how many synaptic operations a network does, in a way that gradients go through.

    The share is ``sum(spikes * fan-out) / sum(neurons * fan-out)`` over all that weights and attentions read, pixels left out: the
    SynOp loss of Sorbaro et al., Frontiers in Neuroscience 14 (2020), over the operations of a network that is never silent. A
    count of n is n spikes. Queries and keys share their products: each spike of one counts as half of those that it could take part in.
    Copies made of the model inside the context are watched as well, which is how
    :class:`~ds2ta_deploy.fine_tuning.QuantizationAware` computes.

    Example:
        >>> with watch_operations(model) as share:  # doctest: +SKIP
        ...     loss = functional.cross_entropy(model(images), labels) + 4.0 * share()

    """
    done: list[Tensor] = []
    dense: list[float] = []

    def count(spikes: Tensor, fan_out: float) -> None:
        if spikes.requires_grad:  # pixels do not depend on any parameter
            done.append(spikes.sum() * fan_out)
            dense.append(spikes.numel() * fan_out)

    def count_weights(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        count(inputs[0], weight.numel() / weight.shape[1])

    def count_half(_layer: nn.Module, _inputs: tuple[Tensor], spikes: Tensor) -> None:
        count(spikes, spikes.shape[2] / 2)

    def count_whole(_layer: nn.Module, _inputs: tuple[Tensor], spikes: Tensor) -> None:
        count(spikes, spikes.shape[2])

    def share() -> Tensor:
        found = torch.stack(done).sum() / sum(dense)
        done.clear()
        dense.clear()
        return found

    handles = []
    for module in model.modules():
        if isinstance(module, Synapses | ConvSynapses):
            handles.append(module.register_forward_pre_hook(count_weights))
        if isinstance(module, SpikingAttention):
            handles += [layer.register_forward_hook(count_half) for layer in (module.q, module.k)]
            handles.append(module.v.register_forward_hook(count_whole))
    try:
        yield share
    finally:
        for handle in handles:
            handle.remove()
