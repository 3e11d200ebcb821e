"""Index of a video's packets, without decoding: finds parts that can be copied."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import av
from av.error import FFmpegError

from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress


@dataclass(frozen=True)
class PacketIndex:
    """The video packets of a file in decoding order.

    stamps: presentation times in the stream's time base. keys: whether decoding can start there. times: presentation
    times in seconds on the reader's clock, ascending.
    """

    stamps: tuple[int, ...]
    keys: tuple[bool, ...]
    times: tuple[float, ...]

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
    """The index of a reader's file; None if times are missing or unreliable. Changes the reader's position."""
    base = reader.stream.time_base
    if not reader.can_jump or base is None:
        return None
    stamps: list[int] = []
    keys: list[bool] = []
    try:
        for packet in _packets(reader):
            progress(0, None)
            if packet.pts is None or packet.is_discard or packet.is_corrupt:
                return None
            stamps.append(packet.pts)
            keys.append(packet.is_keyframe)
    except FFmpegError:  # damaged
        return None
    if len(set(stamps)) != len(stamps):
        return None
    times = tuple(float(stamp * base) - reader.start for stamp in sorted(stamps))
    # Packets before the first decodable frame: the file starts in the middle of a group of pictures.
    return PacketIndex(tuple(stamps), tuple(keys), times) if times and abs(times[0]) < 1e-6 else None


def _packets(reader: Reader) -> Iterator[av.Packet]:
    """Packets of the video, one by one: together they are as large as the file."""
    reader.container.seek(0)
    yield from (packet for packet in reader.container.demux(reader.stream) if packet.size)
