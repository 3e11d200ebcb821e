"""The released code bases' options as our settings. Their `model` options name the parts by `backbone_type`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.recipe.architecture import FpnNeck, FusionNeck, IdentityNeck, ModelConfig, NeckSettings
from tal_cli.models.recipe.decoders import ActionformerSettings, CltdrSettings, DecoderSettings, TridentSettings
from tal_cli.models.recipe.encoders import (
    CascadeSettings,
    ConvSettings,
    EncoderSettings,
    GmgSettings,
    MambaSettings,
    MaxPoolSettings,
    SgpSettings,
    TransformerSettings,
    WaveletSettings,
)
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.training import CenterAssignment, CostAssignment, TrainingConfig

Options = dict[str, Any]
MOST_SEGMENTS = 100_000  # there is no limit
_FIXED = {"scale_factor": 2, "embd_with_ln": True, "fpn_with_ln": True, "head_with_ln": True, "fpn_start_level": 0}


def translate_options(
    options: Options, *, cltdr: bool = False, encoder: str | None = None
) -> tuple[ModelConfig, TrainingConfig, InferenceConfig]:
    """The released code's `model` options (with `train_cfg` and `test_cfg`) as our settings.

    `cltdr`: of CLTDR-GMG, whose options are TriDet's by their names. `encoder`: `cascade` for TransGMC and `wavelet`
    for TFFormer, whose options are ActionFormer's. Raises CheckpointError for options outside what
    the published settings use.
    """
    for key, value in _FIXED.items():
        if options.get(key, value) != value:
            raise CheckpointError(f"{key}={options[key]} is not supported")
    training = options["train_cfg"]
    arch = options["backbone_arch"]
    kind = encoder or ("gmg" if cltdr else options["backbone_type"])
    if kind not in _ENCODERS:
        raise CheckpointError(f"backbone_type={kind} is not supported")
    decoder = _decoder(options, cltdr=cltdr)
    streams = _streams(options)
    model = ModelConfig.model_validate(
        {
            "classes": options["num_classes"],
            "width": sum(width for _, width in streams) or options["embd_dim"],
            "levels": arch[-1] + 1,
            "pad_length": options["max_seq_len"],
            "embedding_layers": arch[0],
            "embedding_kernel": options["embd_kernel_size"],
            "position_table": options.get("use_abs_pe", False),
            "streams": streams,
            "encoder": _ENCODERS[kind](options),
            "neck": _neck(options),
            "decoder": decoder,
            "head_width": options["head_dim"],
            "head_layers": options["head_num_layers"],
            "head_kernel": options["head_kernel_size"],
            "class_prior": training["cls_prior_prob"],
            "regression_ranges": options["regression_range"],
        }
    )
    learning = _training(options, binned=not isinstance(decoder, ActionformerSettings))
    if encoder is not None:
        learning = learning.model_copy(update={"regression_loss": "ciou"})
    return model, learning, _inference(options["test_cfg"], options)


def _streams(options: Options) -> tuple[tuple[int, int], ...]:
    """Channels and width of each kind of features, where there are several."""
    if isinstance(options["embd_dim"], int):
        return ()
    return tuple(zip(options["input_dim"], options["embd_dim"], strict=True))


def _decoder(options: Options, *, cltdr: bool) -> DecoderSettings:
    if not options.get("use_trident_head", False):
        return ActionformerSettings()
    binned = CltdrSettings if cltdr else TridentSettings
    return binned(bins=options["num_bins"], boundary_kernel=options["boudary_kernel_size"])


def _neck(options: Options) -> NeckSettings:
    if options["fpn_type"] != "identity":
        return FpnNeck() if options["fpn_type"] == "fpn" else FusionNeck()
    if options["backbone_type"] != "convPooler":
        return IdentityNeck()
    return IdentityNeck(norm=_NORMS[options.get("fpn_norm", "groupnorm")])


def _gmg(options: Options) -> GmgSettings:
    return GmgSettings(
        stem_blocks=options["backbone_arch"][1],
        windows=_each(options["n_sgp_win_size"]),
        mlp_width=options["sgp_mlp_dim"],
        branch_scale=_branch_scale(options),
        conv_init_std=options["init_conv_vars"],
    )


def _sgp(options: Options) -> SgpSettings:
    return SgpSettings(
        stem_blocks=options["backbone_arch"][1],
        windows=_each(options["n_sgp_win_size"]),
        mlp_width=options["sgp_mlp_dim"],
        k=options["k"],
        downsample=options["downsample_type"],
        branch_scale=_branch_scale(options),
        conv_init_std=options["init_conv_vars"],
    )


def _transformer(options: Options) -> TransformerSettings:
    return TransformerSettings(**_attention(options))


def _attention(options: Options) -> dict[str, Any]:
    return {
        "stem_blocks": options["backbone_arch"][1],
        "heads": options["n_head"],
        "windows": _each(options["n_mha_win_size"]),
        "relative_positions": options["use_rel_pe"],
        "branch_scale": _branch_scale(options),
    }


def _cascade(options: Options) -> CascadeSettings:
    return CascadeSettings(**_attention(options), dropout=options["train_cfg"]["dropout"])


def _wavelet(options: Options) -> WaveletSettings:
    return WaveletSettings(
        stem_blocks=options["backbone_arch"][1],
        branch_scale=_branch_scale(options),
        dropout=options["train_cfg"]["dropout"],
        padding_windows=_each(options["n_mha_win_size"]),
    )


def _mamba(options: Options) -> MambaSettings:
    return MambaSettings(stem_blocks=options["backbone_arch"][1], branch_scale=_branch_scale(options))


_ENCODERS: dict[str, Callable[[Options], EncoderSettings]] = {
    "gmg": _gmg,
    "SGP": _sgp,
    "convTransformer": _transformer,
    "conv": lambda options: ConvSettings(stem_blocks=options["backbone_arch"][1]),
    "convPooler": lambda options: MaxPoolSettings(),
    "mamba": _mamba,
    "cascade": _cascade,
    "wavelet": _wavelet,
}
_NORMS: dict[str | None, Literal["group", "shared", "none"]] = {
    "groupnorm": "group",
    "layernorm": "shared",
    None: "none",
}


def _each(windows: int | list[int]) -> int | tuple[int, ...]:
    return windows if isinstance(windows, int) else tuple(windows)


def _branch_scale(options: Options) -> float | None:
    return 1e-4 if options["train_cfg"]["droppath"] > 0 else None


def _training(options: Options, *, binned: bool) -> TrainingConfig:
    training = options["train_cfg"]
    return TrainingConfig(
        max_length=options["max_seq_len"],
        input_noise=options.get("input_noise", 0.0),
        drop_path=training.get("droppath", 0.0),
        initial_loss_norm=training["init_loss_norm"],
        label_smoothing=training["label_smoothing"],
        assignment=_assignment(options),
        regression_weight=training["loss_weight"],
        class_loss="focal",
        # Without bins a point has one pair of distances for all its labels, and their IoU weights no class loss.
        iou_weight_power=options["iou_weight_power"] if binned else 0.0,
        clip_grad_norm=training["clip_grad_l2norm"] if training["clip_grad_l2norm"] > 0 else None,
    )


def _assignment(options: Options) -> CenterAssignment | CostAssignment:
    if "assigner" in options:
        cost = options["assigner"]
        return CostAssignment(
            radius=cost["center_radius"],
            iou_weight=cost["iou_weight"],
            class_weight=cost["cls_weight"],
            keep=cost["keep_percent"],
            confuse_weight=cost["confuse_weight"],
        )
    training = options["train_cfg"]
    return CenterAssignment(radius=training["center_sample_radius"] if training["center_sample"] == "radius" else None)


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
        # Not an option: the code of ActionFormer and of TemporalMaxer votes so.
        voting_weight="score" if "num_bins" in options or options["backbone_type"] == "mamba" else "score-iou",
        chunk_length=int(options["max_seq_len"] * options["max_buffer_len_factor"]),
        chunk_overlap=options["max_seq_len"] // 2,
    )
