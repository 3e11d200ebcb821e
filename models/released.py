"""Checkpoints and settings of the released CLTDR-GMG code, in this package's names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import CheckpointError
from models.recipe import InferenceConfig, ModelConfig, TrainingConfig

# Released key pattern -> our key. Tensors keep their values; only shapes of per-channel parameters are flattened.
_TRUNK = {"cls_head": "decoder.classes", "start_head": "decoder.starts", "end_head": "decoder.ends"}
_RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.embd\.(\d+)\.conv\.(.+)", r"embedding.convs.\1.\2"),
    (r"backbone\.embd_norm\.(\d+)\.(.+)", r"embedding.norms.\1.\2"),
    (r"backbone\.(stem|branch)\.(\d+)\.w1", r"encoder.\1.\2.filter.weight_in"),
    (r"backbone\.(stem|branch)\.(\d+)\.b1", r"encoder.\1.\2.filter.bias_in"),
    (r"backbone\.(stem|branch)\.(\d+)\.w2", r"encoder.\1.\2.filter.weight_out"),
    (r"backbone\.(stem|branch)\.(\d+)\.b2", r"encoder.\1.\2.filter.bias_out"),
    (r"backbone\.(stem|branch)\.(\d+)\.ln\.(.+)", r"encoder.\1.\2.norm.\3"),
    (r"backbone\.(stem|branch)\.(\d+)\.gn\.(.+)", r"encoder.\1.\2.ffn_norm.\3"),
    (r"backbone\.(stem|branch)\.(\d+)\.fc\.(.+)", r"encoder.\1.\2.instant.\3"),
    (r"backbone\.(stem|branch)\.(\d+)\.convw\.(.+)", r"encoder.\1.\2.local.\3"),
    (r"backbone\.(stem|branch)\.(\d+)\.mlp\.0\.(.+)", r"encoder.\1.\2.ffn_in.\3"),
    (r"backbone\.(stem|branch)\.(\d+)\.mlp\.2\.(.+)", r"encoder.\1.\2.ffn_out.\3"),
    (r"backbone\.(stem|branch)\.(\d+)\.drop_path_out\.scale", r"encoder.\1.\2.drop_mix.scale"),
    (r"backbone\.(stem|branch)\.(\d+)\.drop_path_mlp\.scale", r"encoder.\1.\2.drop_ffn.scale"),
    (r"neck\.fpn_norms\.(\d+)\.(.+)", r"norms.\1.\2"),
    (r"(cls_head|start_head|end_head)\.head\.(\d+)\.conv\.(.+)", r"<\1>.trunk.convs.\2.\3"),
    (r"(cls_head|start_head|end_head)\.norm\.(\d+)\.(.+)", r"<\1>.trunk.norms.\2.\3"),
    (r"(cls_head|start_head|end_head)\.cls_head\.conv\.(.+)", r"<\1>.output.\2"),
    (r"reg_head\.head\.(\d+)\.conv\.(.+)", r"decoder.offsets.trunk.convs.\1.\2"),
    (r"reg_head\.norm\.(\d+)\.(.+)", r"decoder.offsets.trunk.norms.\1.\2"),
    (r"reg_head\.scale\.(\d+)\.scale", r"decoder.offsets.level_scale[\1]"),
    (r"reg_head\.offset_head\.conv\.(.+)", r"decoder.offsets.output.\1"),
    (r"decls\.contrans\.(.+)", r"decoder.cross.up_gate.\1"),
    (r"decls\.conv_l\.(.+)", r"decoder.cross.class_gate.refine.\1"),
    (r"decls\.attn\.1\.(.+)", r"decoder.cross.class_gate.gate.\1"),
    (r"dereg\.down\.(.+)", r"decoder.cross.down_gate.\1"),
    (r"dereg\.conv_l\.(.+)", r"decoder.cross.regression_gate.refine.\1"),
    (r"dereg\.attn\.1\.(.+)", r"decoder.cross.regression_gate.gate.\1"),
    (r"cross_level\.conv\.(.+)", r"decoder.cross.down_fusion.\1"),
    (r"cross_level\.convtrans\.(.+)", r"decoder.cross.up_fusion.\1"),
    (r"refineHead\.head\.(\d+)\.conv\.(.+)", r"decoder.refine.trunk.convs.\1.\2"),
    (r"refineHead\.norm\.(\d+)\.(.+)", r"decoder.refine.trunk.norms.\1.\2"),
    (r"refineHead\.s_offset_head\.conv\.(.+)", r"decoder.refine.start.\1"),
    (r"refineHead\.e_offset_head\.conv\.(.+)", r"decoder.refine.end.\1"),
    (r"refineHead\.prob_head\.conv\.(.+)", r"decoder.refine.factor.\1"),
)
_UNUSED = re.compile(r"refineHead\.scale\.\d+\.scale")  # parameters that no computation of the released code reads


def translate_key(key: str) -> str | None:
    """Our name of a released parameter, `name[i]` for element i of one of ours; None for those nothing reads.

    Raises CheckpointError for a key that is not of the released CLTDR-GMG code.
    """
    if _UNUSED.fullmatch(key):
        return None
    for pattern, replacement in _RULES:
        match = re.fullmatch(pattern, key)
        if match:
            ours = match.expand(replacement)
            return re.sub(r"<(\w+)>", lambda name: _TRUNK[name.group(1)], ours)
    raise CheckpointError(f"{key} is no parameter of the released CLTDR-GMG code")


def translate_tensor(key: str, value: Tensor) -> Tensor:
    """A released parameter (or its gradient) in our layout: per-channel ones flat, complex ones [D, 2]."""
    if re.search(r"\.[wb][12]$", key):
        return value.reshape(2, -1).t().contiguous()
    per_channel = re.search(r"norm\w*\.\d+\.(weight|bias)$|\.ln\.(weight|bias)$|drop_path_\w+\.scale$", key)
    return value.reshape(-1) if per_channel else value


def translate_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A released state dictionary in our names and layout. Raises CheckpointError for foreign keys."""
    ours: dict[str, Tensor] = {}
    elements: dict[str, dict[int, Tensor]] = {}
    for key, value in state.items():
        name = translate_key(key.removeprefix("module."))
        if name is None:
            continue
        if name.endswith("]"):
            name, _, index = name.removesuffix("]").rpartition("[")
            elements.setdefault(name, {})[int(index)] = value
        else:
            ours[name] = translate_tensor(key, value)
    for name, values in elements.items():
        ours[name] = torch.stack([values[index].reshape(()) for index in sorted(values)])
    return ours


def read_released(path: str | Path) -> dict[str, Tensor]:
    """Averaged weights (`state_dict_ema`, else `state_dict`) of a released `.pth.tar`, in our names and layout.

    Nothing in the file is executed. Raises CheckpointError for a file that holds more than tensors or other keys.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for broken or hostile files, none of which is ours to fix
        raise CheckpointError(f"{path}: not a plain PyTorch checkpoint: {str(error).splitlines()[0][:200]}") from error
    state = content.get("state_dict_ema", content.get("state_dict")) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no state_dict_ema or state_dict")
    return translate_state(state)


def translate_config(options: dict[str, Any]) -> tuple[ModelConfig, TrainingConfig, InferenceConfig]:
    """The released code's `model` options (with `train_cfg` and `test_cfg`) as our settings.

    Raises CheckpointError for options outside what CLTDR-GMG's published settings use.
    """
    fixed = {"fpn_type": "identity", "backbone_type": "SGP", "scale_factor": 2, "downsample_type": "max"}
    fixed |= {"use_trident_head": True, "embd_with_ln": True, "fpn_with_ln": True, "head_with_ln": True}
    for key, value in fixed.items():
        if options.get(key, value) != value:
            raise CheckpointError(f"{key}={options[key]} is not supported")
    training, testing = options["train_cfg"], options["test_cfg"]
    embedding, stem, branches = options["backbone_arch"]
    windows = options["n_sgp_win_size"]
    model = ModelConfig(
        classes=options["num_classes"],
        width=options["embd_dim"],
        levels=branches + 1,
        embedding_layers=embedding,
        embedding_kernel=options["embd_kernel_size"],
        position_table=options["use_abs_pe"],
        pad_length=options["max_seq_len"],
        stem_blocks=stem,
        windows=windows if isinstance(windows, int) else tuple(windows),
        mlp_width=options["sgp_mlp_dim"],
        branch_scale=1e-4 if training["droppath"] > 0 else None,
        conv_init_std=options["init_conv_vars"],
        head_width=options["head_dim"],
        head_layers=options["head_num_layers"],
        head_kernel=options["head_kernel_size"],
        boundary_kernel=options["boudary_kernel_size"],
        bins=options["num_bins"],
        class_prior=training["cls_prior_prob"],
        regression_ranges=tuple((float(low), float(high)) for low, high in options["regression_range"]),
    )
    return model, _translate_training(options), _translate_inference(testing, options)


def _translate_training(options: dict[str, Any]) -> TrainingConfig:
    training = options["train_cfg"]
    return TrainingConfig(
        max_length=options["max_seq_len"],
        input_noise=options["input_noise"],
        drop_path=training["droppath"],
        initial_loss_norm=training["init_loss_norm"],
        label_smoothing=training["label_smoothing"],
        center_sample_radius=training["center_sample_radius"] if training["center_sample"] == "radius" else None,
        regression_weight=training["loss_weight"],
        iou_weight_power=options["iou_weight_power"],
        clip_grad_norm=training["clip_grad_l2norm"] if training["clip_grad_l2norm"] > 0 else None,
    )


def _translate_inference(testing: dict[str, Any], options: dict[str, Any]) -> InferenceConfig:
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
