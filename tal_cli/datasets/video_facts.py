"""What video files say of themselves, for annotations that count frames or do not tell how long a video is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from tal_cli.datasets.formats.values import Facts
from tal_cli.extractors.errors import InputError


class VideoFacts(Mapping[str, Facts]):
    """What video files say of themselves, by stem, or by path without suffix, of which the last folders tell files of
    one stem apart; read when it is asked for.

    Raises:
        InputError: several files have the name that is asked for.
        VideoError: a file is not a video.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files: dict[str, list[Path]] = {}
        for file in files:
            self._files.setdefault(file.stem, []).append(file)
        self._known: dict[str, Facts] = {}

    def __getitem__(self, name: str) -> Facts:
        from tal_cli.behaviour.frames import frame_edges
        from tal_cli.extractors.video.stream import probe

        if name not in self._known:
            first, *others = self._named(name)
            if others:
                raise InputError(others[0], f"video {name}: {first} has the same name", "move one of them elsewhere")
            told = probe(first)
            self._known[name] = Facts(told.fps, told.frames, told.duration, lambda: frame_edges(first))
        return self._known[name]

    def _named(self, name: str) -> list[Path]:
        """The files of a name's stem that have most of its folders, the last ones first."""
        *_, stem_of = parts = name.split("/")
        common = {file: _common_end(parts, file.with_suffix("").parts) for file in self._files[stem_of]}
        return [file for file, count in common.items() if count == max(common.values())]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """How many of the last parts of two paths are the same."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
