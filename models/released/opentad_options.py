"""OpenTAD's options of CausalTAD and DyFADet as our settings."""

from __future__ import annotations

from collections.abc import Callable

from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import ActionformerSettings, DecoderSettings, DynamicSettings
from tal_cli.models.recipe.encoders import CausalSettings, DynamicSgpSettings, EncoderSettings
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.training import CenterAssignment, TrainingConfig
from tal_cli.models.released.options import MOST_SEGMENTS, Options

EPSILON = 1e-6  # of all norms


def translate_opentad(options: Options) -> tuple[ModelConfig, TrainingConfig, InferenceConfig]:
    """A configuration of OpenTAD (`model` and `post_processing`) as our settings.

    Raises CheckpointError for options outside what the published settings use.
    """
    projection, head = options["model"]["projection"], options["model"]["rpn_head"]
    embedding, stem, branch = projection["arch"]
    kind = projection["type"]
    if kind not in _ENCODERS:
        raise CheckpointError(f"type={kind} is not supported")
    model = ModelConfig.model_validate(
        {
            "classes": head["num_classes"],
            "width": projection["out_channels"],
            "levels": branch + 1,
            "pad_length": -(-projection["max_seq_len"] // (1 << branch)) << branch,
            "padding": "cleared",
            "norm_epsilon": EPSILON,
            "embedding_layers": embedding,
            "embedding_kernel": projection.get("conv_cfg", {}).get("kernel_size", 3),
            "position_table": projection["use_abs_pe"],
            "encoder": _ENCODERS[kind](projection, stem),
            "decoder": _decoder(head),
            "head_width": head["feat_channels"],
            "head_layers": head["num_convs"] + 1,
            "class_prior": head["cls_prior_prob"],
            "regression_ranges": head["prior_generator"]["regression_range"],
        }
    )
    training = TrainingConfig(
        max_length=projection["max_seq_len"],
        input_noise=projection.get("input_noise", 0.0),
        input_dropout=projection.get("input_pdrop", 0.0),
        drop_path=projection.get("drop_path_rate", projection.get("path_pdrop", 0.0)),
        initial_loss_norm=head["loss_normalizer"],
        label_smoothing=head["label_smoothing"],
        assignment=CenterAssignment(
            radius=head["center_sample_radius"], labels="shortest" if head.get("filter_similar_gt", True) else "all"
        ),
        regression_weight=head.get("loss_weight", 1.0),
        class_loss="focal",
        iou_weight_power=0,
    )
    return model, training, _inference(options["post_processing"], projection["max_seq_len"], head["num_classes"])


def _causal(projection: Options, stem: int) -> CausalSettings:
    return CausalSettings(
        stem_blocks=stem,
        kernel=projection["mamba_kernel_size"],
        expansion=projection["channel_expand"],
        heads=projection["num_head"],
        branch_scale=1e-4 if projection["drop_path_rate"] > 0 else None,
    )


def _dynamic(projection: Options, stem: int) -> DynamicSgpSettings:
    return DynamicSgpSettings(
        stem_blocks=stem,
        windows=projection["encoder_win_size"],
        mlp_width=projection["mlp_dim"],
        k=projection["k"],
        conv_init_std=projection["init_conv_vars"],
        branch_scale=1e-4 if projection["path_pdrop"] > 0 else None,
    )


_ENCODERS: dict[str, Callable[[Options, int], EncoderSettings]] = {"CausalProj": _causal, "DynEProj": _dynamic}


def _decoder(head: Options) -> DecoderSettings:
    if head["type"] == "ActionFormerHead":
        return ActionformerSettings()
    gates = head["dyn_head_cfg"]
    for key, value in {"type": "GeReTanH", "dyn_type": "c"}.items():
        if gates[key] != value:
            raise CheckpointError(f"{key}={gates[key]} is not supported")
    # The published code reads none of its settings of how gates start.
    return DynamicSettings(kernel=head["head_kernel_size"], threshold=gates["tau"], gate_start=0)


def _inference(testing: Options, size: int, classes: int) -> InferenceConfig:
    nms = testing["nms"]
    alone = classes == 1  # whose points are all candidates
    return InferenceConfig(
        pre_nms_threshold=0 if alone else testing.get("pre_nms_thresh", 0.001),
        pre_nms_top_k=MOST_SEGMENTS if alone else testing.get("pre_nms_topk", 2000),
        top_k_of="pyramid",
        min_score=nms["min_score"],
        max_segments=nms["max_seg_num"],
        sigma=nms["sigma"],
        min_duration=0,
        multiclass=nms["multiclass"],
        voting_threshold=nms["voting_thresh"],
        chunk_length=size,
        chunk_overlap=size // 2,
    )
