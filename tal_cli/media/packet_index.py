"""Index of a video's packets, without decoding: finds parts that can be copied."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

EACH = 500  # packets, after which progress is told


@dataclass(frozen=True)
class PacketIndex:
    """The video packets of a file in decoding order.

    stamps: presentation times in `base`, the stream's time base. keys: whether decoding can start there. start: zero of
    the reader's clock, in seconds.
    """

    stamps: NDArray[np.int64]
    keys: NDArray[np.bool_]
    base: Fraction
    start: float

    @cached_property
    def ascending(self) -> NDArray[np.int64]:
        """Presentation times in `base`, in temporal order."""
        return np.sort(self.stamps)

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """Presentation times in seconds on the reader's clock, ascending."""
        return self.ascending * self.base.numerator / self.base.denominator - self.start

    def packets_within(self, first: float, end: float) -> range | None:
        """The packets of the frames shown in [first, end) seconds, if they can be decoded on their own: they are
        contiguous in the file, and the first frame shown is the first decoded and a key frame. Else None."""
        low, high = np.searchsorted(self.times, (first, end)).tolist()
        count = high - low
        if count < 1:
            return None
        wanted = self.ascending[low:high]
        at = int(np.flatnonzero(self.stamps == wanted[0])[0])
        run = self.stamps[at : at + count]
        return range(at, at + count) if self.keys[at] and np.array_equal(np.sort(run), wanted) else None


def packet_index(reader: Reader, progress: Progress) -> PacketIndex | None:
    """The index of a reader's file; None if times are missing or unreliable. Changes the reader's position.

    progress: called with (seconds of the video that are read, its duration or None).
    """
    base = reader.stream.time_base
    if not reader.can_jump or base is None:
        return None
    stamps, keys = array("q"), bytearray()
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
    if not stamps:
        return None
    index = PacketIndex(np.array(stamps), np.frombuffer(keys, np.bool_), Fraction(base), reader.start)
    # Packets before the first decodable frame: the file starts in the middle of a group of pictures.
    is_whole = abs(index.times[0]) < 1e-6
    return index if is_whole and (np.diff(index.ascending) > 0).all() else None


def _packets(reader: Reader) -> Iterator[av.Packet]:
    """Packets of the video, one by one: together they are as large as the file."""
    reader.container.seek(0)
    yield from (packet for packet in reader.container.demux(reader.stream) if packet.size)
