"""InternVideo2 (Wang et al. 2024). How its published features were made is only partly known; see the notes."""

from __future__ import annotations

from itertools import product

from tal_cli.extractors.catalog.entry import PREPARED, BackboneEntry
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import WeightsSource

ZOO = "https://github.com/OpenGVLab/InternVideo/blob/main/InternVideo2/single_modality/MODEL_ZOO.md"
LAYERS = tuple(f"block -{back}, {gelu} GELU" for gelu, back in product(("tanh", "exact"), range(1, 8)))
POOLINGS = ("mean over patches", "mean over all tokens")

UNSETTLED = (
    "Published: 16 frames at the video's own rate; stride 4 for THUMOS14 and FineAction, 8 for ActivityNet and HACS (a"
    " readme says 16, the configurations and file names 8).",
    "Layer, inferred: the paper's text says the 7th layer, its appendix counts from the end, -1 to -7. Names of files"
    " end in _6 for ActivityNet and HACS and in _5 for FineAction (1B), and the scores published with them equal the"
    " appendix's rows -6 and -5; THUMOS14's names carry no number, its score equals row -7. So, most likely, block -7"
    " for THUMOS14 and block -5 of the 1B network for FineAction.",
    "Not published: whether the mean takes in the class token (`--set pooling='mean over all tokens'` does), whether a"
    " norm is applied, how frames were resized and cropped, and in which precision. Preprocessing here is that of"
    " the published validation: that extraction used the same is an assumption.",
    "Training ran with the fused MLP of flash-attn, whose GELU is the tanh approximation; the plain code has the exact"
    " one (`--set layer='block -7, exact GELU'`). Features differ by about 1e-4.",
)
UNPUBLISHED = (
    "The 6B weights behind the published features (fine-tuned on Kinetics) are not public: the model zoo lists them as"
    " to be determined. Features of the public stage-2 weights (internvideo2-6b-stage2) are others, and a detector"
    " trained on the published ones cannot be expected to work on them.",
)
STAGE_2 = (
    "Trained with 4 frames: positions are stretched along time to 16, as the published fine-tuning code does.",
    "No published detector was trained on these features.",
)


def entry(
    name: str,
    what: str,
    *,
    channels: int,
    block: int,
    blueprint: str,
    weights: WeightsSource,
    notes: tuple[str, ...] = (),
) -> BackboneEntry:
    return BackboneEntry(
        name=name,
        description=f"InternVideo2 {what}",
        contract=FeatureContract(
            extractor=name,
            weights_sha256=None,
            sampling_rate=None,
            max_rate=None,
            window=16,
            stride=4,
            alignment="center",
            resize="bilinear 8-bit short 224",
            crop="center 224x224 round-even",
            value_range="0..1 mean 0.485 0.456 0.406 std 0.229 0.224 0.225",
            layer=f"block {block}, tanh GELU",
            pooling=POOLINGS[0],
            channels=channels,
        ),
        blueprint=f"tal_cli.extractors.backbones.vit.internvideo2:{blueprint}",
        weights=(weights,),
        # A file's positions are for its own number of frames; those here are stretched to 16.
        settable=tuple(key for key in PREPARED if key != "window"),
        choices={"layer": LAYERS, "pooling": POOLINGS},
        notes=(*notes, *UNSETTLED),
    )


ENTRIES = (
    entry(
        "internvideo2-1b",
        "1B, fine-tuned on Kinetics-400 with 16 frames",
        channels=1408,
        block=-5,
        blueprint="ONE_BILLION",
        weights=WeightsSource(
            file="internvideo2_1b_k710_k400_f16.pth",
            url="hf://OpenGVLab/InternVideo2-Stage1-1B-224p-K400/1B_ft_k710_ft_k400_f16.pth",
            page="https://huggingface.co/OpenGVLab/InternVideo2-Stage1-1B-224p-K400",
            licence="Apache-2.0",
        ),
    ),
    entry(
        "internvideo2-6b",
        "6B, fine-tuned on Kinetics (weights not public)",
        channels=3200,
        block=-7,
        blueprint="SIX_BILLION",
        weights=WeightsSource(file="internvideo2_6b_k400.pth", url=None, page=ZOO, licence="Apache-2.0 (code)"),
        notes=UNPUBLISHED,
    ),
    entry(
        "internvideo2-6b-stage2",
        "6B, the public weights of its second training stage",
        channels=3200,
        block=-7,
        blueprint="SIX_BILLION",
        weights=WeightsSource(
            file="internvideo2-6b-stage2/model.safetensors.index.json",
            url="hf://OpenGVLab/InternVideo2-Stage2_6B/model.safetensors.index.json",
            page="https://huggingface.co/OpenGVLab/InternVideo2-Stage2_6B",
            licence="MIT",
        ),
        notes=STAGE_2,
    ),
)
