"""The grammar of preprocessing in a feature contract, from frames to network input; parsing it needs no torch.

Each class parses one field of the contract (`parse`) and writes it back in canonical form (`str`), so that equal
preprocessing has equal text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# A small image of extreme aspect, enlarged with its aspect kept, would fill the memory.
MAX_PIXELS = 1 << 22
FLOW_METHODS = ("tvl1", "raft", "dis")
METHODS = ("area", "bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class Resize:
    """`METHOD [antialias] [8-bit] SIZE`, or `none`.

    method: `area` is done by the decoder (FFmpeg, always rounded to 8 bits); `bilinear` and `bicubic` sample at pixel
    centres on the frames as decoded. antialias: widen the filter when shrinking, as Pillow does. eight_bit: round to
    integers from 0 to 255 again, as in pipelines that store frames as image files. SIZE: `WxH`, ignoring the aspect;
    `short N`: the short side becomes N, the long one keeps the aspect, rounded down; `enlarge N`: as
    `short N`, but only for images whose short side is below N.
    """

    method: str | None
    antialias: bool = False
    eight_bit: bool = False
    size: tuple[int, int] | int = 0
    enlarge: bool = False

    @classmethod
    def parse(cls, text: str) -> Resize:
        """Raises ValueError with the grammar."""
        if text.strip() == "none":
            return cls(method=None)
        pattern = rf"({'|'.join(METHODS)})( antialias)?( 8-bit)? (?:([1-9]\d*)x([1-9]\d*)|(short|enlarge) ([1-9]\d*))"
        match = re.fullmatch(pattern, " ".join(text.split()))
        if match is None or (match[1] == "area" and (match[2] or match[3])):
            raise ValueError(
                f"resize={text}: use none, or METHOD [antialias] [8-bit] SIZE as in 'bilinear 224x224', 'area 171x128',"
                " 'bilinear antialias 8-bit short 256'"
            )
        size = (int(match[4]), int(match[5])) if match[4] else int(match[7])
        return cls(
            method=match[1],
            antialias=bool(match[2]),
            eight_bit=bool(match[3]),
            size=size,
            enlarge=match[6] == "enlarge",
        )

    def __str__(self) -> str:
        if self.method is None:
            return "none"
        words = [self.method, *(["antialias"] if self.antialias else []), *(["8-bit"] if self.eight_bit else [])]
        if isinstance(self.size, tuple):
            return " ".join([*words, f"{self.size[0]}x{self.size[1]}"])
        return " ".join([*words, "enlarge" if self.enlarge else "short", str(self.size)])

    @property
    def by_decoder(self) -> bool:
        """Whether the decoder does the resizing."""
        return self.method == "area"

    def result(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after resizing. Raises ValueError for an image so long that it would not fit in memory."""
        size = self._result(width, height)
        if size[0] * size[1] > MAX_PIXELS and size[0] * size[1] > width * height:
            raise ValueError(f"images of {width}x{height} pixels become {size[0]}x{size[1]} by resize={self}")
        return size

    def _result(self, width: int, height: int) -> tuple[int, int]:
        if self.method is None:
            return width, height
        if isinstance(self.size, tuple):
            return self.size
        short, long = sorted((width, height))
        if self.enlarge and short >= self.size:
            return width, height
        longer = self.size * long // short
        return (self.size, longer) if width <= height else (longer, self.size)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """`center WxH [round-even|round-up]`, or `none`.

    The crop starts at half of the remaining pixels, rounded down, half to even as in Python and torchvision, or up.
    """

    size: tuple[int, int] | None
    rounding: Literal["", "round-even", "round-up"] = ""

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Raises ValueError with the grammar."""
        if text.strip() == "none":
            return cls(size=None)
        match = re.fullmatch(r"center ([1-9]\d*)x([1-9]\d*)( round-even| round-up)?", " ".join(text.split()))
        if match is None:
            raise ValueError(f"crop={text}: use none, or center WxH [round-even|round-up] as in 'center 224x224'")
        rounding: Literal["", "round-even", "round-up"] = ""
        if match[3]:
            rounding = "round-even" if match[3].strip() == "round-even" else "round-up"
        return cls(size=(int(match[1]), int(match[2])), rounding=rounding)

    def __str__(self) -> str:
        if self.size is None:
            return "none"
        return f"center {self.size[0]}x{self.size[1]} {self.rounding}".rstrip()

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, width, height) of the crop. Raises ValueError for an image smaller than the crop."""
        if self.size is None:
            return 0, 0, width, height
        if self.size[0] > width or self.size[1] > height:
            raise ValueError(f"crop={self} does not fit into images of {width}x{height} pixels")
        return self._offset(width - self.size[0]), self._offset(height - self.size[1]), *self.size

    def _offset(self, rest: int) -> int:
        if self.rounding == "round-even":
            return round(rest / 2)
        return (rest + 1) // 2 if self.rounding else rest // 2


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """`[BGR] LOW..HIGH [mean M... std S...]`: target range of 0..255, then (value - mean) / std per channel.

    bgr: channels in the order blue, green, red; mean and std are in the order of the output channels.
    """

    low: float
    high: float
    bgr: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ValueRange:
        """Raises ValueError with the grammar."""
        number = r"-?\d+(?:\.\d+)?"
        pattern = rf"(BGR )?({number})\.\.({number})(?: mean ((?:{number} ?)+)std ((?:{number} ?)+))?"
        match = re.fullmatch(pattern, " ".join(text.split()))
        problem = f"value_range={text}: use [BGR] LOW..HIGH [mean M M M std S S S] as in '0..1', '-1..1'"
        if match is None or float(match[2]) >= float(match[3]):
            raise ValueError(problem)
        mean, std = (tuple(float(value) for value in (match[group] or "").split()) for group in (4, 5))
        if len(mean) != len(std) or 0.0 in std:
            raise ValueError(problem + "; as many means as deviations, none of them 0")
        return cls(low=float(match[2]), high=float(match[3]), bgr=bool(match[1]), mean=mean, std=std)

    def __str__(self) -> str:
        text = f"{'BGR ' if self.bgr else ''}{self.low:g}..{self.high:g}"
        if self.mean:
            text += " mean " + " ".join(map(str, self.mean)) + " std " + " ".join(map(str, self.std))
        return text


@dataclass(frozen=True, kw_only=True)
class Flow:
    """`METHOD bound PIXELS`: the method of optical flow estimation and the pixels per frame at which it is clipped."""

    method: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Flow:
        """Raises ValueError with the grammar."""
        match = re.fullmatch(rf"({'|'.join(FLOW_METHODS)}) bound (\d+(?:\.\d+)?)", " ".join(text.split()))
        if match is None or not float(match[2]):
            raise ValueError(f"flow={text}: use METHOD bound PIXELS with METHOD one of {', '.join(FLOW_METHODS)}")
        return cls(method=match[1], bound=float(match[2]))

    def __str__(self) -> str:
        return f"{self.method} bound {self.bound:g}"
