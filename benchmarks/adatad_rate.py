"""AdaTAD from raw video to segments: seconds and processor seconds of `tal detect`, against the video's duration.

    python benchmarks/adatad_rate.py [--recipe adatad-thumos-s] [--seconds 300] [--rounds 3] [--precision fp32]

Weights are seeded, written as OpenTAD's checkpoint and imported by `tal models add`. The video is 320x240, 30 frames/s
H.264, of which every 4th frame is read. The best round counts, and start-up, the same command on four seconds of video,
is taken off.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from seeded import weights
from videos import make_video, repeat_video

from tal_cli.model_files import adatad
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import load_recipe
from tal_cli.models.released.conversion import to_released
from tal_cli.tuned import outline_of

FPS = 30
TAL = [sys.executable, "-m", "tal_cli"]


def checkpoint(name: str, path: Path) -> None:
    """A file of AdaTAD's layout with seeded weights."""
    recipe = load_recipe(name)
    torch.manual_seed(0)
    state = to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)
    state |= adatad.released(weights(outline_of(recipe)[0], 0), recipe)
    torch.save({"state_dict_ema": {f"module.{key}": value for key, value in state.items()}}, path)


def detect(video: Path, model: str, precision: str) -> tuple[float, float]:
    """Seconds, and processor seconds, of the command."""
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [*TAL, "detect", str(video), "-m", model, "--precision", precision, "--device", "cpu", "-f", "json", "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - since, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="adatad-thumos-s")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TAL_HOME"] = str(folder / "home")
        checkpoint(options.recipe, folder / "seeded.pth")
        add = [*TAL, "models", "add", "seeded", "--recipe", options.recipe, "--checkpoint", str(folder / "seeded.pth")]
        subprocess.run([*add, "-q"], check=True, stdout=subprocess.DEVNULL)
        make_video(folder / "piece.mp4", frames=60 * FPS)
        repeat_video(folder / "piece.mp4", folder / "short.mp4", 4 * FPS)
        repeat_video(folder / "piece.mp4", folder / "long.mp4", options.seconds * FPS)
        short = [detect(folder / "short.mp4", "seeded", options.precision) for _ in range(options.rounds)]
        long = [detect(folder / "long.mp4", "seeded", options.precision) for _ in range(options.rounds)]
        for what, index in (("seconds", 0), ("processor seconds", 1)):
            start_up, took = (min(each[index] for each in runs) for runs in (short, long))
            net = (took - start_up) / (options.seconds - 4)
            print(f"{what:18}{took:8.1f}, start-up {start_up:.1f}: {1 / net:.2f} times real time")


if __name__ == "__main__":
    main()
