"""One recorded case: what its files say, what is made from them, and how close a recomputation comes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.report import CaseReport, Comparison
from tal_cli.extractors.files.weights import load_state
from tal_cli.selftest.formula import clip, fill_all
from tal_cli.selftest.runner import relative_error

LIMIT = 1e-5  # relative L2; references differ from their own float64 run by up to 7e-7, wrong inputs by 8e-3
INPUT_LIMIT = 1e-5  # absolute, of values between -3 and 3

Network = TypeVar("Network", bound=nn.Module)


@dataclass
class Case:
    """A recorded case and the comparisons made so far.

    facts: the JSON. tensors: what was recorded, without a batch axis; empty for a case of names and shapes only.
    """

    name: str
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    device: torch.device
    comparisons: list[Comparison] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, device: str | torch.device = "cpu") -> Case:
        """The case of a JSON file. Raises ValueError for any other file."""
        from safetensors.torch import load_file

        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise ValueError("not a description of a case")
        tensors = path.with_suffix(".safetensors")
        return cls(path.stem, facts, load_file(tensors) if tensors.is_file() else {}, torch.device(device))

    @property
    def seed(self) -> int:
        """Of weights and clip."""
        return int(self.facts.get("fill_seed", 0))

    def state(self) -> dict[str, Tensor]:
        """The weights, under the names of the released file."""
        return fill_all(self.facts["state_dict"], self.seed)

    def load(
        self,
        make: Callable[[], Network],
        released: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state,
        state: Mapping[str, Tensor] | None = None,
        ignored: tuple[str, ...] = (),
    ) -> Network:
        """A network with the weights (another state dict than the case's where given), as users' files are loaded.

        ignored: beginnings of names that the network has no use for.
        """
        with torch.device("meta"):
            network = make()
        load_state(network, released(self.state() if state is None else state), self.name, ignored=ignored)
        return network.eval().requires_grad_(False).to(self.device)

    def clip(self) -> Tensor:
        """The frames, uint8 [T, H, W, C], checked against the recorded hash."""
        call, recorded = self.inputs[0]["clip_call"], self.inputs[0]["uint8_frames"]
        frames = clip(call["t"], call["h"], call["w"], call["c"], call["seed"])
        same = hashlib.sha256(frames.numpy().tobytes()).hexdigest() == recorded["sha256"]
        self.comparisons.append(Comparison("frames", 0.0 if same else float("inf"), 255.0, same))
        return frames.to(self.device)

    def made_clip(self, call: Mapping[str, int]) -> Tensor:
        """The frames of a further input, uint8 [T, H, W, C]."""
        return clip(call["t"], call["h"], call["w"], call["c"], call["seed"]).to(self.device)

    @property
    def inputs(self) -> list[Mapping[str, Any]]:
        """What is recorded of each input; networks with pathways have several."""
        recorded = self.facts["input"]
        return recorded if isinstance(recorded, list) else [recorded]

    def compare_input(self, prepared: Tensor, index: int = 0) -> None:
        """Compare what a network takes, [1, C, T, H, W], with the recorded samples, and its sum over all values."""
        recorded = self.inputs[index]
        values = prepared.detach().cpu().contiguous().flatten()
        name = "input" if len(self.inputs) == 1 else f"input[{index}]"
        if list(prepared.shape) != recorded["shape"]:
            self.comparisons.append(Comparison(f"{name} {list(prepared.shape)}", float("inf"), 0.0, False))
            return
        sample = torch.tensor(recorded["sample_value"]) if "sample_value" in recorded else values[:0]
        places = torch.tensor(recorded.get("sample_index", []), dtype=torch.int64)
        error = float((values[places] - sample).abs().max()) if len(places) else 0.0
        mean_error = abs(float(values.double().mean()) - recorded["sum"] / values.numel())
        worst = max(error, mean_error)
        self.comparisons.append(Comparison(name, worst, float(values.abs().max()), worst <= INPUT_LIMIT))

    def compare(self, name: str, ours: Tensor, *, recorded: str | None = None, limit: float = LIMIT) -> None:
        """Compare with the recorded tensor `out.NAME` (or `recorded`); ours may have a batch axis of 1."""
        self.compare_with(name, ours, self.tensors[recorded or f"out.{name}"], limit=limit)

    def compare_with(self, name: str, ours: Tensor, wanted: Tensor, *, limit: float = LIMIT) -> None:
        """Compare with a recorded value."""
        ours, wanted = ours.detach().cpu().double(), wanted.double()
        if ours.shape[:1] == (1,) and ours.dim() == wanted.dim() + 1:
            ours = ours[0]
        if ours.shape != wanted.shape:
            self.comparisons.append(Comparison(f"{name} {list(ours.shape)}", float("inf"), 0.0, False))
            return
        error = relative_error(ours, wanted)
        self.comparisons.append(Comparison(name, error, float(wanted.abs().max()), error <= limit))

    def compare_levels(self, name: str, ours: Tensor, wanted: Tensor, limit: int) -> None:
        """Compare 8-bit images, of which no value may be more than `limit` levels off."""
        error = float((ours.cpu().int() - wanted.int()).abs().max()) if ours.shape == wanted.shape else float("inf")
        self.comparisons.append(Comparison(name, error, 255.0, error <= limit))

    def compare_names(self, what: str, make: Callable[[], nn.Module], recorded: Mapping[str, Sequence[int]]) -> None:
        """Compare the names and shapes of a network's tensors, all of them, with recorded ones."""
        with torch.device("meta"):
            ours = {key: list(value.shape) for key, value in make().state_dict().items()}
        same = ours == {key: list(shape) for key, shape in recorded.items()}
        self.comparisons.append(Comparison(what, 0.0 if same else float("inf"), float(len(recorded)), same))

    @contextmanager
    def watching(self, network: nn.Module, rename: Callable[[str], str] = lambda name: name) -> Iterator[None]:
        """Compare the recorded means per channel of activations while the network runs.

        rename: a recorded name -> that of the module in the network; empty for one that it does not have. The channel
        is axis 1 of pictures and the last one of tokens.
        """
        handles = []
        for key in self.tensors:
            match = re.fullmatch(r"act_channel_mean\.(.+?)(?:\[(\d+)\])?", key)
            if match is not None and rename(match[1]):
                index = None if match[2] is None else int(match[2])
                module = network.get_submodule(rename(match[1]))
                handles.append(module.register_forward_hook(self._hook(key, index)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, key: str, index: int | None) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            values: Tensor = (output if index is None else output[index]).detach().double()
            channel = 1 if values.dim() == 5 else values.dim() - 1
            means = values.mean([axis for axis in range(values.dim()) if axis != channel])
            self.compare_with(key.removeprefix("act_channel_mean."), means, self.tensors[key])

        return look

    def report(self) -> CaseReport:
        """The outcome."""
        return CaseReport(self.name, None, tuple(self.comparisons))
