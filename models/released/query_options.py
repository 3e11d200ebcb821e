"""The options of released code with query decoders as our settings."""

from __future__ import annotations

from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.recipe.architecture import IdentityNeck, ModelConfig
from tal_cli.models.recipe.decoders import PointSettings, QuerySettings, RelationalSettings
from tal_cli.models.recipe.encoders import DeformableSettings, MaxPoolSettings
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.training import TrainingConfig
from tal_cli.models.released.options import MOST_SEGMENTS, Options

# Two-stream I3D features in windows of 16 frames, 4 frames apart, whose times TadTR counts from their first frame.
EDGE = 2.0
CROPS = 16  # of a video in an epoch; the released code takes windows instead, every quarter of their length


# Our settings and the options that they are, of TadTR's encoder and decoder and of ReAct's.
TADTR_SHARED = {"heads": "nheads", "ffn_width": "dim_feedforward", "dropout": "dropout"}
TADTR_ENCODER = TADTR_SHARED | {"layers": "enc_layers", "points": "enc_n_points"}
TADTR_DECODER = TADTR_SHARED | {
    "queries": "num_queries",
    "layers": "dec_layers",
    "points": "dec_n_points",
    "refine": "seg_refine",
    "actionness": "act_reg",
    "class_cost": "set_cost_class",
    "segment_cost": "set_cost_seg",
    "iou_cost": "set_cost_iou",
    "class_weight": "cls_loss_coef",
    "segment_weight": "seg_loss_coef",
    "iou_weight": "iou_loss_coef",
    "quality_weight": "act_loss_coef",
}
REACT_ENCODER = {"layers": "num_encoder_layers", "heads": "n_head", "points": "encoder_sample_num"}
REACT_DECODER = {
    "queries": "num_queries",
    "layers": "num_decoder_layers",
    "heads": "n_head",
    "points": "decoder_sample_num",
    "class_weight": "coef_ce",
    "segment_weight": "coef_l1",
    "iou_weight": "coef_iou",
    "quality_weight": "coef_quality",
    "again_weight": "coef_acedec",
    "contrast_weight": "coef_aceenc",
    "contrast_parts": "K",
}
POINTTAD_DECODER = {
    "queries": "num_queries",
    "query_points": "num_querypoints",
    "layers": "dec_layers",
    "heads": "nheads",
    "ffn_width": "dim_feedforward",
    "dropout": "dropout",
    "class_cost": "set_cost_class",
    "segment_cost": "set_cost_seg",
    "iou_cost": "set_cost_giou",
    "segment_weight": "seg_loss_coef",
    "iou_weight": "giou_loss_coef",
    "nothing_weight": "eos_coef",
    "dense_weight": "dense_loss_coef",
}
POINTTAD_EPOCHS, POINTTAD_DEVICES, POINTTAD_DENSE_DROPOUT = 60, 8, 0.5


def _read(options: Options, names: dict[str, str]) -> Options:
    return {ours: options[theirs] for ours, theirs in names.items()}


def translate_tadtr(options: Options, classes: int) -> tuple[ModelConfig, TrainingConfig, InferenceConfig]:
    """TadTR's options as our settings. Raises CheckpointError for options outside what the published settings use."""
    for key, value in {"activation": "relu", "position_embedding": "sine", "disable_query_self_att": False}.items():
        if options[key] != value:
            raise CheckpointError(f"{key}={options[key]} is not supported")
    size = options["slice_len"]
    model = ModelConfig(
        classes=classes,
        width=options["hidden_dim"],
        levels=1,
        pad_length=size,
        padding="zeros",
        embedding="linear-group",
        encoder=DeformableSettings(**_read(options, TADTR_ENCODER)),
        neck=IdentityNeck(norm="none"),
        decoder=QuerySettings(edge=EDGE, **_read(options, TADTR_DECODER)),
    )
    training = TrainingConfig(
        epochs=options["epochs"],
        warmup_epochs=0,
        batch_size=options["batch_size"],
        learning_rate=options["lr"],
        weight_decay=options["weight_decay"],
        clip_grad_norm=options["clip_max_norm"],
        max_length=size,
        crop_ratio=None,
        crops=CROPS,
        truncate_threshold=0.75,
        decay_epochs=tuple(options["lr_step"]),
        ema_decay=0,
    )
    inference = InferenceConfig(
        pre_nms_threshold=0,
        pre_nms_top_k=options["postproc_ins_topk"],
        min_score=0,
        min_duration=0,
        max_segments=MOST_SEGMENTS,
        nms="overlaps",
        iou_threshold=options["nms_thr"],
        chunk_length=size,
        chunk_overlap=int(size * options["test_slice_overlap"]),
    )
    return model, training, inference


def translate_react(options: Options) -> tuple[ModelConfig, TrainingConfig, InferenceConfig]:
    """ReAct's options as our settings."""
    size = options["clip_len"]
    model = ModelConfig(
        classes=options["num_class"],
        width=options["feat_dim"],
        levels=1,
        pad_length=size,
        embedding="linear",
        encoder=DeformableSettings(positions=False, aligned=True, last_norm=False, **_read(options, REACT_ENCODER)),
        neck=IdentityNeck(norm="none"),
        decoder=RelationalSettings(class_warmup=25, contrast_epochs=6, **_read(options, REACT_DECODER)),
    )
    training = TrainingConfig(
        epochs=20,
        warmup_epochs=0,
        batch_size=16,
        crops=CROPS,
        learning_rate=2e-4,
        weight_decay=0,
        clip_grad_norm=None,
        decay_epochs=(13,),
        ema_decay=0,
        max_length=size,
        crop_ratio=None,
    )
    inference = InferenceConfig(
        pre_nms_threshold=0,
        classes_per_point=1,
        min_score=1e-6,
        max_segments=1000,
        sigma=0.4,
        min_duration=0,
        multiclass=False,
        chunk_length=size,
        chunk_overlap=int(size * (1 - options["stride_rate"])),
    )
    return model, training, inference


def translate_pointtad(
    options: Options, channels: tuple[int, int]
) -> tuple[ModelConfig, TrainingConfig, InferenceConfig]:
    """PointTAD's options as our settings; channels of the deeper and the shallower of I3D's maps that it reads.

    The released loss pairs layers before the last one with the videos of a device's batch: no more of them learn.
    """
    size, width, batch, step = (options[key] for key in ("window_size", "hidden_dim", "batch_size", "lr_drop"))
    model = ModelConfig(
        classes=options["num_classes"],
        width=width,
        levels=1,
        pad_length=size,
        embedding="linear",
        streams=tuple((part, width) for part in channels),
        encoder=MaxPoolSettings(),
        neck=IdentityNeck(norm="none"),
        decoder=PointSettings(
            dense_dropout=POINTTAD_DENSE_DROPOUT,
            supervised=batch if batch < options["dec_layers"] - 1 else None,
            **_read(options, POINTTAD_DECODER),
        ),
    )
    training = TrainingConfig(
        epochs=POINTTAD_EPOCHS,
        warmup_epochs=0,
        batch_size=batch * POINTTAD_DEVICES,
        crops=CROPS,
        learning_rate=float(options["lr"]),
        weight_decay=float(options["weight_decay"]),
        clip_grad_norm=options["clip_max_norm"],
        decay_epochs=tuple(range(step, POINTTAD_EPOCHS, step)),
        decay_factor=0.5,
        ema_decay=0,
        max_length=size,
        crop_ratio=None,
        truncate_threshold=1,
    )
    inference = InferenceConfig(
        pre_nms_threshold=0,
        classes_per_point=1,
        min_score=0,
        min_duration=0,
        max_segments=MOST_SEGMENTS,
        nms="none",
        chunk_length=size,
        chunk_overlap=0,
        last_chunk="whole",
    )
    return model, training, inference
