"""Several models on one video, as one: `tal detect -m camera -m people`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tal_cli.api import VideoDetector
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.extraction.extractor import Progress
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.results.run_videos import RunVideos
from tal_cli.results.segments import Detections


class SeveralModels:
    """The segments of several models in one result. Models that read the same features share their extraction.

    A label that two of them have is told apart by the model's name: `camera: cut`.

    Raises:
        UsageError: a model is given twice.
    """

    def __init__(self, detectors: Sequence[VideoDetector]) -> None:
        names = Counter(detector.name for detector in detectors)
        if twice := [name for name, count in names.items() if count > 1]:
            raise UsageError(f"--model: {twice[0]} is given twice", "name each model once")
        labels = Counter(label for detector in detectors for label in detector.labels)
        self._shown: list[Mapping[str, str]] = [
            {label: f"{detector.name}: {label}" if labels[label] > 1 else label for label in detector.labels}
            for detector in detectors
        ]
        self._detectors = detectors

    @property
    def name(self) -> str:
        """The models' names, joined."""
        return "+".join(detector.name for detector in self._detectors)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels as they are shown, model after model."""
        return tuple(label for shown in self._shown for label in shown.values())

    @property
    def display_scores(self) -> dict[str, float]:
        """The score from which segments of each label, as it is shown, are shown by default."""
        return {
            shown[label]: score
            for detector, shown in zip(self._detectors, self._shown, strict=True)
            for label, score in detector.display_scores.items()
        }

    @property
    def weights_sha256(self) -> str:
        """Hex digests of the weights, joined."""
        return "+".join(detector.weights_sha256 for detector in self._detectors)

    @property
    def points(self) -> tuple[str, ...]:
        """The labels that are points, as they are shown."""
        return tuple(
            shown[label]
            for detector, shown in zip(self._detectors, self._shown, strict=True)
            for label in detector.points
        )

    @property
    def run_videos(self) -> RunVideos | None:
        """Videos that any of the models was trained on, or held out; None where none records them."""
        known = [detector.run_videos for detector in self._detectors if detector.run_videos]
        if not known:
            return None
        return RunVideos(
            tuple(dict.fromkeys(name for videos in known for name in videos.trained_on)),
            tuple(dict.fromkeys(name for videos in known for name in videos.held_out)),
        )

    def names_of(self, labels: Iterable[str]) -> list[str]:
        """The labels, as they are shown. Raises UsageError for a label that no model has."""
        known = set(self.labels)
        wanted = list(labels)
        if unknown := [label for label in wanted if label not in known]:
            listed = ", ".join(f"`tal models info {detector.name}`" for detector in self._detectors)
            raise UsageError(f"models {self.name}: unknown label {', '.join(map(repr, unknown))}", f"see {listed}")
        return wanted

    def detect(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        min_score: float | None = None,
        top_k: int | None = None,
        labels: Collection[str] | None = None,
        decoder: str = "auto",
        time_limit: float | None = None,
        fps: float | None = None,
        progress: Progress | None = None,
    ) -> Detections:
        """As `VideoDetector.detect`; by default each model's own display scores."""
        path = Path(path)
        wanted = self.names_of(labels or ())
        read: dict[FeatureSpec, FeatureSequence] = {}
        done = 0  # frames, of all models before
        parts: list[Detections] = []
        for detector, shown in zip(self._detectors, self._shown, strict=True):
            spec = detector.recipe.features
            if spec not in read:
                report = None if progress is None else after(done, progress)
                read[spec] = detector.features(path, decoder=decoder, time_limit=time_limit, fps=fps, progress=report)
                done += read[spec].frames
            found = detector.detect_features(read[spec], name=name or path.stem, path=str(path))
            renamed = tuple(replace(segment, label=shown[segment.label]) for segment in found.segments)
            parts.append(replace(found, segments=renamed))
        together = replace(parts[0], segments=tuple(segment for part in parts for segment in part.segments))
        threshold = self.display_scores if min_score is None else min_score
        return together.keep(min_score=threshold, top_k=top_k, labels=wanted)


def after(before: int, progress: Progress) -> Progress:
    """Reports of frames that follow those of earlier models: a bar goes on, and its rate is that of all."""

    def report(done: int, total: int | None) -> None:
        progress(before + done, None if total is None else before + total)

    return report
