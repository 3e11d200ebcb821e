"""False events of `camera` on footage of a fixed camera in which nothing is edited: every event it reports is false.

    python benchmarks/camera_fixed_footage.py FOLDER|VIDEO... [--model camera] [--min-score X]

Prints events per hour, by label, at the model's display scores (or the score given), and each event to look at.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from tal_cli.api import VideoDetector
from tal_cli.inputs import VIDEO_SUFFIXES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--model", default="camera")
    parser.add_argument("--min-score", type=float)
    arguments = parser.parse_args()
    detector = VideoDetector.load(arguments.model)
    seconds, labels = 0.0, Counter[str]()
    for path in paths(arguments.videos):
        found = detector.detect(path, min_score=arguments.min_score)
        seconds += found.duration
        labels.update(segment.label for segment in found.segments)
        for segment in found.in_time():
            print(f"{path.name}  {segment.start:.2f} to {segment.end:.2f}  {segment.label} {segment.score:.2f}")
    print(f"{seconds / 3600:.2f} h, {labels.total() * 3600 / seconds:.1f} false events an hour")
    for label, count in labels.most_common():
        print(f"  {label:12} {count * 3600 / seconds:.1f}")


def paths(given: list[str]) -> list[Path]:
    """Video files, and those of folders."""
    files = [file for name in given for file in (sorted(Path(name).iterdir()) if Path(name).is_dir() else [Path(name)])]
    return [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]


if __name__ == "__main__":
    main()
