"""Who follows the tutorial: labels on the page's server what was rendered, and accepts what a model suggests."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from label_client import labelling

NAMES = {"cut": "cut", "fade": "fade", "dissolve": "fade", "pan-left": "pan", "pan-right": "pan"}


def label_as_rendered(words: list[str], folder: Path, home: Path) -> None:
    """Run `tal label ...` in a folder. Without suggestions, all videos but the last are labelled; with them, the last
    one's are accepted. What was looked at is reviewed."""
    truth = json.loads((folder / "clips" / "annotations.json").read_text())["database"]
    with labelling(*words[2:], home=home, cwd=folder) as client:
        *first, last = sorted(client.videos().items())
        for name, video in [last] if "--suggestions" in words else first:
            ops = [{"op": "reviewed", "add": [0.0, truth[name]["duration"]]}]
            ops += [
                {"op": "decide", "id": item["id"], "status": "accepted"}
                for item in client.contents(video).get("suggestions", ())
            ]
            if "--suggestions" not in words:
                ops += [
                    {"op": "add", "id": str(uuid.uuid4()), "label": NAMES[item["label"]], "segment": bounds}
                    for item in truth[name]["annotations"]
                    if item["label"] in NAMES
                    for start, end in [item["segment"]]
                    for bounds in [[start, start] if item["label"] == "cut" else [start, end]]
                ]
            client.change(video, *ops)
