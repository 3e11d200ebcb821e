"""Collects the videos of a run and writes the report page at its end."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tal_cli import console
from tal_cli.datasets.annotations import POINT, Annotations, GroundTruth
from tal_cli.extractors.files.atomic import naming, write_atomically
from tal_cli.pages import plain_scripts
from tal_cli.results.colours import colours_shown
from tal_cli.results.media_links import media_type
from tal_cli.results.report.data import Stills, safe_json, take_stills, video_json
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import printable

SCRIPTS = ("base", "filter", "stage", "lanes", "table", "video", "index", "main")
# Browsers limit the length of strings, and keep the whole page in memory.
MOST_EMBEDDED = 256 << 20
# Problems of further videos are reported in one line.
MOST_WARNINGS = 5
# Columns of a segment's row, as in the scripts.
LABEL, SCORE = 0, 3
COPY_BYTES = 3 << 20  # a multiple of three, so that pieces of base64 join without padding


class Report:
    """Builds one HTML file: `add` takes the videos one by one, `finish` writes it.

    Args:
        path: the file.
        run: the run, described on the page; its labels determine the colours.
        annotations: ground truth to show beside the predictions.
        embed: whether to embed the videos in the page.
    """

    def __init__(
        self, path: Path, run: RunInfo, *, annotations: Annotations | None = None, embed: bool = False
    ) -> None:
        self._path = path
        self._run = run
        self._annotations = annotations
        self._embed = embed
        known = [*run.labels, *(annotations.labels if annotations else ())]
        self._labels: dict[str, int] = {label: number for number, label in enumerate(dict.fromkeys(known))}
        self._parts = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the sink
        self._videos: list[dict[str, Any]] = []
        self._used: set[int] = set()
        self._scores = (0.0, 1.0)
        self._least = 1.0
        self._embedded = 0
        self._unseen = 0
        self._unplayable = 0

    def add(self, detections: Detections) -> None:
        """Extract stills of one video and store its data for the page."""
        ground_truth = truth_of(detections, self._annotations)
        for label in [item.label for item in detections.segments] + [item.label for item in ground_truth]:
            self._used.add(self._labels.setdefault(label, len(self._labels)))
        with console.progress(f"thumbnails of {detections.video}", unit="thumbnails") as progress:
            stills = take_stills(detections.path, detections.segments, detections.duration, progress)
        self._tell(detections.path, stills)
        content = video_json(detections, stills, ground_truth, self._labels, self._path.parent)
        playable = not stills.problem and not stills.unplayable
        content["embedded"] = self._embed and playable and self._may_embed(detections.path)
        number = len(self._videos)
        self._element(f"data-{number}", "application/json", safe_json(content).encode())
        self._element(f"thumbnails-{number}", "application/json", safe_json(stills.thumbnails).encode())
        if content["embedded"]:
            self._embed_file(number, detections.path)
        counts = Counter(row[LABEL] for row in content["segments"])
        found = [row[SCORE] for row in content["segments"]]
        self._least = min(self._least, *found) if found else self._least
        scores = (*self._scores, *found)
        self._scores = min(scores), max(scores)
        facts = {"name": content["name"], "duration": content["duration"], "poster": stills.poster}
        self._videos.append({**facts, "counts": counts})

    def finish(self) -> None:
        """Write the page."""
        environment = Environment(
            loader=PackageLoader("tal_cli.results.report", "page"), autoescape=True, undefined=StrictUndefined
        )
        style, own = self._asset("page.css"), (self._asset(f"{name}.js") for name in SCRIPTS)
        script = "\n".join((plain_scripts(), *own))
        script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
        title = self._videos[0]["name"] if len(self._videos) == 1 else f"{len(self._videos)} videos"
        marker = "\0videos\0"
        page = environment.get_template("page.html.jinja").render(
            title=title,
            style=style,
            script=script,
            script_hash=_hash(script),
            data=safe_json(self._page_json()),
            marker=marker,
        )
        before, after = page.encode().split(marker.encode())

        def write(file: IO[bytes]) -> None:
            file.write(before)
            self._parts.seek(0)
            while piece := self._parts.read(COPY_BYTES):
                file.write(piece)
            file.write(after)

        write_atomically(self._path, write)
        self._parts.close()
        if self._unseen > MOST_WARNINGS:
            console.warn(f"{self._unseen - MOST_WARNINGS} more videos without thumbnails in the report")
        if self._unplayable > MOST_WARNINGS:
            console.note(f"{self._unplayable - MOST_WARNINGS} more videos that browsers cannot play")

    def _page_json(self) -> dict[str, Any]:
        chosen = colours_shown(self._labels, [label for label, number in self._labels.items() if number in self._used])
        labels = [
            {
                "name": printable(label) or "(no label)",
                "light": chosen[label].light,
                "dark": chosen[label].dark,
                "round": chosen[label].round,
                "used": number in self._used,
            }
            for label, number in self._labels.items()
        ]
        run = {"version": self._run.version, "model": printable(self._run.model), "threshold": self._run.threshold}
        # The slider begins at the score from which segments are listed, as far as that is known.
        listed = min(self._run.min_score.values(), default=self._scores[0])
        begins = max(self._scores[0], min(listed, self._least))
        return {"run": run, "labels": labels, "scores": self._scores, "begins": begins, "videos": self._videos}

    def _tell(self, path: str, stills: Stills) -> None:
        if stills.problem:
            self._unseen += 1
            if self._unseen <= MOST_WARNINGS:
                console.warn(f"{printable(path)}: no thumbnails in the report: {stills.problem}")
        elif stills.unplayable:
            self._unplayable += 1
            if self._unplayable <= MOST_WARNINGS:
                console.note(f"{printable(path)}: browsers cannot play {stills.unplayable}; the report shows stills")

    def _may_embed(self, path: str) -> bool:
        size = os.path.getsize(path)
        if self._embedded + size > MOST_EMBEDDED:
            most = MOST_EMBEDDED >> 20
            console.warn(f"{printable(path)}: linked instead of embedded: a page can embed at most {most} MB of video")
            return False
        self._embedded += size
        return True

    def _embed_file(self, number: int, path: str) -> None:
        kind = media_type(path)
        self._write(f'<script type="text/plain" id="video-{number}" data-kind="{kind}">'.encode())
        with open(path, "rb") as file:
            while piece := file.read(COPY_BYTES):
                self._write(base64.b64encode(piece))
        self._write(b"</script>\n")

    def _element(self, name: str, kind: str, content: bytes) -> None:
        self._write(f'<script type="{kind}" id="{name}">'.encode() + content + b"</script>\n")

    def _write(self, content: bytes) -> None:
        with naming(tempfile.gettempdir()):
            self._parts.write(content)

    @staticmethod
    def _asset(name: str) -> str:
        return (resources.files("tal_cli.results.report") / "page" / name).read_text(encoding="utf-8")


def truth_of(detections: Detections, annotations: Annotations | None) -> Sequence[GroundTruth]:
    """Ground truth of a video, by its name, or by its file's stem if names were made unique."""
    videos: Mapping[str, Any] = annotations.videos if annotations else {}
    found = videos.get(detections.video) or videos.get(Path(detections.path).stem)
    return [item for item in found.segments if item.end > item.start or item.kind == POINT] if found else []


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
