"""Memory of extracting features from a video of a minute and from one of an hour, backbone by backbone.

usage: extract_memory.py [BACKBONE...] [--fps 2]

Peak of all processes together (proportional set size), seeded weights, one window per pass, on the CPU. To end within a
day the videos have few frames per second and windows are one in many; every frame is decoded and prepared all the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from memory import peak_memory
from seeded import seeded_backbone
from videos import make_video, repeat_video

BACKBONES = ("tiny", "r3d_18", "i3d-rgb", "tsp", "slowfast-r50-8x8", "videomaev2-s", "timm:resnet18")


def extract(name: str, video: str, stride: int) -> None:
    """What is measured, in a process of its own."""
    from tal_cli.extractors.extraction.extractor import Extractor

    settings = {} if name == "tiny" else {"stride": stride}
    sequence = Extractor(seeded_backbone(name, settings), batch_size=1).extract(video)
    print(name, sequence.features.shape, sequence.frames, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbones", nargs="*", default=BACKBONES)
    parser.add_argument("--fps", type=int, default=2)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        name, video, stride = arguments.only
        extract(name, video, int(stride))
        return
    print("| backbone | 1 minute, MB | 60 minutes, MB | ratio (goal: 1.10) |\n| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        minute, hour = Path(name, "minute.mp4"), Path(name, "hour.mp4")
        make_video(minute, frames=60 * arguments.fps, fps=arguments.fps)
        repeat_video(minute, hour, 3600 * arguments.fps)
        stride = str(15 * arguments.fps)
        for backbone in arguments.backbones:
            run = [sys.executable, __file__, "--only", backbone]
            peaks = [peak_memory(*run, str(video), stride) for video in (minute, hour)]
            ratio = peaks[1] / peaks[0]
            print(f"| {backbone} | {peaks[0]:.0f} | {peaks[1]:.0f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
