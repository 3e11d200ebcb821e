"""Index of a video's packets, without decoding: finds parts that can be copied."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import av
from av.error import FFmpegError

from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

EACH = 500  # packets, after which progress is told


@dataclass(frozen=True)
class PacketIndex:
    """The video packets of a file in decoding order.

    stamps: presentation times in `base`, the stream's time base. keys: whether decoding can start there. start: zero of
    the reader's clock, in seconds.
    """

    stamps: tuple[int, ...]
    keys: tuple[bool, ...]
    base: Fraction
    start: float

    @cached_property
    def times(self) -> tuple[float, ...]:
        """Presentation times in seconds on the reader's clock, ascending."""
        return tuple(float(stamp * self.base) - self.start for stamp in self._ascending)

    def packets_within(self, first: float, end: float) -> range | None:
        """The packets of the frames shown in [first, end) seconds, if they can be decoded on their own: they are
        contiguous in the file, and the first frame shown is the first decoded and a key frame. Else None."""
        low, high = bisect_left(self.times, first), bisect_left(self.times, end)
        count = high - low
        if count < 1:
            return None
        wanted = self._ascending[low:high]
        at = self._places[wanted[0]]
        run = self.stamps[at : at + count]
        return range(at, at + count) if self.keys[at] and sorted(run) == wanted else None

    @cached_property
    def _ascending(self) -> list[int]:
        return sorted(self.stamps)

    @cached_property
    def _places(self) -> dict[int, int]:
        return {stamp: place for place, stamp in enumerate(self.stamps)}


def packet_index(reader: Reader, progress: Progress) -> PacketIndex | None:
    """The index of a reader's file; None if times are missing or unreliable. Changes the reader's position.

    progress: called with (seconds of the video that are read, its duration or None).
    """
    base = reader.stream.time_base
    if not reader.can_jump or base is None:
        return None
    stamps: list[int] = []
    keys: list[bool] = []
    length = float(reader.stream.duration * base) if reader.stream.duration else None
    try:
        for packet in _packets(reader):
            stamp = packet.pts
            if stamp is None or packet.is_discard or packet.is_corrupt:
                return None
            if len(stamps) % EACH == 0:
                progress(float(stamp * base) - reader.start, length)
            stamps.append(stamp)
            keys.append(packet.is_keyframe)
    except FFmpegError:  # damaged
        return None
    if not stamps or len(set(stamps)) != len(stamps):
        return None
    # Packets before the first decodable frame: the file starts in the middle of a group of pictures.
    is_whole = abs(float(min(stamps) * base) - reader.start) < 1e-6
    return PacketIndex(tuple(stamps), tuple(keys), Fraction(base), reader.start) if is_whole else None


def _packets(reader: Reader) -> Iterator[av.Packet]:
    """Packets of the video, one by one: together they are as large as the file."""
    reader.container.seek(0)
    yield from (packet for packet in reader.container.demux(reader.stream) if packet.size)
