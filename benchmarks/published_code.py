"""A checkout of a published code base, made to run beside this package for comparison. Nothing of it is changed."""

from __future__ import annotations

import importlib.util
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import cpp_extension

# Recipe -> the configuration file of its authors.
CONFIGS = {
    "thumos-i3d": "thumos_i3d_focalloss.yaml",
    "multithumos-i3d": "multithumos_i3d.yaml",
    "epic-verb": "epic_slowfast_verb_vflloss.yaml",
    "epic-noun": "epic_slowfast_noun_focalloss.yaml",
    "tridet-thumos-i3d": "thumos_i3d.yaml",
    "tridet-epic-verb": "epic_slowfast_verb.yaml",
    "tridet-epic-noun": "epic_slowfast_noun.yaml",
    "actionformer-thumos-i3d": "thumos_i3d.yaml",
    "actionformer-epic-verb": "epic_slowfast_verb.yaml",
    "actionformer-epic-noun": "epic_slowfast_noun.yaml",
    "temporalmaxer-thumos-i3d": "temporalmaxer_thumos_i3d.yaml",
    "temporalmaxer-multithumos-i3d": "temporalmaxer_multithumos_i3d.yaml",
    "transgmc-thumos-i3d": "thumos_i3d.yaml",
    "transgmc-epic-verb": "epic_slowfast_verb.yaml",
    "transgmc-epic-noun": "epic_slowfast_noun.yaml",
    "tfformer-thumos-i3d": "thumos_i3d.yaml",
    "tfformer-epic-verb": "epic_slowfast_verb.yaml",
    "tfformer-epic-noun": "epic_slowfast_noun.yaml",
}
# Imported there for evaluation, logs and pictures only.
STAND_INS = (
    "pandas",
    "joblib",
    "tensorboard",
    "seaborn",
    "matplotlib",
    "matplotlib.pyplot",
    "sklearn",
    "sklearn.manifold",
    "h5py",
)


class StandIn(types.ModuleType):
    """A stub module in which every name exists."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return types.SimpleNamespace


class Published:
    """The published detector of a recipe, with the clock stopped between its stages."""

    def __init__(self, checkout: Path, recipe: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spent = {"candidates": 0.0, "nms": 0.0}
        with _importable(checkout):
            from libs.core import load_config  # type: ignore[import-not-found]
            from libs.modeling import make_meta_arch, meta_archs  # type: ignore[import-not-found]

            options = load_config(str(checkout / "configs" / CONFIGS[recipe]))
            self.model = make_meta_arch(options["model_name"], **options["model"]).eval()
        self.model.inference_single_video = self._clocked("candidates", self.model.inference_single_video)
        self.batched_nms = meta_archs.batched_nms
        meta_archs.batched_nms = self._clocked("nms", meta_archs.batched_nms)

    def infer(self, features: Tensor) -> tuple[dict[str, float], Any]:
        """Seconds of forward pass, candidates and NMS for features [C, T]; and the result."""
        self._spent.update(candidates=0.0, nms=0.0)
        start = self._clock()
        with torch.no_grad():
            result = self.model([_video(features)])[0]
        total = self._clock() - start
        return {"forward": total - sum(self._spent.values()), **self._spent}, result

    def _clocked(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = self._clock()
            result = function(*arguments, **options)
            self._spent[stage] += self._clock() - start
            return result

        return call


def _video(features: Tensor) -> dict[str, Any]:
    fixed = {"video_id": "video", "fps": 30.0, "duration": 1e6, "feat_stride": 4, "feat_num_frames": 16}
    return {**fixed, "feats": features}


def compiled_nms(checkout: Path) -> Any:
    """The checkout's C++ extension `nms_1d_cpu`, built in PyTorch's cache folder, not in the checkout."""
    source = checkout / "libs" / "utils" / "csrc" / "nms_cpu.cpp"
    return cpp_extension.load("nms_1d_cpu", [str(source)], extra_cflags=["-O3", "-fopenmp"])


@contextmanager
def _importable(checkout: Path) -> Iterator[None]:
    sys.modules.setdefault("nms_1d_cpu", compiled_nms(checkout))
    absent = [name for name in STAND_INS if importlib.util.find_spec(name.partition(".")[0]) is None]
    sys.modules.update({name: StandIn(name) for name in absent})
    sys.path.insert(0, str(checkout))
    try:
        yield
    finally:
        sys.path.remove(str(checkout))
        for name in absent:
            del sys.modules[name]


def processor_or_wall(cpu_time: bool) -> Callable[[], float]:
    """The clock to measure with."""
    return time.process_time if cpu_time else time.perf_counter
