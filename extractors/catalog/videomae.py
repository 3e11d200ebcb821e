"""VideoMAE V2 (Wang et al. 2023), as its authors' script makes features for detection on THUMOS14 and FineAction."""

from __future__ import annotations

from dataclasses import replace

from tal_cli.extractors.catalog.entry import CHUNKED, BackboneEntry, Classifier
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


IMAGENET = "mean 0.485 0.456 0.406 std 0.229 0.224 0.225"
DENSE_NOTES = (
    "A pass takes 16 frames, which are 32 of a video at 15 frames per second, and gives a row for every 2: an eighth of"
    " the passes that windows of 16 frames every 4 need for as many rows.",
    "Its values differ from those of windows: a row is the mean over the places of one time step. AdaTAD's own rows"
    " have no norm (`--set 'layer=last block'`); it reads every 4th frame at the videos' own rate, of 160 pixels.",
    "The position table of 224 pixels is resized to other sizes; what is left of them beyond whole patches is unread.",
)

# As the networks were fine-tuned and are validated, which is not as their features are made.
CLASSIFIER = Classifier(
    layer="head",
    classes="kinetics-710",
    settings={
        "sampling_rate": 7.5,
        "resize": "bilinear 8-bit short 224",
        "crop": "center 224x224 round-even",
        "value_range": f"0..1 {IMAGENET}",
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
        description=f"{'VideoMAE V2' if name.startswith('videomaev2') else 'VideoMAE'} {what}",
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
        blueprint=f"tal_cli.extractors.backbones.vit.videomae:{name.rpartition('-')[2].upper()}",
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


def dense(windows: BackboneEntry) -> BackboneEntry:
    """The same network and weights over chunks, as AdaTAD reads it (Liu et al. 2024, arXiv 2311.17241)."""
    name = f"{windows.name}-dense"
    return BackboneEntry(
        name=name,
        description=f"{windows.description}, one pass for 8 rows of 2 frames each",
        contract=replace(
            windows.contract,
            extractor=name,
            sampling_rate=7.5,
            window=2,
            stride=2,
            resize="bilinear 8-bit short 224",
            crop="center 224x224",
            value_range=f"0..1 {IMAGENET}",
            pooling="mean over places",
            chunk=16,
            overlap=0,
        ),
        blueprint=f"{windows.blueprint.partition(':')[0]}:DENSE_{windows.blueprint.rpartition(':')[2]}",
        weights=windows.weights,
        settable=CHUNKED,
        choices={"layer": ("last block",), "pooling": ("maximum over places", "mean over places, interpolated")},
        notes=DENSE_NOTES,
    )


WINDOWS = (
    entry("videomaev2-s", "ViT-S/16, distilled from ViT-g on Kinetics-710", 384, distilled("s"), classifier=CLASSIFIER),
    entry("videomaev2-b", "ViT-B/16, distilled from ViT-g on Kinetics-710", 768, distilled("b"), classifier=CLASSIFIER),
    entry("videomaev2-l", "ViT-L/16, pre-trained", 1024, pretrained("large"), PRETRAINED),
    entry("videomaev2-h", "ViT-H/16, pre-trained", 1280, pretrained("huge"), PRETRAINED),
    entry("videomaev2-g", "ViT-g/14, fine-tuned on Kinetics-710", 1408, GIANT, NAMELESS, classifier=CLASSIFIER),
)
# VideoMAE as MMAction2 or OpenTAD converted it: what AdaTAD's adapters were published on.
FIRST = "CC-BY-NC-4.0 (VideoMAE)"
OPENTAD = "https://github.com/sming256/OpenTAD/tree/main/configs/adatad"
MMACTION_FILES = "https://download.openmmlab.com/mmaction/v1.0/recognition/videomae"
MMACTION_PAGE = "https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/videomae"
TRACE = "https://github.com/KunmingS/TRACE/releases"


def converted(size: str, digits: str) -> WeightsSource:
    """A file of MMAction2's, whose name ends in the first digits of its digest."""
    file = f"vit-{size}-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-{digits}.pth"
    return WeightsSource(file=file, url=f"{MMACTION_FILES}/{file}", page=MMACTION_PAGE, licence=FIRST, sha256=digits)


def on_drive(file: str, identifier: str, licence: str = FIRST) -> WeightsSource:
    """A file of OpenTAD's."""
    return WeightsSource(file=file, url=f"gdrive://{identifier}", page=OPENTAD, licence=licence)


SMALL = WeightsSource(
    file="vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth",
    url=f"{TRACE}/download/weights/vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth",
    page=f"{TRACE}/tag/weights",
    licence=f"{FIRST}; a copy by a third party",
    sha256="4b96b7f403f8ae0396437855b785af6a0064f11a9d76e2268e5a76a04e0de251",
    size=90605819,
)
HUGE = on_drive("vit-huge-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth", "1wWXs7xpkVkQ2cJnvRVKnWZ86QswZC1UI")
# InternVideo's ViT-L, fine-tuned on clips of EPIC-KITCHENS-100.
EPIC_LICENCE = "none stated (OpenTAD's code is Apache-2.0)"
NOUNS = on_drive("vit-large-p16_videomae-epic_noun.pth", "1nRuzJI4ej90vFsKCBSugRVOmxrR8urwW", EPIC_LICENCE)
VERBS = on_drive("vit-large-p16_videomae-epic_verb.pth", "1h7oLiNN5LTXau4HWmmzS_ekvuNdZkp-b", EPIC_LICENCE)
ON_KINETICS = "fine-tuned on Kinetics-400"
KINETICS = (
    entry("videomae-s", f"ViT-S/16, {ON_KINETICS}", 384, SMALL),
    entry("videomae-b", f"ViT-B/16, {ON_KINETICS}", 768, converted("base", "860a3cd3")),
    entry("videomae-l", f"ViT-L/16, {ON_KINETICS}", 1024, converted("large", "229dbb03")),
    entry("videomae-h", f"ViT-H/16, {ON_KINETICS}", 1280, HUGE),
    entry("videomae-epic-noun-l", "ViT-L/16 of InternVideo, fine-tuned on EPIC-KITCHENS-100's nouns", 1024, NOUNS),
    entry("videomae-epic-verb-l", "ViT-L/16 of InternVideo, fine-tuned on EPIC-KITCHENS-100's verbs", 1024, VERBS),
)
ENTRIES = (*WINDOWS, *map(dense, (*WINDOWS, *KINETICS)))
