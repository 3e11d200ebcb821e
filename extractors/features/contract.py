"""The feature contract: everything about how features were made that a detector relies on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from tal_cli.extractors.features.preprocessing_spec import Crop, Flow, Resize, ValueRange

# Frames per second: higher sampling rates would only repeat frames, lower ones would miss every action.
SLOWEST, FASTEST = 0.01, 1000.0
LONGEST_WINDOW = 1 << 20  # frames
MOST_CHANNELS = 1 << 20
ALIGNMENTS = ("center", "start")


@dataclass(frozen=True, kw_only=True)
class FeatureContract:
    """How a feature sequence was made. Sequences are interchangeable only under equal contracts.

    extractor: the backbone's name. weights_sha256: of its weights file; None where it has no trained weights.
    sampling_rate: frames per second the video is resampled to first, by presentation time; None: its own rate.
    max_rate: with sampling_rate None, faster videos keep every k-th frame, k the smallest that satisfies this limit.
    window, stride: frames per window and from one window to the next.
    alignment: meaning of grid position g: the "center" of window g, or its "start".
    resize, crop, value_range, flow: preprocessing from frames to the network's input, in the grammar of
    `preprocessing_spec.py`, applied in that order (flow, if any, between resize and crop).
    layer, pooling: short free text, compared verbatim.
    channels: values per window.
    chunk, overlap: of networks that give several rows in one pass: frames of a pass, and those that it shares with the
    next; the rows of their outer halves are left out. A window is then the frames of one row, and those around it that
    every pass has. None: a pass per window.
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
    flow: str | None = None
    chunk: int | None = None
    overlap: int | None = None

    def __post_init__(self) -> None:
        for name, most in (("window", LONGEST_WINDOW), ("stride", LONGEST_WINDOW), ("channels", MOST_CHANNELS)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be between 1 and {most}, not {getattr(self, name)}")
        if self.chunk is None:
            if self.overlap is not None:
                raise ValueError("overlap is of chunks, and there are none")
        elif not 1 <= self.chunk - (self.overlap or 0) <= self.chunk <= LONGEST_WINDOW:
            raise ValueError(f"a chunk of {self.chunk} frames cannot share {self.overlap} with the next")
        for rate in (self.sampling_rate, self.max_rate):
            if rate is not None and not SLOWEST <= rate <= FASTEST:
                raise ValueError(f"a rate must be between {SLOWEST:g} and {FASTEST:g} frames per second, not {rate}")

    @property
    def rows(self) -> int | None:
        """Rows that one pass over a chunk gives; None: a pass per window."""
        return None if self.chunk is None else (self.chunk - (self.overlap or 0)) // self.stride

    def differences(self, other: FeatureContract) -> list[str]:
        """One line per field that differs, as "field: mine, not theirs"; empty where the contracts are equal."""
        return [
            f"{field.name}: {shown(getattr(self, field.name))}, not {shown(getattr(other, field.name))}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]

    def changed(self, settings: Mapping[str, object]) -> FeatureContract:
        """This contract with some fields changed, given as text or as values of their type.

        Preprocessing is written in canonical form, so that equal preprocessing gives equal contracts. Raises
        ValueError for a field that cannot be set, an invalid value, or a crop larger than the image it is cut from.
        """
        values: dict[str, object] = {}
        for key, value in settings.items():
            if key not in READERS:
                raise ValueError(f"{key}: cannot be set; choose from {', '.join(READERS)}")
            values[key] = READERS[key](key, value)
        made = replace(self, **values)  # type: ignore[arg-type]
        if {"resize", "crop"} & set(settings):
            fit(Resize.parse(made.resize), Crop.parse(made.crop))
        return made


def fit(resize: Resize, crop: Crop) -> None:
    """Raises ValueError for a crop larger than every image that a resize produces."""
    if resize.method is None or crop.size is None:
        return
    if isinstance(resize.size, tuple):
        crop.box(*resize.size)
    elif min(crop.size) > resize.size:
        raise ValueError(f"crop={crop} does not fit into images made by resize={resize}")


def shown(value: object) -> str:
    """A field's value as shown in messages."""
    return "none" if value is None else str(value)


def positive_integer(key: str, value: object) -> int:
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if not number.is_integer() or not 1 <= number <= LONGEST_WINDOW:
        raise ValueError(f"{key}={value}: must be a whole number of frames, at least 1")
    return int(number)


def alignment(key: str, value: object) -> str:
    if value not in ALIGNMENTS:
        raise ValueError(f"{key}={value}: there are {' and '.join(ALIGNMENTS)}")
    return str(value)


def number_of_frames(key: str, value: object) -> int:
    return 0 if str(value) in ("0", "0.0") else positive_integer(key, value)


def rate(key: str, value: object) -> float | None:
    if value is None or str(value) in ("none", "null"):
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if not SLOWEST <= number <= FASTEST:
        raise ValueError(f"{key}={value}: must be a number of frames per second up to {FASTEST:g}, or none")
    return number


def words(key: str, value: object) -> str:
    text = " ".join(str(value).split())
    if not text:
        raise ValueError(f"{key}: must not be empty")
    return text


# Settable fields and the parsers of their text.
READERS: dict[str, Callable[[str, object], object]] = {
    "alignment": alignment,
    "sampling_rate": rate,
    "max_rate": rate,
    "window": positive_integer,
    "stride": positive_integer,
    "resize": lambda key, value: str(Resize.parse(str(value))),
    "crop": lambda key, value: str(Crop.parse(str(value))),
    "value_range": lambda key, value: str(ValueRange.parse(str(value))),
    "flow": lambda key, value: str(Flow.parse(str(value))),
    "layer": words,
    "pooling": words,
    "chunk": positive_integer,
    "overlap": number_of_frames,
}
