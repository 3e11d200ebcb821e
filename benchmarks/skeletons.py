"""Recordings of skeletons as a data set for `tal train`: rows of joint positions are the features, as they are.

    .venv/bin/python benchmarks/skeletons.py utkinect.json utkinect.npz OUT

Reads an archive with one array [rows, channels] per recording, and annotations whose segments are `rows` (first row,
row after the last). Writes OUT/annotations.json and OUT/features.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.sequence import FeatureSequence


def contract(channels: int, rate: float) -> FeatureContract:
    """A window is one row."""
    return FeatureContract(
        extractor="skeletons",
        weights_sha256=None,
        sampling_rate=rate,
        max_rate=None,
        window=1,
        stride=1,
        alignment="center",
        resize="none",
        crop="none",
        value_range="0..255",
        layer="joints",
        pooling="none",
        channels=channels,
    )


def convert(annotations: Path, archive: Path, out: Path, rate: float) -> None:
    """Write annotations in seconds and one feature file per recording, at `rate` rows per second."""
    database = json.loads(annotations.read_text(encoding="utf-8"))["database"]
    videos = {}
    with np.load(archive) as arrays:
        for name, entry in database.items():
            rows = arrays[name].astype(np.float32)
            length = len(rows) / rate
            sequence = FeatureSequence(
                features=rows, contract=contract(rows.shape[1], rate), fps=rate, frames=len(rows), duration=length
            )
            save_features(sequence, out / "features" / f"{name}.npy")
            segments = tuple(
                GroundTruth(item["label"], item["rows"][0] / rate, item["rows"][1] / rate)
                for item in entry["annotations"]
            )
            videos[name] = VideoAnnotation(name, entry["subset"], length, rate, segments)
    labels = tuple(sorted({item.label for video in videos.values() for item in video.segments}))
    save_annotations(Annotations(annotations.stem, videos, labels), out / "annotations.json")


def main() -> None:
    """Convert one set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rate", type=float, default=10.0, metavar="X", help="rows per second")
    options = parser.parse_args()
    convert(options.annotations, options.archive, options.out, options.rate)


if __name__ == "__main__":
    main()
