"""Changes MP4 files box by box: a turn that players take back, and pictures that lie gigabytes apart."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

INNER = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
ONE = 1 << 16
CLOCKWISE = (0, ONE, -ONE, 0)
UPSIDE_DOWN = (-ONE, 0, 0, -ONE)
MIRRORED_CLOCKWISE = (0, ONE, ONE, 0)
MATRIX = 40  # where it is in the contents of `tkhd`, version 0


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and contents of each box."""
    found, place = [], 0
    while place + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        found.append((kind, data[place + 8 : place + size]))
        place += size
    return found


def box(kind: bytes, content: bytes) -> bytes:
    """A box."""
    return struct.pack(">I4s", len(content) + 8, kind) + content


def changed(content: bytes, changes: dict[bytes, tuple[bytes, bytes]]) -> bytes:
    """The contents of a box with the boxes in it replaced: old kind -> new kind and contents."""
    done = b""
    for kind, inner in boxes(content):
        if kind in INNER:
            done += box(kind, changed(inner, changes))
        else:
            done += box(*changes.get(kind, (kind, inner)))
    return done


def find(content: bytes, wanted: bytes) -> bytes:
    """The contents of the first box of a kind."""
    for kind, inner in boxes(content):
        if kind == wanted:
            return inner
        if kind in INNER and (found := find(inner, wanted)):
            return found
    return b""


def turn(path: Path, matrix: tuple[int, int, int, int] = CLOCKWISE) -> None:
    """Say in a file how players turn and mirror its pictures."""
    data = path.read_bytes()
    header = find(data, b"tkhd")
    a, b, c, d = matrix
    placed = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    turned = header[:MATRIX] + placed + header[MATRIX + len(placed) :]
    assert len(turned) == len(header)
    path.write_bytes(data.replace(header, turned))


def spread(source: Path, target: Path, size: int, group: int) -> None:
    """Write a sparse file of `size` bytes in which the groups of `group` pictures lie evenly apart.

    source: of one stream, whose pictures lie one after the other.
    """
    data = source.read_bytes()
    top = dict(boxes(data))
    sizes = find(data, b"stsz")
    (count,) = struct.unpack(">I", sizes[8:12])
    lengths = struct.unpack(f">{count}I", sizes[12 : 12 + 4 * count])
    first = struct.unpack(">I", find(data, b"stco")[8:12])[0]
    starts = [first]
    for length in lengths:
        starts.append(starts[-1] + length)
    apart = (size - len(data) - (1 << 20)) // (count // group + 1)
    places = [(1 << 20) + number // group * apart + starts[number] - first for number in range(count)]
    offsets = struct.pack(f">II{count}Q", 0, count, *places)
    one_each = struct.pack(">5I", 0, 1, 1, 1, 1)
    index = changed(top[b"moov"], {b"stco": (b"co64", offsets), b"stsc": (b"stsc", one_each)})
    head = box(b"ftyp", top[b"ftyp"]) + box(b"moov", index)
    with target.open("wb") as file:
        file.truncate(size)
        file.write(head + struct.pack(">I4sQ", 1, b"mdat", size - len(head)))
        for place, (start, end) in zip(places, pairwise(starts), strict=True):
            file.seek(place)
            file.write(data[start:end])
