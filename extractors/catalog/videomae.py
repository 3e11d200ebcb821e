"""VideoMAE V2 (Wang et al. 2023), as its authors' script makes features for detection on THUMOS14 and FineAction."""

from __future__ import annotations

from tal_cli.extractors.catalog.entry import BackboneEntry, Classifier
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import WeightsSource

ZOO = "https://github.com/OpenGVLab/VideoMAEv2/blob/master/docs/MODEL_ZOO.md"
HUB = "https://huggingface.co/OpenGVLab/VideoMAE2"
LICENCE = "MIT (code repository), Apache-2.0 (on Hugging Face)"

SCRIPT = (
    "The published script resizes straight to 224x224 whatever the aspect and subtracts no mean, although training and"
    " validation use ImageNet's mean and deviation; this contract follows the script.",
    "It moves windows by 4 frames for THUMOS14 and by 16 for FineAction, at the videos' own rate; a window that the"
    " video does not fill is left out.",
)
PRETRAINED = (
    "No fine-tuned weights of this size are published: these are of the pre-trained encoder, and no published detector"
    " was trained on their features."
)
NAMELESS = "The published features name no weights file; this is the one that their script asks for."


# As the networks were fine-tuned and are validated, which is not as their features are made.
CLASSIFIER = Classifier(
    layer="head",
    classes="kinetics-710",
    settings={
        "sampling_rate": 7.5,
        "resize": "bilinear 8-bit short 224",
        "crop": "center 224x224 round-even",
        "value_range": "0..1 mean 0.485 0.456 0.406 std 0.229 0.224 0.225",
    },
)


def entry(
    name: str,
    what: str,
    channels: int,
    weights: WeightsSource,
    *notes: str,
    classifier: Classifier | None = None,
) -> BackboneEntry:
    return BackboneEntry(
        name=name,
        description=f"VideoMAE V2 {what}",
        contract=FeatureContract(
            extractor=name,
            weights_sha256=None,
            sampling_rate=None,
            max_rate=None,
            window=16,
            stride=4,
            alignment="center",
            resize="bilinear 224x224",
            crop="none",
            value_range="0..1",
            layer="last block, layer norm",
            pooling="mean over tokens",
            channels=channels,
        ),
        blueprint=f"tal_cli.extractors.backbones.videomae:{name.rpartition('-')[2].upper()}",
        weights=(weights,),
        classifier=classifier,
        notes=(*SCRIPT, *notes),
    )


def distilled(size: str) -> WeightsSource:
    file = f"vit_{size}_k710_dl_from_giant.pth"
    return WeightsSource(file=file, url=f"hf://OpenGVLab/VideoMAE2/distill/{file}", page=ZOO, licence=LICENCE)


def pretrained(size: str) -> WeightsSource:
    repository = f"OpenGVLab/VideoMAEv2-{size.title()}"
    return WeightsSource(
        file=f"videomaev2-{size}.safetensors",
        url=f"hf://{repository}/model.safetensors",
        page=f"https://huggingface.co/{repository}",
        licence="CC-BY-NC-4.0",
    )


GIANT = WeightsSource(
    file="vit_g_hybrid_pt_1200e_k710_ft.pth",
    url="hf://OpenGVLab/VideoMAE2/mae-g/vit_g_hybrid_pt_1200e_k710_ft.pth",
    page=HUB,
    licence=LICENCE,
    sha256="4c1b3fb76612bd5b767b82578833189c3fc83d351a9a25f0dcb2d9e2776ed8b3",
)

ENTRIES = (
    entry("videomaev2-s", "ViT-S/16, distilled from ViT-g on Kinetics-710", 384, distilled("s"), classifier=CLASSIFIER),
    entry("videomaev2-b", "ViT-B/16, distilled from ViT-g on Kinetics-710", 768, distilled("b"), classifier=CLASSIFIER),
    entry("videomaev2-l", "ViT-L/16, pre-trained", 1024, pretrained("large"), PRETRAINED),
    entry("videomaev2-h", "ViT-H/16, pre-trained", 1280, pretrained("huge"), PRETRAINED),
    entry("videomaev2-g", "ViT-g/14, fine-tuned on Kinetics-710", 1408, GIANT, NAMELESS, classifier=CLASSIFIER),
)
