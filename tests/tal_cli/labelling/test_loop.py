"""The whole loop: label a little, train, correct what the model suggests, train again: it detects better."""

from __future__ import annotations

import json
import shlex
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from label_client import Client, labelling
from small_runs import Tal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
RATE, SECONDS, SIZE = 25, 18, (96, 64)
SHORT = ("--epochs", "5", "--set", "training.crops=8", "--set", "training.warmup_epochs=2")
Truth = list[tuple[str, float, float]]


def render(path: Path, seed: int) -> Truth:
    """A textured picture that stands, and now and then slides or flickers for a while; returns when."""
    rng = np.random.default_rng(seed)
    wide, high = SIZE
    texture = np.kron(rng.integers(60, 180, (high // 4, wide // 4), dtype=np.uint8), np.ones((4, 4), np.uint8))
    truth: Truth = []
    start = float(rng.uniform(0.5, 2))
    while start < SECONDS - 3:
        end = start + float(rng.uniform(1, 2.5))
        truth.append((str(rng.choice(["slide", "flicker"])), round(start * RATE) / RATE, round(end * RATE) / RATE))
        start = end + float(rng.uniform(1, 2.5))
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = wide, high, "yuv420p"
        shift = 0
        for number in range(RATE * SECONDS):
            label = next((name for name, first, last in truth if first <= number / RATE < last), "")
            shift += 2 if label == "slide" else 0
            image = np.roll(texture, shift, axis=1).astype(np.int16) + (
                50 if label == "flicker" and number % 4 < 2 else 0
            )
            frame = av.VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="gray")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return truth


def suggest(client: Client) -> None:
    """Let the newest run look at what is not reviewed."""
    job = client.json("POST", "/api/jobs", {"kind": "suggest"})
    while (job := client.json("GET", f"/api/jobs/{job['id']}"))["state"] in ("waiting", "running"):
        time.sleep(0.2)
    assert job["state"] == "done", job
    assert not [line for line in job["log"] if line.startswith("not ranked")]


def train(client: Client, tal: Tal, folder: Path) -> Path:
    """The run of the commands that the page shows, made short."""
    client.json("GET", "/api/export")  # all is in the file then
    extract, learn = map(shlex.split, client.json("GET", "/api/jobs")["would_use"]["train"]["commands"])
    for command in (extract[1:], [*learn[1:], *SHORT]):
        told = tal(*command)
        assert told.code == 0, told.err
    return folder / learn[-1]


def add(video: str, place: int, truth: tuple[str, float, float]) -> dict[str, Any]:
    label, start, end = truth
    return {"op": "add", "id": f"{video}-{place}", "label": label, "segment": [start, end]}


def average_precision(tal: Tal, run: Path, folder: Path, truth: dict[str, Truth]) -> float:
    """Mean AP of a run on the videos that are not labelled."""
    entries = {
        name: {
            "duration": SECONDS,
            "subset": "validation",
            "annotations": [{"label": label, "segment": [start, end]} for label, start, end in found],
        }
        for name, found in truth.items()
    }
    path = folder / "truth.json"
    path.write_text(json.dumps({"database": entries}))
    results = folder / "results.json"
    videos = [folder / "held" / f"{name}.mp4" for name in truth]
    assert tal("detect", *videos, "--model", run, "--min-score", "0", "-o", results).code == 0
    told = tal("eval", results, "--annotations", path, "--subset", "all", "-f", "json")
    assert told.code == 0, told.err
    return float(json.loads(told.out)["average"])


def overlap(one: list[float], other: tuple[str, float, float]) -> float:
    shared = min(one[1], other[2]) - max(one[0], other[1])
    return shared / (max(one[1], other[2]) - min(one[0], other[1]))


def test_the_loop(run: Tal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the commands of the page are to be run
    (tmp_path / "held").mkdir()
    truth = {f"v{seed}": render(tmp_path / f"v{seed}.mp4", seed) for seed in range(4)}
    held = {f"h{seed}": render(tmp_path / "held" / f"h{seed}.mp4", 100 + seed) for seed in range(2)}
    videos = [tmp_path / f"{name}.mp4" for name in truth]
    options = ("--annotations", tmp_path / "labels.json", "--labels", "slide,flicker")
    with labelling(*videos, *options, home=tmp_path / "home") as client:
        ids = client.videos()
        for name in ("v0", "v1"):  # a third of two videos
            seen = [item for item in truth[name] if item[2] < SECONDS / 3]
            ops = [add(name, place, item) for place, item in enumerate(seen)]
            client.change(ids[name], *ops, {"op": "reviewed", "add": [0, max(item[2] for item in seen) + 0.5]})
        first = train(client, run, tmp_path)
        before = average_precision(run, first, tmp_path, held)
        assert client.json("GET", "/api/queue")["items"]
        suggest(client)
        accepted = 0
        for name, video in ids.items():
            found = client.contents(video)
            missing = dict(enumerate(truth[name]))
            ops = []
            for item in found["suggestions"]:
                near = {
                    p: one
                    for p, one in missing.items()
                    if one[0] == item["label"] and overlap(item["segment"], one) > 0.3
                }
                for place, one in list(near.items())[:1]:
                    ops.append({"op": "decide", "id": item["id"], "status": "corrected", "segment": list(one[1:])})
                    del missing[place]
                    accepted += 1
                if not near:
                    ops.append({"op": "decide", "id": item["id"], "status": "rejected"})
            there = {(item["label"], round(item["segment"][0])) for item in found["annotations"]}
            ops += [add(name, p, one) for p, one in missing.items() if (one[0], round(one[1])) not in there]
            client.change(video, *ops, {"op": "reviewed", "add": [0, SECONDS]})
        assert accepted
        after = average_precision(run, train(client, run, tmp_path), tmp_path, held)
    assert after > before, (before, after)
