"""3x3 maxima of stride 1 on tokens: what the event forms of the membrane-shortcut families do to spikes."""

from torch import Tensor, nn

from ds2ta_deploy.models.layers import max_pool, split_heads
from ds2ta_deploy.models.probe import Probe


class Erosion(nn.Module):
    """Maximum over the 3x3 neighbourhood of each token on the feature map. Shapes: ``[T, B, N, D]`` -> the same."""

    def __init__(self, rows: int) -> None:
        """Take the number of rows of the feature map."""
        super().__init__()
        self.rows = rows
        self.pooled = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the maxima."""
        time, batch, count, width = tokens.shape
        pictures = tokens.reshape(time, batch, self.rows, count // self.rows, width).movedim(-1, -3)
        watched: Tensor = self.pooled(max_pool(pictures, stride=1).movedim(-3, -1)).flatten(2, 3)
        return watched


class HeadErosion(nn.Module):
    """Maximum over neighbouring tokens (in their order) and neighbouring channels of each head: 3x3 of ``[N, d]``.

    The published spike-driven transformer pools the last two axes of ``[T, B, heads, N, d]`` here, not the picture's.

    Shapes: ``[T, B, N, D]`` -> the same.
    """

    def __init__(self, num_heads: int) -> None:
        """Take the number of heads."""
        super().__init__()
        self.num_heads = num_heads
        self.pooled = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the maxima."""
        watched: Tensor = self.pooled(max_pool(split_heads(tokens, self.num_heads), stride=1)).transpose(2, 3).flatten(3)
        return watched
