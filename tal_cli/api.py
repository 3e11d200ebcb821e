"""Python API behind `tal detect`: from a video file, or a feature file, to detections."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from tal_cli import console
from tal_cli.devices import resolve_device
from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.errors import FeatureMismatch, UnknownExtractor, UsageError
from tal_cli.extractors.extraction.cpu_parallel import cpu_workers, worker_pool
from tal_cli.extractors.extraction.extractor import BatchSize, Extractor, Progress
from tal_cli.extractors.extraction.precision import cast_weights, check_precision, precision, quickest
from tal_cli.extractors.features.files import load_features
from tal_cli.extractors.features.formats import is_feature_file
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.inference.to_seconds import to_seconds
from tal_cli.models.recipe.classifier import ClassifierRecipe
from tal_cli.models.recipe.loading import override_trained
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import LoadedClassifier, LoadedModel, load_any_model
from tal_cli.models.store.zoo import resolve_model
from tal_cli.results.run_videos import RunVideos, read_run_videos
from tal_cli.results.segments import Detections, Segment
from tal_cli.tuned import backbone_of

if TYPE_CHECKING:
    from tal_cli.extractors.backbones.interface import Backbone
    from tal_cli.extractors.features.contract import FeatureContract


class VideoDetector:
    """A detector with the extractor of its features, on one device. Threads may share it, each with its own video.

    >>> detector = VideoDetector.load("camera")            # doctest: +SKIP
    >>> detector.detect("holiday.mp4").segments[0]         # doctest: +SKIP
    Segment(label='pan-left', start=3.1, end=5.8, score=0.94)
    """

    def __init__(
        self,
        model: LoadedModel | LoadedClassifier,
        *,
        device: torch.device,
        precision: str = "auto",
        batch_size: BatchSize = "auto",
        force: bool = False,
        run_videos: RunVideos | None = None,
    ) -> None:
        check_precision(precision)
        self._model = model
        self._device = device
        self._precision = precision
        self._batch_size = batch_size
        self._force = force
        self._run_videos = run_videos
        self._extractor: Extractor | None = None
        self._making_extractor = Lock()
        if device.type == "cpu":
            # Start the pool now, not at the first video: starting it changes torch's thread count for a moment. Threads
            # started meanwhile would inherit that count, on which features and segments depend.
            worker_pool(cpu_workers())

    @classmethod
    def load(
        cls,
        model: str | Path = "camera",
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: BatchSize = "auto",
        overrides: Mapping[str, object] | None = None,
        force: bool = False,
    ) -> VideoDetector:
        """Load a model by its name in the zoo, or from a model folder or a run folder of `tal train`.

        Args:
            model: name or path.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            precision: `auto`, `fp32`, `bf16` or `fp16`, of the forward passes. `auto`: fp32; for classifiers bf16
                where the device computes it quickly.
            batch_size: windows per forward pass of the backbone at most; `auto`: as many as fit into memory.
            overrides: other inference settings, by dotted path: `{"inference.sigma": 0.3}`.
            force: accept features whose contract differs from the detector's.

        Raises:
            UsageError: an unknown name or value.
            ModelMissing: the weights are not on this machine.
            CheckpointError: the weights cannot be read.
        """
        where = resolve_device(device)
        folder = resolve_model(str(model))
        loaded = load_any_model(folder, where)
        changes = overrides or {}
        try:
            if isinstance(loaded, LoadedClassifier):
                precision = quickest(where) if precision == "auto" else precision
                changed = override_trained(loaded.recipe, changes, loaded.name)
                loaded = replace(loaded, recipe=changed, labels=changed.labels(loaded.class_names))
            else:
                loaded = replace(loaded, recipe=override_trained(loaded.recipe, changes, loaded.name))
            loaded.recipe.inference.check_labels(loaded.labels)
        except ValueError as error:
            raise UsageError(f"--set {error}") from error
        return cls(
            loaded,
            device=where,
            precision=precision,
            batch_size=batch_size,
            force=force,
            run_videos=read_run_videos(folder),
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def recipe(self) -> Recipe | ClassifierRecipe:
        """The model's recipe."""
        return self._model.recipe

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels, in class order."""
        return tuple(self._model.labels)

    @property
    def display_scores(self) -> dict[str, float]:
        """The score from which segments of each label are shown by default."""
        return self.recipe.inference.display_scores(self.labels)

    @property
    def points(self) -> tuple[str, ...]:
        """The labels that are points, moments without length."""
        return self.recipe.inference.points

    @property
    def weights_sha256(self) -> str:
        """Hex digest of the weights."""
        return self._model.sha256

    @property
    def run_videos(self) -> RunVideos | None:
        """Which videos the model was trained on and which its run held out; None where that is not recorded."""
        return self._run_videos

    @property
    def extractor(self) -> Extractor:
        """The extractor of the features that the model reads, created at first use: feature files need none.

        Raises:
            FeatureMismatch: the installed backbone is not what the detector was trained on.
        """
        with self._making_extractor:
            if self._extractor is None:
                self._extractor = self._make_extractor()
            return self._extractor

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
        """Find segments in a video, or in the feature file of one.

        Args:
            path: a video file, or a feature file made by `tal extract-features`.
            name: name of the video; its stem by default.
            min_score: score threshold; by default the model's display scores.
            top_k: number of segments to keep at most, best first.
            labels: labels to keep, of EPIC-KITCHENS also by class number; by default all.
            decoder: video decoder: `auto`, `pyav`, `decord` or `torchcodec`.
            time_limit: seconds of waiting for the decoder in total; by default 600 and 10 per second of the video.
            fps: frames per second of the video of a feature file that has no contract beside it.
            progress: called with (frames done, total number of frames or None).

        Raises:
            UsageError: an unknown label; features that do not fit.
            VideoError: the file cannot be decoded.
        """
        path = Path(path)
        wanted = self.names_of(labels or ())
        sequence = self.features(path, decoder=decoder, time_limit=time_limit, fps=fps, progress=progress)
        found = self.detect_features(sequence, name=name or path.stem, path=str(path))
        threshold = self.display_scores if min_score is None else min_score
        return found.keep(min_score=threshold, top_k=top_k, labels=wanted)

    def features(
        self,
        path: Path,
        *,
        decoder: str = "auto",
        time_limit: float | None = None,
        fps: float | None = None,
        progress: Progress | None = None,
    ) -> FeatureSequence:
        """Features of a video, extracted, or read from its feature file; see `detect`."""
        if is_feature_file(path):
            return self._described(load_features(path), path, fps)
        return self.extract(path, decoder=decoder, time_limit=time_limit, progress=progress)

    def extract(
        self, path: Path, *, decoder: str = "auto", time_limit: float | None = None, progress: Progress | None = None
    ) -> FeatureSequence:
        """Features of a video, extracted with this model's backbone."""
        return self.extractor.extract(path, decoder=decoder, time_limit=time_limit, progress=progress)

    def detect_features(self, sequence: FeatureSequence, *, name: str, path: str = "") -> Detections:
        """All segments that the detector finds in a feature sequence, whatever their score.

        Raises:
            FeatureMismatch: the features are not what the detector was trained on.
        """
        self._check_sequence(sequence, path or name)
        features = torch.from_numpy(np.ascontiguousarray(sequence.features, dtype=np.float32))
        products = self._precision if isinstance(self._model, LoadedModel) else "fp32"  # scores of a few rows
        with torch.inference_mode(), precision(self._device, products):
            found = self._model.find(features)
        segments = tuple(Segment(*each) for each in to_seconds(found, sequence, self.labels, self.recipe.inference))
        return Detections(
            name,
            path,
            float(sequence.duration),
            float(sequence.fps),
            int(sequence.frames),
            segments,
            sequence.file_clock,
        )

    def names_of(self, labels: Iterable[str]) -> list[str]:
        """The model's labels of these names or, for EPIC-KITCHENS, class numbers. Raises UsageError if unknown."""
        known = self._model.labels
        numbered = enumerate(known) if self.recipe.dataset.startswith("epic") else ()
        names = {str(number): label for number, label in numbered} | {label: label for label in known}
        unknown = [label for label in labels if label not in names]
        if unknown:
            raise UsageError(
                f"model {self.name}: unknown label {', '.join(map(repr, unknown))}",
                f"its labels: {_listed(self.labels)}",
            )
        return [names[label] for label in labels]

    def _make_extractor(self) -> Extractor:
        spec = self.recipe.features
        try:
            backbone = self._make_backbone()
        except UnknownExtractor:
            raise FeatureMismatch(
                f"model {self.name} reads features of {spec.extractor}, which tal cannot extract",
                "use feature files as inputs",
            ) from None
        self._check(backbone.contract, f"extractor {backbone.contract.extractor}")
        cast_weights(backbone, self._precision)
        return Extractor(backbone, device=self._device, batch_size=self._batch_size, precision=self._precision)

    def _make_backbone(self) -> Backbone:
        """The backbone of the features, with what was trained of it."""
        spec, model = self.recipe.features, self._model
        if isinstance(model, LoadedModel) and model.backbone is not None:
            return backbone_of(model.recipe, model.backbone, f"model {self.name}")
        return create_backbone(spec.extractor, settings=spec.framing())

    def _described(self, sequence: FeatureSequence, path: Path, fps: float | None) -> FeatureSequence:
        """Features without a contract, which are assumed to follow the recipe's."""
        if sequence.contract is not None:
            return sequence
        contract = self.recipe.features.contract()
        fps = fps or contract.sampling_rate
        if fps is None:
            raise UsageError(
                f"{path}: the frame rate of its video is unknown: there is no feature contract beside it",
                "give it with --fps, or extract features with `tal extract-features`",
            )
        console.note(f"{path}: no feature contract beside it; assuming the contract of model {self.name}")
        return sequence.following(contract, fps)

    def _check_sequence(self, sequence: FeatureSequence, path: str) -> None:
        for warning in sequence.warnings:
            console.warn(f"{path}: {warning}")
        channels = sequence.features.shape[1]
        if channels != self.recipe.features.channels:
            raise FeatureMismatch(
                f"{path}: {channels} channels, model {self.name} expects {self.recipe.features.channels}"
            )
        if sequence.contract is not None:
            self._check(sequence.contract, path)

    def _check(self, contract: FeatureContract, what: str) -> None:
        found = self.recipe.features.differences(contract)
        if found and not self._force:
            remedy = f"extract them with `tal extract-features --model {self.name}`"
            if isinstance(self.recipe, Recipe) and self.recipe.backbone.tunes:
                remedy = "give the video, with the weights of the backbone that the model was trained on"
            raise FeatureMismatch(
                f"{what}: not the features that model {self.name} was trained on: {'; '.join(found)}",
                f"{remedy}, or use these anyway with --force",
            )


def _listed(labels: tuple[str, ...], most: int = 40) -> str:
    rest = f" and {len(labels) - most} more (see `tal models info`)" if len(labels) > most else ""
    return ", ".join(labels[:most]) + rest
