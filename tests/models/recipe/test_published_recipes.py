"""Every value of the shipped recipes against the published list of options, so that no slip of the pen survives."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from tal_cli.extractors.errors import ModelMissing
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.loading import SHORT_NAMES, list_recipes, load_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import TrainingConfig
from tal_cli.models.store.zoo import installed_folder, resolve_model

# recipe -> (code base, its configuration)
PUBLISHED = {
    "thumos-i3d": ("CLTDR-GMG", "thumos_i3d_focalloss"),
    "thumos-videomae": ("CLTDR-GMG", "thumos_videomae"),
    "thumos-internvideo2": ("CLTDR-GMG", "thumos_intervideo_vflloss"),
    "multithumos-i3d": ("CLTDR-GMG", "multithumos_i3d"),
    "multithumos-i3d-rgb": ("CLTDR-GMG", "multithumos_i3d_rgb_only_focalloss"),
    "multithumos-videomae": ("CLTDR-GMG", "multithumos_videomae_vflloss"),
    "epic-verb": ("CLTDR-GMG", "epic_slowfast_verb_vflloss"),
    "epic-noun": ("CLTDR-GMG", "epic_slowfast_noun_focalloss"),
    "activitynet-tsp": ("CLTDR-GMG", "anet_tsp"),
    "hacs-i3d": ("CLTDR-GMG", "hacs_i3d_focalloss"),
    "hacs-slowfast": ("CLTDR-GMG", "hacs_slowfast_focalloss"),
    "tridet-thumos-i3d": ("TriDet", "thumos_i3d"),
    "tridet-epic-verb": ("TriDet", "epic_slowfast_verb"),
    "tridet-epic-noun": ("TriDet", "epic_slowfast_noun"),
    "tridet-activitynet-tsp": ("TriDet", "anet_tsp"),
    "tridet-hacs-i3d": ("TriDet", "hacs_i3d"),
    "tridet-hacs-slowfast": ("TriDet", "hacs_slowfast"),
    "actionformer-thumos-i3d": ("actionformer_release", "thumos_i3d"),
    "actionformer-epic-verb": ("actionformer_release", "epic_slowfast_verb"),
    "actionformer-epic-noun": ("actionformer_release", "epic_slowfast_noun"),
    "actionformer-activitynet-tsp": ("actionformer_release", "anet_tsp"),
    "actionformer-activitynet-i3d": ("actionformer_release", "anet_i3d"),
    "temporalmaxer-thumos-i3d": ("TemporalMaxer", "temporalmaxer_thumos_i3d"),
    "temporalmaxer-multithumos-i3d": ("TemporalMaxer", "temporalmaxer_multithumos_i3d"),
    "temporalmaxer-epic-verb": ("TemporalMaxer", "temporalmaxer_epic_slowfast_verb"),
    "temporalmaxer-epic-noun": ("TemporalMaxer", "temporalmaxer_epic_slowfast_noun"),
}
# Published elsewhere (github.com/OpenGVLab/video-mamba-suite, configs/mamba_thumos_new.yaml), over ActionFormer's
# defaults.
ACTIONMAMBA: dict[str, Any] = {
    "dataset_name": "thumos_new",
    "dataset.num_classes": 20,
    "dataset.input_dim": 3200,
    "dataset.feat_stride": 4,
    "dataset.num_frames": 16,
    "dataset.crop_ratio": [0.9, 1.0],
    "model.backbone_type": "mamba",
    "model.n_mha_win_size": 19,
    "opt.learning_rate": 0.0001,
    "opt.epochs": 45,
    "opt.weight_decay": 0.05,
    "loader.batch_size": 2,
    "train_cfg.init_loss_norm": 100,
    "train_cfg.clip_grad_l2norm": 1.0,
    "test_cfg.voting_thresh": 0.7,
    "test_cfg.pre_nms_topk": 2000,
    "test_cfg.max_seg_num": 200,
    "test_cfg.min_score": 0.001,
}
# See test_compared_recipes.py.
COMPARED = (
    "pointtad-multithumos-i3d",
    "pointtad-charades-i3d",
    "react-thumos-tsn",
    "tadtr-thumos-i3d",
    *(
        f"{name}-{what}"
        for name in ("transgmc", "tfformer")
        for what in ("thumos-i3d", "epic-verb", "epic-noun", "activitynet-i3d")
    ),
    "transgmc-ego4d",
    *(
        f"causaltad-{what}"
        for what in ("thumos-i3d", "activitynet-tsp", "hacs-slowfast", "ego4d", "epic-verb", "epic-noun")
    ),
    *(f"adatad-{what}-{size}" for what in ("thumos", "multithumos", "charades") for size in "sblhg"),
    *(f"adatad-{what}" for what in ("thumos-g-160", "thumos-g-side", "activitynet-l", "epic-noun", "epic-verb")),
    *(f"dyfadet-{what}" for what in ("thumos-videomae", "activitynet-tsp", "hacs-slowfast", "fineaction-videomae")),
)
WITHOUT_FIGURES = ("transgmc-ego4d", "causaltad-hacs-slowfast")
OWN = ("camera", "activitynet-direct")  # settings of this project
PARTS = {
    "CLTDR-GMG": ("gmg", "cltdr"),
    "TriDet": ("sgp", "trident"),
    "actionformer_release": ("transformer", "actionformer"),
    "TemporalMaxer": ("max_pool", "actionformer"),
    "ActionMamba": ("mamba", "actionformer"),
}
DATASETS = {
    "thumos": "thumos",
    "thumos_new": "thumos",
    "multithumos": "multithumos",
    "anet": "activitynet",
    "hacs": "hacs",
    "epic": "epic-",
}
# Options that mean nothing here, with the only value they may have (None: any).
WITHOUT_MEANING: dict[str, Any] = {
    "dataset.file_ext": None,  # any known format is read
    "dataset.feature_type": None,
    "train_split": None,  # of the data set, see tal_cli/datasets/catalog.py
    "val_split": None,
    "dataset.downsample_rate": 1,
    "model.num_classes": 20,  # a repetition of dataset.num_classes
    "model.scale_factor": 2,
    "model.fpn_type": "identity",
    "model.fpn_start_level": 0,
    "model.embd_with_ln": True,
    "model.fpn_with_ln": True,
    "model.head_with_ln": True,
    "model.use_trident_head": True,
    "model.downsample_type": "max",  # all there is in recipes; `sgp` has it as a setting
    "model.use_rel_pe": False,
    "train_cfg.dropout": 0.0,
    "train_cfg.head_empty_cls": [],
    "opt.type": "AdamW",
    "opt.momentum": 0.9,  # of SGD
    "opt.warmup": True,
    "opt.schedule_type": "cosine",
    "opt.schedule_steps": [],
    "opt.schedule_gamma": 0.1,
}


class Options(dict[str, Any]):
    """Options of one configuration that remember which were read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.unread = set(values)

    def __getitem__(self, key: str) -> Any:
        self.unread.discard(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.unread.discard(key)
        return super().get(key, default)


@pytest.fixture(scope="module")
def released(shared: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The published list: code base -> configuration -> option -> value, `defaults` among the configurations."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    family = entry = ""
    for line in (shared / "recipes.md").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"## (\S+): defaults", line):
            family, entry = match.group(1), "defaults"
            found[family] = {}
        elif match := re.match(r"### (\S+)", line):
            entry = match.group(1)
        elif family and line.startswith("`"):
            pairs = (item.partition("=")[::2] for item in re.findall(r"`([^`]+)`", line))
            found[family][entry] = {key: value_of(text) for key, text in pairs}
    found["ActionMamba"] = {"defaults": found["actionformer_release"]["defaults"], "thumos": ACTIONMAMBA}
    return found


def value_of(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def test_the_list_is_shipped_whole(released: dict[str, dict[str, dict[str, Any]]]) -> None:
    listed = {(family, entry) for family, entries in released.items() for entry in entries if entry != "defaults"}
    assert listed - {("ActionMamba", "thumos")} == set(PUBLISHED.values())
    assert set(list_recipes()) == {*PUBLISHED, "actionmamba-thumos-internvideo2", *COMPARED, *OWN}


@pytest.mark.parametrize("name", [*PUBLISHED, "actionmamba-thumos-internvideo2"])
def test_recipe_is_the_released_setting(released: dict[str, dict[str, dict[str, Any]]], name: str) -> None:
    family, entry = PUBLISHED.get(name, ("ActionMamba", "thumos"))
    options = Options(released[family]["defaults"] | released[family][entry])
    recipe = load_recipe(name)
    assert recipe.dataset.startswith(DATASETS[options["dataset_name"]])
    assert recipe.features.channels == options["dataset.input_dim"]
    assert recipe.features.window == options["dataset.num_frames"]
    assert recipe.features.stride == options["dataset.feat_stride"]
    assert recipe.features.sampling_rate == options["dataset.default_fps"]
    assert recipe.model == expected_model(family, options)
    assert recipe.training == expected_training(family, entry, options)
    assert recipe.inference == expected_inference(family, recipe, options)
    for key in sorted(options.unread):
        assert key in WITHOUT_MEANING, f"{key}={options[key]} is not in the recipe"
        assert WITHOUT_MEANING[key] in (None, options[key])


def expected_model(family: str, options: Options) -> ModelConfig:
    architecture = list(options["model.backbone_arch"])
    encoder: dict[str, Any] = {"name": PARTS[family][0]}
    decoder: dict[str, Any] = {"name": PARTS[family][1]}
    neck: dict[str, Any] = {"name": "identity"}
    backbones = {"SGP": ("gmg", "sgp"), "convTransformer": ("transformer",), "convPooler": ("max_pool",)}
    assert encoder["name"] in backbones.get(options["model.backbone_type"], ("mamba",))
    if family != "TemporalMaxer":
        encoder |= {"stem_blocks": architecture[1], "branch_scale": 1e-4 if options["train_cfg.droppath"] else None}
    if family in ("CLTDR-GMG", "TriDet"):
        encoder |= {"windows": options["model.n_sgp_win_size"], "mlp_width": options["model.sgp_mlp_dim"]}
        encoder |= {"conv_init_std": options["model.init_conv_vars"]}
        decoder |= {"bins": options["model.num_bins"], "boundary_kernel": options["model.boudary_kernel_size"]}
        factor = options["model.k"]  # which the code of CLTDR-GMG does not use
        encoder |= {"k": factor} if family == "TriDet" else {}
    elif family == "actionformer_release":
        encoder |= {"windows": options["model.n_mha_win_size"], "heads": options["model.n_head"]}
    elif family == "ActionMamba":
        encoder |= {"padding_window": options["model.n_mha_win_size"]}
        assert options["model.n_head"] == 4  # not used
    else:
        neck["norm"] = {"layernorm": "shared", "groupnorm": "group"}[options.get("model.fpn_norm", "groupnorm")]
    assert options["model.fpn_dim"] == options["model.embd_dim"]
    return ModelConfig.model_validate(
        {
            "classes": options["dataset.num_classes"],
            "width": options["model.embd_dim"],
            "levels": architecture[-1] + 1,
            "pad_length": options["dataset.max_seq_len"],
            "resample": options["dataset.force_upsampling"],
            "embedding_layers": architecture[0],
            "embedding_kernel": options["model.embd_kernel_size"],
            "position_table": options.get("model.use_abs_pe", False),
            "encoder": encoder,
            "neck": neck,
            "decoder": decoder,
            "head_width": options["model.head_dim"],
            "head_layers": options["model.head_num_layers"],
            "head_kernel": options["model.head_kernel_size"],
            "class_prior": options["train_cfg.cls_prior_prob"],
            "regression_ranges": ranges_of(options["model.regression_range"], architecture[-1] + 1),
        }
    )


def ranges_of(published: Any, levels: int) -> Any:
    """Ranges that double from level to level are a recipe's default."""
    ranges = [tuple(map(float, pair)) for pair in published]
    edges = [0.0, *(4.0 * 2**level for level in range(levels - 1)), 10000.0]
    return () if ranges == list(itertools.pairwise(edges)) else ranges


def expected_training(family: str, entry: str, options: Options) -> TrainingConfig:
    binned = family in ("CLTDR-GMG", "TriDet")
    if family == "TemporalMaxer":
        names = {"radius": "center_radius", "iou_weight": "iou_weight", "class_weight": "cls_weight"}
        names |= {"keep": "keep_percent", "confuse_weight": "confuse_weight"}
        assignment = {"name": "cost"} | {ours: options[f"model.assigner.{name}"] for ours, name in names.items()}
        assert options["train_cfg.center_sample"] == "none"
    else:
        assert options["train_cfg.center_sample"] == "radius"
        assignment = {"name": "center", "radius": options["train_cfg.center_sample_radius"]}
    # Which loss refines the classes is an edit of CLTDR-GMG's code; files that do not tell in their name: the paper's.
    varifocal = family == "CLTDR-GMG" and "focalloss" not in entry
    return TrainingConfig.model_validate(
        {
            "epochs": options["opt.epochs"],
            "warmup_epochs": options["opt.warmup_epochs"],
            "batch_size": options["loader.batch_size"],
            "learning_rate": options["opt.learning_rate"],
            "min_learning_rate": options.get("opt.eta_min", 1e-8),
            "weight_decay": options["opt.weight_decay"],
            "clip_grad_norm": options["train_cfg.clip_grad_l2norm"],
            "ema_decay": 0.999,
            "max_length": options["dataset.max_seq_len"],
            "crop_ratio": options["dataset.crop_ratio"],
            "truncate_threshold": options["dataset.trunc_thresh"],
            "input_noise": options.get("model.input_noise", 0.0),
            "drop_path": options.get("train_cfg.droppath", 0.0),
            "initial_loss_norm": options["train_cfg.init_loss_norm"],
            "label_smoothing": options["train_cfg.label_smoothing"],
            "assignment": assignment,
            "class_loss": "varifocal" if varifocal else "focal",
            "regression_loss": "diou",
            "iou_weight_power": options["model.iou_weight_power"] if binned else 0.0,
            "regression_weight": options["train_cfg.loss_weight"],
            "class_agnostic": options["dataset_name"] == "anet",  # its detectors have one class
            "refined_weight": 0.7,
            "coarse_weight": 0.3,
        }
    )


def expected_inference(family: str, recipe: Recipe, options: Options) -> InferenceConfig:
    length = options["dataset.max_seq_len"]
    return InferenceConfig.model_validate(
        {
            "pre_nms_threshold": options["test_cfg.pre_nms_thresh"],
            "pre_nms_top_k": options["test_cfg.pre_nms_topk"],
            "min_score": options["test_cfg.min_score"],
            "max_segments": options["test_cfg.max_seg_num"],
            "nms": options["test_cfg.nms_method"],
            "sigma": options["test_cfg.nms_sigma"],
            "iou_threshold": options["test_cfg.iou_threshold"],
            "min_duration": options["test_cfg.duration_thresh"],
            "multiclass": options["test_cfg.multiclass_nms"],
            "voting_threshold": options["test_cfg.voting_thresh"],
            "voting_weight": "score-iou" if family in ("actionformer_release", "TemporalMaxer") else "score",
            "chunk_length": int(length * options["model.max_buffer_len_factor"]),
            # Published code computes videos in one piece; how pieces overlap is ours to say.
            "chunk_overlap": recipe.inference.chunk_overlap,
        }
    )


def test_recipes_say_where_they_come_from() -> None:
    for name in list_recipes():
        recipe = load_recipe(name)
        assert recipe.description and recipe.dataset and recipe.licence and (recipe.source or name == "camera")
        if name in OWN:
            assert recipe.published is None and "this project" in recipe.source
            continue
        if name in WITHOUT_FIGURES:
            assert recipe.published is None
            continue
        assert recipe.published is not None and 10 < recipe.published.average < 80
        assert (recipe.published.by_tiou and "paper" in recipe.published.metric) or "README" in recipe.published.metric
        figures = list(recipe.published.by_tiou.values())
        assert figures == sorted(figures, reverse=True)
        assert min(figures) < recipe.published.average < max(figures)


def test_a_short_name_finds_the_model_of_its_full_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path))
    with pytest.raises(ModelMissing, match="weights of thumos") as missing:
        resolve_model("thumos")
    assert "tal train --dataset thumos --recipe thumos-i3d" in missing.value.remedy
    folder = installed_folder("thumos-i3d")
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "recipe.yaml", "labels.txt"):
        (folder / name).touch()
    assert resolve_model("thumos") == resolve_model("thumos-i3d") == folder


def test_short_names_are_recipes_of_that_data_set() -> None:
    assert {"thumos", "multithumos", "activitynet", "hacs"} == set(SHORT_NAMES)
    for short, name in SHORT_NAMES.items():
        assert load_recipe(short) == load_recipe(name)
        assert load_recipe(short).dataset == short
    assert {"epic-verb", "epic-noun"} <= set(list_recipes())
