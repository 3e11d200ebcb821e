"""Cuts segments out of a video, exact to the frame."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from tal_cli.media.encode import Sound, Turner, VideoWriter
from tal_cli.media.packet_index import PacketIndex, packet_index
from tal_cli.media.reader import Reader
from tal_cli.media.tasks import Progress

# For gaps longer than this, seeking to a key frame is faster than decoding.
JUMP_SECONDS = 12.0
# Each encoder buffers dozens of frames.
MOST_ENCODERS = 8


@dataclass
class Cut:
    """One clip: from start to end (seconds) into `target`, which has no suffix yet; `writer` while it is encoded."""

    start: float
    end: float
    target: str
    writer: VideoWriter | None = field(default=None)
    unfinished: Path = field(default=Path())


def cut(path: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The task `cut`: `cuts`, a list of {start, end, target}; `scratch`, a folder for unfinished files.

    A clip has the frames shown nearest to [start, end), at least one. Where they are a run of packets that begins
    with a key frame they are copied as they are, else they are encoded again, upright and in 8 bits; sound comes along.

    Result: `copied` and `encoded`, the paths written.
    """
    reader = Reader(path)
    # A frame belongs to a clip if most of its display time does.
    half = 0.5 / reader.rate
    cuts = [Cut(item["start"] - half, item["end"] - half, item["target"]) for item in request["cuts"]]
    scratch = Path(request["scratch"])
    index = packet_index(reader, lambda done, total: progress(0, None))
    copied, left = [], []
    for item in cuts:
        written = copy_out(reader, index, item, scratch, progress) if index is not None else None
        if written is None:
            left.append(item)
        else:
            copied.append(written)
    encoded = []
    while left:
        now, left = at_once(left)
        encoded += encode_out(Reader(path), now, scratch, progress)
    return {"copied": copied, "encoded": encoded}


def at_once(cuts: list[Cut]) -> tuple[list[Cut], list[Cut]]:
    """Cuts for one pass over the video, with at most MOST_ENCODERS overlapping at any time, and the remaining cuts."""
    taken: list[Cut] = []
    others: list[Cut] = []
    ends: list[float] = []
    for item in sorted(cuts, key=lambda item: item.start):
        ends = [end for end in ends if end > item.start]
        if len(ends) < MOST_ENCODERS:
            ends.append(item.end)
            taken.append(item)
        else:
            others.append(item)
    return taken, others


def copy_out(reader: Reader, index: PacketIndex, item: Cut, scratch: Path, progress: Progress) -> str | None:
    """Copy a clip's packets, if they can be decoded on their own; returns the path written, or None."""
    packets = index.packets_within(item.start, item.end)
    if packets is None:
        return None
    suffix = ".mp4" if reader.container.format.name.startswith("mov") else Path(reader.path).suffix.lower()
    suffix = suffix if suffix in (".mp4", ".webm") else ".mkv"
    unfinished = scratch / f"copy{suffix}"
    try:
        copy_packets(reader, index, packets, item.end, unfinished, suffix, progress)
    except (FFmpegError, ValueError):
        return None  # the container does not support the codec
    return _put(unfinished, item.target + suffix)


def copy_packets(
    reader: Reader, index: PacketIndex, wanted: range, end: float, target: Path, suffix: str, progress: Progress
) -> None:
    """Write the packets `wanted` and the sound that belongs to them."""
    base = reader.stream.time_base
    assert base is not None
    run = index.stamps[wanted.start : wanted.stop].tolist()
    first = run[0]
    begin = float(first * base)
    # Matroska stores no decoding times: derive them from the presentation times, shifted by the reordering delay.
    shown = sorted(run)
    ahead = max(after - stamp for after, stamp in zip(shown, run, strict=True))
    decoded = {stamp: after - ahead for stamp, after in zip(run, shown, strict=True)}
    with av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(reader.stream)
        sound = Sound(reader.path, begin, output, suffix)
        reader.container.seek(first, stream=reader.stream)
        for packet in reader.container.demux(reader.stream):
            if packet.pts is None or packet.pts not in decoded:
                continue
            packet.dts = decoded.pop(packet.pts) - first
            packet.pts -= first
            now = float(packet.pts * base)
            packet.stream = stream
            output.mux(packet)
            progress(begin - reader.start + now, float(index.times[-1]))
            for heard in sound.until(now):
                output.mux(heard)
            if not decoded:
                break
        for heard in sound.until(end - (begin - reader.start)):
            output.mux(heard)
        if decoded:
            raise ValueError("packets are missing")


def encode_out(reader: Reader, cuts: list[Cut], scratch: Path, progress: Progress) -> list[str]:
    """Encode all clips in one pass over the video, overlapping ones in parallel; returns the paths written."""
    waiting = deque(sorted(cuts, key=lambda item: item.start))
    last = max(item.end for item in cuts)
    turner = Turner(reader, "yuv420p")
    running: list[Cut] = []
    written: list[str] = []
    time, frame = 0.0, None

    def begin(item: Cut) -> None:
        item.unfinished = scratch / f"{len(written) + len(running)}-{len(waiting)}.mp4"
        item.writer = VideoWriter(item.unfinished, reader, turner, time)
        running.append(item)

    def finish(item: Cut) -> None:
        assert item.writer is not None
        item.writer.finish(item.end)
        item.writer.close()
        running.remove(item)
        written.append(_put(item.unfinished, f"{item.target}.mp4"))

    for time, frame in _walk(reader, waiting, running):
        while waiting and waiting[0].start <= time:
            begin(waiting.popleft())
        for item in [item for item in running if item.writer is not None and item.writer.frames and time >= item.end]:
            finish(item)
        _add(running, time, frame, turner)
        progress(min(time, last), last)
        if not waiting and not running:
            break
    while waiting and frame is not None:  # clips after the last frame show that frame
        begin(waiting.popleft())
        _add(running[-1:], time, frame, turner)
    for item in list(running):
        finish(item)
    return written


def _add(running: list[Cut], time: float, frame: av.VideoFrame, turner: Turner) -> None:
    image = turner(frame) if running else None
    for item in running:
        assert item.writer is not None and image is not None
        item.writer.add(time, image)


def _walk(reader: Reader, waiting: deque[Cut], running: list[Cut]) -> Iterator[tuple[float, av.VideoFrame]]:
    """The reader's frames, without long parts that no clip needs."""
    frames = reader.frames()
    jumped_to: Cut | None = None
    while (item := next(frames, None)) is not None:
        yield item
        ahead = waiting[0] if waiting and not running else None
        if reader.can_jump and ahead is not None and ahead is not jumped_to and ahead.start > item[0] + JUMP_SECONDS:
            jumped_to = ahead
            reader.jump(ahead.start)
            frames = reader.frames()


def _put(unfinished: Path, target: str) -> str:
    """Moves a complete clip to its target."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.replace(unfinished, target)
    return target
