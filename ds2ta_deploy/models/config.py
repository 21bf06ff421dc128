"""What every network has: the part of a configuration that all families share."""

import math
from typing import Literal

import msgspec

from ds2ta_deploy.errors import InputError, Problem

#: ``images``: one picture, shown at every time step. ``frames``: one frame of event counts a step.
InputKind = Literal["images", "frames"]

#: Largest sizes that a config may ask for; beyond them a file is damaged or hostile.
_SIZE_LIMITS = {
    "image_height": 4096,
    "image_width": 4096,
    "in_channels": 64,
    "time_steps": 1024,
    "num_classes": 100_000,
    "embed_dim": 8192,
    "depth": 128,
    "num_heads": 256,
    "mlp_ratio": 16,
}


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a checkpoint's tensors do not tell, as far as every family has it.

    Attributes:
        family: name of the model family.
        input_kind: ``images`` (uint8 ``[B, H, W, C]``) or ``frames`` (uint8 ``[T, B, H, W, C]``).
        image_height: pixels.
        image_width: pixels.
        in_channels: channels of the picture, or polarities of the event frames.
        time_steps: T, the number of steps the network runs.
        num_classes: number of logits.
        embed_dim: D, width of the token stream; divisible by 8 and by ``num_heads``.
        depth: number of encoder blocks.
        num_heads: attention heads; each has ``embed_dim / num_heads`` channels.
        mlp_ratio: hidden width of the MLP divided by D.
        pool_stages: four characters; ``1`` where a patch stage ends with a 3x3 max-pool of stride 2.
        threshold: firing threshold theta, all neurons but those of the attention.
        membrane_time_constant: tau_m in time steps; 2 is exact in integers.
        decay_input: whether the input current is divided by tau_m as well (SpikingJelly's default).
        pixel_scale: factor that turns a uint8 pixel into the unit of ``pixel_mean``.
        pixel_mean: mean of each channel.
        pixel_std: standard deviation of each channel.

    """

    family: str
    input_kind: InputKind = "images"
    image_height: int
    image_width: int
    in_channels: int
    time_steps: int
    num_classes: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: int = 4
    pool_stages: str
    threshold: float = 1.0
    membrane_time_constant: float = 2.0
    decay_input: bool = False
    pixel_scale: float = 1.0 / 255.0
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]

    @property
    def head_dim(self) -> int:
        """Channels of one head, d; a map of spikes by spikes holds integers in [0, d]."""
        return self.embed_dim // self.num_heads

    @property
    def stage_widths(self) -> tuple[int, int, int, int]:
        """Channels after each of the four patch stages: D/8, D/4, D/2, D."""
        return (self.embed_dim // 8, self.embed_dim // 4, self.embed_dim // 2, self.embed_dim)

    @property
    def token_rows(self) -> int:
        """Rows of the feature map whose pixels are the tokens."""
        return self._pooled(self.image_height)

    @property
    def token_columns(self) -> int:
        """Columns of the feature map whose pixels are the tokens."""
        return self._pooled(self.image_width)

    @property
    def tokens(self) -> int:
        """Number of tokens, N."""
        return self.token_rows * self.token_columns

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the network's input; ``None`` stands for the batch."""
        image = (None, self.image_height, self.image_width, self.in_channels)
        return image if self.input_kind == "images" else (self.time_steps, *image)

    def validate(self) -> None:
        """Check what the types do not say.

        Raises:
            InputError: DS2TA-110 naming every field that contradicts itself or another one.

        """
        wrong = [*self._shared_problems(), *self.problems()]
        if wrong:
            raise InputError(Problem("DS2TA-110", reason, f"config.{name}", "correct the checkpoint's config") for name, reason in wrong)

    def problems(self) -> list[tuple[str, str]]:
        """Return ``(field, what is wrong)`` for what only this family has."""
        return []

    def _shared_problems(self) -> list[tuple[str, str]]:
        wrong = [
            (name, f"must lie in 1..{most}")  # the value itself may be a number of a million digits
            for name, most in _SIZE_LIMITS.items()
            if not 1 <= getattr(self, name) <= most
        ]
        wrong += not_positive(self, "threshold", "pixel_scale")
        if self.embed_dim % 8 or self.num_heads < 1 or self.embed_dim % self.num_heads:
            wrong.append(("embed_dim", "must be divisible by 8 and by num_heads"))
        if not four_flags(self.pool_stages):
            wrong.append(("pool_stages", "must be four characters, each 0 or 1"))
        if not 1 < self.membrane_time_constant < math.inf:
            wrong.append(("membrane_time_constant", "must be a finite number greater than 1 time step"))
        if len(self.pixel_mean) != self.in_channels or len(self.pixel_std) != self.in_channels:
            wrong.append(("pixel_mean, pixel_std", "need one value a channel"))
        if not all(math.isfinite(value) for value in self.pixel_mean) or not all(0 < value < math.inf for value in self.pixel_std):
            wrong.append(("pixel_mean, pixel_std", "must be finite, and the deviation greater than zero"))
        return wrong

    def _pooled(self, size: int) -> int:
        for flag in self.pool_stages:
            size = (size + 1) // 2 if flag == "1" else size
        return size


def not_positive(config: NetworkConfig, *names: str) -> list[tuple[str, str]]:
    """Name the fields among ``names`` that are no finite number above zero."""
    return [(name, "must be a finite number greater than zero") for name in names if not 0 < getattr(config, name) < math.inf]


def four_flags(flags: str) -> bool:
    """Whether a string is four characters, each 0 or 1: one a patch stage."""
    return len(flags) == 4 and not set(flags) - {"0", "1"}


def chunk_problems(config: NetworkConfig, chunk_steps: int) -> list[tuple[str, str]]:
    """Say whether the chunk of a temporal attention does not divide the run."""
    if not 1 <= chunk_steps <= config.time_steps or config.time_steps % chunk_steps:
        return [("chunk_steps", f"{chunk_steps} does not divide the {config.time_steps} time steps")]
    return []
