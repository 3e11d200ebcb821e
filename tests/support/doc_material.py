"""The files that commands in README and docs speak of: small videos, annotations, results, a released checkpoint."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS, FRAMES = 25, 75


def write_material(folder: Path) -> None:
    """Put everything into a folder, under the names that the pages use."""
    video = render_two_shots(folder / "holiday.mp4")
    clips = ("new.mp4", "clips/beach.mp4", "clips/city.mp4", "more/train.mkv")
    archive = ("archive/tape-1.mp4", "archive/tape-2.mp4")
    videos = ("videos/first.mp4", "videos/second.mp4", "videos/third.mp4", "videos/fourth.mp4")
    for name in (*clips, *archive, *videos, *(f"mine/{name}" for name in videos)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video, folder / name)
    subsets = dict(zip(videos, ("training", "training", "training", "validation"), strict=True))
    own = {Path(name).stem: annotated(subset, "jump", "run") for name, subset in subsets.items()}
    write_json(folder / "mine" / "annotations.json", {"database": own})
    truth = {name: annotated("test", "cut", "pan-left") for name in ("beach", "city")}
    write_json(folder / "truth.json", {"database": truth})
    for name, score in (("before", 0.6), ("after", 0.9), ("results", 0.8), ("predictions", 0.8)):
        write_json(folder / f"{name}.json", predicted(score))
    rows = [f"{name},jump,0.5,1.4\n{name},run,1.6,2.5" for name in own]
    (folder / "labels.csv").write_text("\n".join(["video,label,start,end", *rows]) + "\n")
    (folder / "list.txt").write_text("holiday.mp4\nnew.mp4\n")
    write_checkpoint(folder / "epoch_057.pth.tar")


def annotated(subset: str, first: str, second: str) -> dict[str, object]:
    """One video of an annotation file."""
    segments = ((first, [0.5, 1.4]), (second, [1.6, 2.5]))
    items = [{"label": label, "segment": segment} for label, segment in segments]
    return {"subset": subset, "duration": FRAMES / FPS, "fps": float(FPS), "annotations": items}


def predicted(score: float) -> dict[str, object]:
    """Results as `tal detect` writes them, for the two videos of clips/."""
    found = [
        {"label": "cut", "score": score, "segment": [0.5, 1.3]},
        {"label": "pan-left", "score": score / 2, "segment": [1.0, 2.5]},
    ]
    return {"version": "0", "results": {"beach": found, "city": found[:1]}, "external_data": {}}


def write_json(path: Path, content: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content))


def render_two_shots(path: Path) -> Path:
    """A video of 3 s with a cut in the middle: two still pictures, each with a square that moves over it."""
    rng = np.random.default_rng(3)
    pictures = [np.kron(rng.integers(0, 200, (9, 12, 3), dtype=np.uint8), np.ones((12, 12, 1), np.uint8)) for _ in "ab"]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width, _ = pictures[0].shape
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(FRAMES):
            picture = pictures[number >= FRAMES // 2].copy()
            picture[40:50, number : number + 10] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_checkpoint(path: Path) -> None:
    """What the authors' code saves of a detector for THUMOS14, all zeros; of each tensor the file holds one."""
    import torch

    from tal_cli.models.detector import TemporalDetector
    from tal_cli.models.recipe.loading import load_recipe
    from tal_cli.models.released.conversion import to_released

    recipe = load_recipe("thumos-i3d")
    with torch.device("meta"):
        state = to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)
    zeros = {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in state.items()}
    torch.save({"epoch": 57, "state_dict_ema": zeros}, path)
