"""`labelstudio`: tasks with predictions, which Label Studio imports as pre-annotations of videos.

The matching labelling configuration, with the labels that occur:

    <View>
      <TimelineLabels name="timelineLabels" toName="video"><Label value="cut"/></TimelineLabels>
      <Video name="video" value="$video" frameRate="$fps"/>
    </View>

Label Studio counts frames from 1, the last one included, at the rate that the configuration gives its player: `fps`
of the task. `video` is the address under which Label Studio serves local files when it is started with
LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from tal_cli.datasets.annotations import POINT
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo

FROM_NAME, TO_NAME = "timelineLabels", "video"


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write a JSON list with one task per video."""
    file.write(b"[")
    comma = ""
    for found in detections:
        file.write(f"{comma}\n{json.dumps(task(found, run), ensure_ascii=False)}".encode())
        comma = ","
    file.write(b"\n]\n")


def task(detections: Detections, run: RunInfo) -> dict[str, Any]:
    """One video as Label Studio's JSON; the prediction's score is that of its best segment."""
    path = Path(os.path.abspath(detections.path))
    address = "/data/local-files/?d=" + quote(os.fsencode(path.relative_to(path.anchor).as_posix()))
    regions = [
        {
            "id": f"tal{number}",
            "from_name": FROM_NAME,
            "to_name": TO_NAME,
            "type": "timelinelabels",
            "origin": "prediction",
            "score": segment.score,
            **({"meta": {"text": [POINT]}} if segment.kind == POINT else {}),
            "value": {
                "ranges": [frame_range(segment.start, segment.end, detections)],
                "timelinelabels": [segment.label],
            },
        }
        for number, segment in enumerate(detections.segments, start=1)
    ]
    best = max((segment.score for segment in detections.segments), default=0.0)
    prediction = {"model_version": f"{run.model} (tal {run.version})", "score": best, "result": regions}
    return {"data": {"video": address, "name": detections.video, "fps": detections.fps}, "predictions": [prediction]}


def frame_range(start: float, end: float, detections: Detections) -> dict[str, int]:
    """First and last frame of a span in seconds, counted from 1; never beyond the last frame of the video."""
    count = max(1, detections.frames or round(detections.duration * detections.fps))
    first = min(round(start * detections.fps) + 1, count)
    return {"start": first, "end": min(max(first, round(end * detections.fps)), count)}
