"""What features mean: everything about their making that a detector trained on them relies on."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class FeatureContract:
    """How a feature sequence was made. Two sequences may stand for each other only under equal contracts.

    extractor: the backbone's name. weights_sha256: of its weights file; None where it has no trained weights.
    sampling_rate: frames per second the video is resampled to first, by presentation time; None: its own rate.
    max_rate: with sampling_rate None, faster videos keep every k-th frame, k the smallest that leaves at most so many.
    window, stride: frames per window and from one window to the next.
    alignment: what grid position g stands for; "center" is the centre of window g.
    resize, crop, value_range, layer, pooling: short free text, compared verbatim.
    channels: values per window.
    """

    extractor: str
    weights_sha256: str | None
    sampling_rate: float | None
    max_rate: float | None
    window: int
    stride: int
    alignment: str
    resize: str
    crop: str
    value_range: str
    layer: str
    pooling: str
    channels: int

    def __post_init__(self) -> None:
        if self.window < 1 or self.stride < 1 or self.channels < 1:
            raise ValueError("window, stride and channels are at least 1")
        for rate in (self.sampling_rate, self.max_rate):
            if rate is not None and not 0 < rate < float("inf"):
                raise ValueError(f"a rate is a positive number of frames per second, not {rate}")

    def differences(self, other: FeatureContract) -> list[str]:
        """One line per field that differs, as "field: mine, not theirs"; empty where the contracts are equal."""
        return [
            f"{field.name}: {getattr(self, field.name)}, not {getattr(other, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]
