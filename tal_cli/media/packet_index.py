"""The packets of a video without decoding them: what can be cut out as it is."""

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

    stamps: display times in the stream's time base. keys: whether decoding can begin there. times: display times in
    seconds on the reader's clock, ascending.
    """

    stamps: tuple[int, ...]
    keys: tuple[bool, ...]
    times: tuple[float, ...]

    def packets_within(self, first: float, end: float) -> range | None:
        """The packets of the frames shown in [first, end) seconds, if they can stand alone: they follow each other in
        the file, the first shown is the first decoded and a key frame. Nothing before them is then needed, and
        nothing of them after. None if not."""
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
    """The index of a reader's file; None where times are not stored or not reliable. The reader's place is lost."""
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
    # Frames before the first that decodes mean that the file begins in the middle of something.
    return PacketIndex(tuple(stamps), tuple(keys), times) if times and abs(times[0]) < 1e-6 else None


def _packets(reader: Reader) -> Iterator[av.Packet]:
    """The packets of the video one by one, since together they are as large as the file."""
    reader.container.seek(0)
    yield from (packet for packet in reader.container.demux(reader.stream) if packet.size)
