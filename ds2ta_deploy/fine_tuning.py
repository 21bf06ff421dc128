"""Quantization-aware fine-tuning: a trained model learns on as the integers that it will be frozen into."""

import copy

import torch
from torch import Tensor, nn

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.readout import IntegerReadout
from ds2ta_deploy.quantization import Quantization, put_on_grid


def qat(model: SpikingTransformer, settings: Quantization | None = None) -> "QuantizationAware":
    """Return a copy of a trained ``model`` that is trained on the integer grid.

    Batch norm is folded with the statistics it has; thresholds are integers, and tau of the temporal windows stays the
    integer that it is. Everything else is a parameter: weights, biases, gains of the batch norms, the denoisers' functions.

    Args:
        model: a trained one; it is not changed.
        settings: the grid; train with those that will be exported with.

    Raises:
        UsageError: DS2TA-510 for settings out of range.
        UnsupportedError: DS2TA-202 when the model is on the grid already; as :func:`~ds2ta_deploy.quantization.quantize`.

    Example:
        >>> tuned = qat(load_checkpoint("ckpt.safetensors"), Quantization(weight_bits=4))  # doctest: +SKIP
        >>> optimizer = torch.optim.AdamW(tuned.parameters(), 3e-4)  # doctest: +SKIP
        >>> functional.cross_entropy(tuned(images), labels).backward()  # doctest: +SKIP
        >>> save_checkpoint(tuned.model, "tuned.safetensors")  # doctest: +SKIP

    """
    settings = settings or Quantization()
    settings.validate()
    if model.quantization is not None:
        raise UnsupportedError(Problem("DS2TA-202", "the model is already quantized", mend="fine-tune the trained one"))
    return QuantizationAware(copy.deepcopy(model), settings)


class QuantizationAware(nn.Module):
    """A trained model that computes with its own integers; gradients pass the rounding straight through.

    Shapes: uint8 pictures ``[B, H, W, C]`` or frames ``[T, B, H, W, C]`` -> real-valued logits ``[B, classes]``, which are the
    integer logits times their scale. In training mode the integers are carried in float32, which is exact as long as sums
    stay below 2^24; in evaluation mode in float64, which always is.

    Attributes:
        model: the trained model under way; ``quantize(model, settings)`` gives the very integers that this computes with.
        settings: how it is put on the grid.

    """

    def __init__(self, model: SpikingTransformer, settings: Quantization) -> None:
        """Take a model to train, which is changed by the training."""
        super().__init__()
        self.model = model.eval()
        self.settings = settings
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.endswith("window.decay"))

    def train(self, mode: bool = True) -> "QuantizationAware":  # noqa: FBT001, FBT002 - the signature is PyTorch's
        """Switch between float32 and float64; the statistics of batch norm are frozen in either."""
        self.training = mode
        return self

    def on_grid(self) -> SpikingTransformer:
        """Return the quantized model; its integers are connected with the parameters, for gradients."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        # Deep-copying everything but the tensors: the copies' are functions of the parameters.
        connected = {id(tensor): tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors}
        quantized = copy.deepcopy(self.model, connected)
        put_on_grid(quantized, self.settings)
        return quantized

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits in real-valued units."""
        quantized = self.on_grid()
        head = quantized.head
        if not isinstance(head, IntegerReadout):  # put_on_grid leaves no other one
            raise UnsupportedError(Problem("DS2TA-202", "the readout is not quantized", "head"))
        logits: Tensor = quantized.to(torch.float32 if self.training else torch.float64)(pixels)
        return logits * head.scale
