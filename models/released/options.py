"""The released code bases' options as our settings. Their `model` options name the parts by `backbone_type`."""

from __future__ import annotations

from typing import Any

from models.architectures import CltdrSettings, GmgSettings, ModelConfig
from models.checkpoint import CheckpointError
from models.recipe import CenterAssignment, InferenceConfig, TrainingConfig

Options = dict[str, Any]
_FIXED = {"scale_factor": 2, "embd_with_ln": True, "fpn_with_ln": True, "head_with_ln": True}


def translate_options(options: Options) -> tuple[ModelConfig, TrainingConfig, InferenceConfig]:
    """The released code's `model` options (with `train_cfg` and `test_cfg`) as our settings.

    Raises CheckpointError for options outside what the published settings use.
    """
    fixed = _FIXED | {"fpn_type": "identity", "backbone_type": "SGP", "downsample_type": "max"}
    for key, value in fixed.items():
        if options.get(key, value) != value:
            raise CheckpointError(f"{key}={options[key]} is not supported")
    training, testing = options["train_cfg"], options["test_cfg"]
    model = ModelConfig(
        classes=options["num_classes"],
        width=options["embd_dim"],
        levels=options["backbone_arch"][-1] + 1,
        pad_length=options["max_seq_len"],
        embedding_layers=options["backbone_arch"][0],
        embedding_kernel=options["embd_kernel_size"],
        position_table=options["use_abs_pe"],
        encoder=_gmg(options),
        decoder=CltdrSettings(bins=options["num_bins"], boundary_kernel=options["boudary_kernel_size"]),
        head_width=options["head_dim"],
        head_layers=options["head_num_layers"],
        head_kernel=options["head_kernel_size"],
        class_prior=training["cls_prior_prob"],
        regression_ranges=tuple((float(low), float(high)) for low, high in options["regression_range"]),
    )
    return model, _training(options), _inference(testing, options)


def _gmg(options: Options) -> GmgSettings:
    return GmgSettings(
        stem_blocks=options["backbone_arch"][1],
        windows=_each(options["n_sgp_win_size"]),
        mlp_width=options["sgp_mlp_dim"],
        branch_scale=_branch_scale(options),
        conv_init_std=options["init_conv_vars"],
    )


def _each(windows: int | list[int]) -> int | tuple[int, ...]:
    return windows if isinstance(windows, int) else tuple(windows)


def _branch_scale(options: Options) -> float | None:
    return 1e-4 if options["train_cfg"]["droppath"] > 0 else None


def _training(options: Options) -> TrainingConfig:
    training = options["train_cfg"]
    return TrainingConfig(
        max_length=options["max_seq_len"],
        input_noise=options["input_noise"],
        drop_path=training["droppath"],
        initial_loss_norm=training["init_loss_norm"],
        label_smoothing=training["label_smoothing"],
        assignment=CenterAssignment(
            radius=training["center_sample_radius"] if training["center_sample"] == "radius" else None
        ),
        regression_weight=training["loss_weight"],
        iou_weight_power=options["iou_weight_power"],
        clip_grad_norm=training["clip_grad_l2norm"] if training["clip_grad_l2norm"] > 0 else None,
    )


def _inference(testing: Options, options: Options) -> InferenceConfig:
    return InferenceConfig(
        pre_nms_threshold=testing["pre_nms_thresh"],
        pre_nms_top_k=testing["pre_nms_topk"],
        min_score=testing["min_score"],
        max_segments=testing["max_seg_num"],
        nms=testing["nms_method"],
        sigma=testing["nms_sigma"],
        iou_threshold=testing["iou_threshold"],
        min_duration=testing["duration_thresh"],
        multiclass=testing["multiclass_nms"],
        voting_threshold=testing["voting_thresh"],
        stretch=int(options["max_seq_len"] * options["max_buffer_len_factor"]),
        overlap=options["max_seq_len"] // 2,
    )
