"""All encoders with all decoders on equal terms, on features of rendered video.

    scripts/compare_family --out build/family [--seeds 2 --videos 36 --epochs 45 --width 64]
    scripts/compare_family --out build/mine --data mine/annotations.json --features mine/features [--parts 3]

Tests what the paper claims: CLTDR-GMG above TriDet above ActionFormer (tables 1 to 5), GMG better than the encoders it
replaces (table 12), CLTDR better than the decoders it replaces (table 13). Every pair gets the same videos, features,
width, schedule, objective and number of seeds: those of the recipe `camera`, but for what the options say and the IoU
weights of classes, which ActionFormer's decoder was published without. Trained on videos of one seed, evaluated on a
third as many of another. Writes table.md and table.json. A finished run is not done again. The defaults take about an
hour and a half on two cores, a third of it to render.

With --data, the published combinations are trained on these annotations and features instead, each with the recipe that
`tal train` derives from them, but for encoder, decoder and the IoU weights; the first is that recipe as it is. With
--parts 3, every seed holds out another third of the videos.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training_runs import Data, Outcome, Setting, common_options, run_all, spread, table, use_threads

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.models.recipe.loading import parse_overrides

ENCODERS = {
    "gmg": {"name": "gmg", "windows": 3},
    "sgp": {"name": "sgp", "windows": 3, "k": 1.5},
    "transformer": {"name": "transformer", "windows": 9},
    "max_pool": {"name": "max_pool"},
    "mamba": {"name": "mamba"},
    "cascade": {"name": "cascade", "windows": 9},
    "wavelet": {"name": "wavelet"},
    "deformable": {"name": "deformable"},
}
WITH_MLP = ("gmg", "sgp")  # twice as wide as the model
# A plain head that learns classes weighted by IoU collapses within a few steps: distances of nothing cost least.
UNWEIGHTED: dict[str, object] = {"training.iou_weight_power": 0.0}
PLAIN_HEAD: dict[str, object] = {"model.decoder": "actionformer", **UNWEIGHTED}
DECODERS: dict[str, dict[str, object]] = {
    "actionformer": UNWEIGHTED,
    "trident": {},
    "cltdr": {},
    "query": {},
    "relational": {},
    "points": {},
}
FUSED: dict[str, object] = {**PLAIN_HEAD, "model.neck": "fusion", "training.regression_loss": "ciou"}
# Query decoders: no pyramid, and scores that no threshold cuts.
ONE_LEVEL: dict[str, object] = {
    "model.levels": 1,
    "model.neck": {"name": "identity", "norm": "none"},
    "inference.pre_nms_threshold": 0.0,
}
# What a published model changes in a derived recipe, of which CLTDR-GMG's released variant is a part.
PUBLISHED: dict[str, dict[str, object]] = {
    "derived": {},
    "CLTDR-GMG, text": {"model.variant": "paper", "training.objective": "released"},
    "TriDet": {
        "model.encoder": {"name": "sgp", "windows": 5, "mlp_width": 256},
        "model.decoder": "trident",
    },
    "ActionFormer": {"model.encoder": {"name": "transformer", "windows": 9}, **PLAIN_HEAD},
    "TemporalMaxer": {"model.encoder": "max_pool", **PLAIN_HEAD},
    "TransGMC": {"model.encoder": {"name": "cascade", "windows": 9}, **FUSED},
    "TFFormer": {"model.encoder": "wavelet", **FUSED},
    "CausalTAD": {"model.encoder": "causal", **PLAIN_HEAD},
    "DyFADet": {
        "model.encoder": {"name": "dynamic_sgp", "mlp_width": 256, "k": 5.0},
        "model.decoder": "dynamic",
        **UNWEIGHTED,
    },
    "TadTR": {
        **ONE_LEVEL,
        "model.embedding": "linear-group",
        "model.encoder": {"name": "deformable", "ffn_width": 256, "dropout": 0.1},
        "model.decoder": {"name": "query", "ffn_width": 256, "dropout": 0.1},
        "inference.nms": "overlaps",
        "inference.iou_threshold": 0.4,
    },
    "ReAct": {
        **ONE_LEVEL,
        "model.embedding": "linear",
        "model.encoder": {
            "name": "deformable",
            "layers": 2,
            "ffn_width": 256,
            "positions": False,
            "aligned": True,
            "last_norm": False,
        },
        "model.decoder": {"name": "relational", "ffn_width": 256},
        "inference.sigma": 0.4,
        "inference.multiclass": False,
    },
    "PointTAD": {
        **ONE_LEVEL,
        "model.embedding": "linear",
        "model.encoder": "max_pool",
        "model.decoder": {"name": "points", "queries": 48, "ffn_width": 256, "dropout": 0.1, "dense_dropout": 0.5},
        "inference.nms": "none",
    },
}
TEST_SEED = 1000  # of rendered videos, which training never sees
# What the paper says is higher, and than what.
CLAIMS = (
    ("CLTDR-GMG over TriDet", "gmg+cltdr", "sgp+trident"),
    ("TriDet over ActionFormer", "sgp+trident", "transformer+actionformer"),
    ("GMG over the transformer, ActionFormer's decoder", "gmg+actionformer", "transformer+actionformer"),
    ("GMG over SGP, Trident head", "gmg+trident", "sgp+trident"),
    ("CLTDR over ActionFormer's decoder, transformer", "transformer+cltdr", "transformer+actionformer"),
    ("CLTDR over ActionFormer's decoder, max pooling", "max_pool+cltdr", "max_pool+actionformer"),
    ("CLTDR over the Trident head, SGP", "sgp+cltdr", "sgp+trident"),
)


def make_data(folder: Path, videos: int) -> Data:
    """Rendered videos to train on and a third as many to evaluate on, with their features; created if missing."""
    parts = ((folder / "train", 0, videos, "training"), (folder / "test", TEST_SEED, max(videos // 3, 1), "validation"))
    known: list[Annotations] = []
    for place, seed, count, subset in parts:
        _tal("datasets", "make", "camera", "--out", place, "--videos", count, "--seed", seed)
        _tal("extract-features", place / "videos", "--extractor", "tiny", "--out", folder / "features")
        annotations = load_annotations(place / "annotations.json")
        chosen = {name: replace(video, subset=subset) for name, video in annotations.videos.items()}
        known.append(replace(annotations, videos=chosen))
    merged = {**known[0].videos, **known[1].videos}
    labels = max((annotations.labels for annotations in known), key=len)
    save_annotations(Annotations("camera", merged, labels), folder / "annotations.json")
    return Data(folder / "annotations.json", folder / "features")


def _tal(*arguments: object) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        code = app.run([str(argument) for argument in arguments])
    if code:
        raise SystemExit(code)


def settings(encoders: Sequence[str], decoders: Sequence[str], options: argparse.Namespace) -> list[Setting]:
    """Every pair under the same budget."""
    budget = {
        "model.variant": options.variant,
        "model.width": options.width,
        "model.head_width": options.width,
        "training.epochs": options.epochs,
        "training.warmup_epochs": options.warmup_epochs,
        "training.batch_size": options.batch_size,
        "training.ema_decay": options.ema_decay,
        **parse_overrides(options.set),
    }
    wide = {"mlp_width": 2 * options.width}
    return [
        Setting(
            f"{encoder}+{decoder}",
            "camera",
            {
                "model.encoder": {**ENCODERS[encoder], **(wide if encoder in WITH_MLP else {})},
                "model.decoder": decoder,
                **budget,
                **DECODERS[decoder],
            },
        )
        for encoder in encoders
        for decoder in decoders
    ]


def report_published(found: Sequence[Outcome]) -> str:
    """Average mAP of the published models on given data, mAP at its tIoUs, parameters and times."""
    runs: dict[str, list[Outcome]] = {}
    for outcome in found:
        runs.setdefault(outcome.setting, []).append(outcome)
    tiou = list(found[0].by_tiou)
    rows = [
        [
            name,
            spread([run.average for run in each]),
            *(spread([run.by_tiou[value] for run in each]) for value in tiou),
            f"{each[0].parameters / 1e6:.2f} M",
            f"{statistics.mean(run.training_seconds for run in each):.0f} s",
        ]
        for name, each in runs.items()
    ]
    seeds = max(len(each) for each in runs.values())
    text = f"mAP in percent, mean ± deviation over {seeds} seeds\n\n"
    return text + table(["model", "average", *(f"at {value}" for value in tiou), "parameters", "training"], rows)


def report(found: Sequence[Outcome], encoders: Sequence[str], decoders: Sequence[str]) -> str:
    """Average mAP of every pair, the training times, and the paper's claims."""
    runs: dict[str, list[Outcome]] = {}
    for outcome in found:
        runs.setdefault(outcome.setting, []).append(outcome)
    averages = {name: [run.average for run in each] for name, each in runs.items()}

    def cell(name: str) -> str:
        if name not in runs:
            return ""
        seconds = statistics.mean(run.training_seconds for run in runs[name])
        return f"{spread(averages[name])} ({seconds:.0f} s)"

    seeds = max(len(each) for each in runs.values())
    rows = [[encoder, *(cell(f"{encoder}+{decoder}") for decoder in decoders)] for encoder in encoders]
    claims = []
    for claim, one, other in CLAIMS:
        if one in runs and other in runs:
            both = zip(averages[one], averages[other], strict=False)
            differences = [100 * (a - b) for a, b in both]
            mean = statistics.mean(differences)
            signs = f"{sum(difference > 0 for difference in differences)} of {len(differences)}"
            claims.append([claim, spread(averages[one]), spread(averages[other]), f"{mean:+.1f}", signs])
    text = f"Average mAP at tIoU 0.3 to 0.7, percent, mean ± deviation over {seeds} seeds (seconds to train)\n\n"
    text += table(["encoder", *decoders], rows)
    if claims:
        header = ["what the paper says", "the first", "the second", "difference", "seeds that agree"]
        text += "\n\n" + table(header, claims)
    return text


def main() -> None:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=list(ENCODERS), metavar="NAME")
    parser.add_argument("--decoders", nargs="+", choices=DECODERS, default=list(DECODERS), metavar="NAME")
    parser.add_argument("--videos", type=int, default=36, metavar="N", help="rendered videos to train on")
    parser.add_argument("--width", type=int, default=64, metavar="N", help="of the model, a multiple of 16")
    parser.add_argument("--epochs", type=int, default=45, metavar="N", help="after the warm-up")
    parser.add_argument("--warmup-epochs", type=int, default=5, metavar="N")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N")
    parser.add_argument("--ema-decay", type=float, default=0.99, metavar="X", help="of the weights' average")
    parser.add_argument("--variant", choices=("released", "paper"), default="paper", help="of GMG and CLTDR")
    parser.add_argument("--data", type=Path, metavar="ANNOTATIONS", help="train the published models on these")
    parser.add_argument("--features", type=Path, metavar="DIR", help="features of --data")
    parser.add_argument("--parts", type=int, default=1, metavar="N", help="each seed holds out another N-th of --data")
    parser.add_argument("--models", nargs="+", choices=PUBLISHED, default=list(PUBLISHED), metavar="NAME")
    common_options(parser, seeds=2)
    options = parser.parse_args()
    use_threads(options.threads)
    if options.data is not None:
        given = Data(options.data, options.features, options.parts)
        extra = parse_overrides(options.set)
        models = [Setting(name, None, {**PUBLISHED[name], **extra}) for name in options.models]
        print(run_all(models, range(options.seeds), given, options.out, report_published))
        return
    data = make_data(options.out / "data", options.videos)
    chosen = settings(options.encoders, options.decoders, options)
    print(
        run_all(
            chosen,
            range(options.seeds),
            data,
            options.out,
            lambda found: report(found, options.encoders, options.decoders),
        )
    )


if __name__ == "__main__":
    main()
