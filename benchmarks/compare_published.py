"""Training beside the published code, on THUMOS14-shaped simulated features.

    scripts/compare_published --make simulated/make.py --annotations thumos14.json.gz --out build/published [--seeds 3]

Every model is trained with its published THUMOS14 setting at the size and budget that the published code was given:
input 64, width 128, feed-forward 192, sequences of 576, batches of 2, 5 + 10 epochs, learning rate 0.001, weight decay
0.05, clipping at 1, averages of decay 0.999; the last epoch's average is evaluated. Writes table.md and table.json. A
finished run is not done again. Shorter trials: --epochs 1 --warmup-epochs 0 --seeds 1 --models tridet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training_runs import Data, Outcome, Setting, common_options, run_all, spread, table, use_threads

from tal_cli.models.recipe.loading import parse_overrides

TIOU = ("0.3", "0.4", "0.5", "0.6", "0.7")
BUDGET: dict[str, object] = {
    "features": {"extractor": "simulated", "channels": 64, "window": 16, "stride": 8},
    "model.width": 128,
    "model.head_width": 128,
    "model.pad_length": 576,
    "training.max_length": 576,
    "training.batch_size": 2,
    "training.learning_rate": 0.001,
    "training.weight_decay": 0.05,
    "training.clip_grad_norm": 1.0,
    "training.ema_decay": 0.999,
}


@dataclass(frozen=True)
class Model:
    """A model of the comparison.

    Attributes:
        title: for the table.
        recipe: whose setting it is trained with.
        overrides: beyond the budget.
        published: mAP of the published code under the same budget, percent, at TIOU and on average; None: none.
        seconds: what the published code took to train and to detect, two threads.
    """

    title: str
    recipe: str
    overrides: Mapping[str, object] = field(default_factory=dict)
    published: tuple[float, ...] | None = None
    seconds: tuple[float, float] | None = None


MLP: dict[str, object] = {"model.encoder.mlp_width": 192}
TADTR: dict[str, object] = {
    "model.pad_length": 128,
    "training.max_length": 128,
    "training.batch_size": 16,
    "training.learning_rate": 2.0e-4,
    "training.weight_decay": 1.0e-4,
    "training.clip_grad_norm": 0.1,
    "training.ema_decay": 0.0,
}
POINTTAD = TADTR | {
    "model.pad_length": 64,
    "model.streams": (),
    "model.classes": 20,
    "model.decoder.edge": 1.0,
    "training.max_length": 64,
    "training.batch_size": 24,
}
REACT = TADTR | {
    "model.pad_length": 256,
    "training.max_length": 256,
    "training.weight_decay": 0.0,
    "training.clip_grad_norm": None,
    "model.decoder.contrast_epochs": 2,
}
WINDOWED: dict[str, object] = {"inference.chunk_length": 576, "inference.chunk_overlap": 288}
# Figures of the published code: one run each, but the mean of two (48.8 and 42.4) for CLTDR-GMG.
MODELS = {
    "tridet": Model("TriDet", "tridet-thumos-i3d", MLP, (61.8, 61.0, 59.9, 58.0, 55.7, 59.3), (356, 21)),
    "temporalmaxer": Model(
        "TemporalMaxer", "temporalmaxer-thumos-i3d", {}, (59.8, 59.0, 57.8, 56.2, 53.2, 57.2), (132, 11)
    ),
    "actionformer": Model(
        "ActionFormer", "actionformer-thumos-i3d", {}, (57.5, 56.7, 55.5, 53.3, 49.2, 54.4), (372, 20)
    ),
    "transgmc": Model("TransGMC", "transgmc-thumos-i3d"),
    "tfformer": Model("TFFormer", "tfformer-thumos-i3d"),
    "causaltad": Model("CausalTAD", "causaltad-thumos-i3d", WINDOWED),
    "dyfadet": Model(
        "DyFADet, open gates", "dyfadet-thumos-videomae", MLP | WINDOWED | {"model.decoder.gate_start": 1.5}
    ),
    "tadtr": Model("TadTR, its own windows and batches", "tadtr-thumos-i3d", TADTR),
    "react": Model("ReAct, its own windows and batches", "react-thumos-tsn", REACT),
    "pointtad": Model("PointTAD, its own windows and batches", "pointtad-multithumos-i3d", POINTTAD),
    "cltdr-gmg": Model(
        "CLTDR-GMG, varifocal as its code stands",
        "thumos-i3d",
        MLP | {"training.class_loss": "varifocal"},
        (48.45, 47.4, 46.1, 44.3, 41.65, 45.6),
        (527.5, 27),
    ),
    "cltdr-gmg-focal": Model("CLTDR-GMG, focal as its THUMOS14 file is named", "thumos-i3d", MLP),
    "cltdr-gmg-start": Model(
        "CLTDR-GMG, focal, refinement from the identity", "thumos-i3d", MLP | {"model.decoder.factor_start": 1.0}
    ),
    "cltdr-gmg-text": Model(
        "CLTDR-GMG as the text has it, focal",
        "thumos-i3d",
        MLP | {"model.variant": "paper", "training.objective": "released"},
    ),
}


def settings(names: Sequence[str], epochs: int, warmup: int, more: Mapping[str, object]) -> list[Setting]:
    """The models of these names under the budget."""
    schedule = {"training.epochs": epochs, "training.warmup_epochs": warmup}
    return [
        Setting(name, MODELS[name].recipe, {**BUDGET, **schedule, **MODELS[name].overrides, **more}) for name in names
    ]


def make_features(script: Path, annotations: Path, folder: Path) -> Data:
    """The simulated data of seed 0, created if missing."""
    if not (folder / "annotations.json").is_file():
        command = [sys.executable, str(script), "--annotations", str(annotations), "--out", str(folder), "--seed", "0"]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return Data(folder / "annotations.json")


def our_row(model: Model, runs: Sequence[Outcome]) -> list[str]:
    """What a model reaches here, over its seeds; the shortest times, since other work only ever adds to them."""
    training = min(run.training_seconds for run in runs)
    inference = min(run.inference_seconds for run in runs)
    return [
        f"{model.title}: ours, {len(runs)} seeds",
        f"{runs[0].parameters / 1e6:.2f} M",
        *(spread([run.by_tiou[tiou] for run in runs]) for tiou in TIOU),
        spread([run.average for run in runs]),
        f"{training:.0f}",
        f"{inference:.0f}",
        f"{model.seconds[0] / training:.2f}" if model.seconds else "-",
    ]


def report(found: Sequence[Outcome], names: Sequence[str]) -> str:
    """The table: a row of ours and one of the published figures for each model."""
    rows = []
    for name in names:
        model, runs = MODELS[name], [outcome for outcome in found if outcome.setting == name]
        rows.append(our_row(model, runs))
        if model.published and model.seconds:
            published = [f"{value:.1f}" for value in model.published]
            rows.append(["published code", "", *published, *(f"{value:.0f}" for value in model.seconds), "1"])
    header = ["model", "parameters", *TIOU, "average", "training, s", "inference, s", "times as fast to train"]
    return table(header, rows)


def main() -> None:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path, required=True, help="make.py of the simulated features")
    parser.add_argument("--annotations", type=Path, required=True, help="THUMOS14's, as that script takes them")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="after the warm-up")
    parser.add_argument("--warmup-epochs", type=int, default=5, metavar="N")
    common_options(parser, seeds=3)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    data = make_features(arguments.make, arguments.annotations, arguments.out / "data")
    chosen = settings(arguments.models, arguments.epochs, arguments.warmup_epochs, parse_overrides(arguments.set))
    print(
        run_all(
            chosen,
            range(arguments.seeds),
            data,
            arguments.out,
            lambda found: report(found, list(dict.fromkeys(run.setting for run in found))),
        )
    )


if __name__ == "__main__":
    main()
