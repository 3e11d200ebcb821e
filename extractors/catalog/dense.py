"""V-JEPA 2, V-JEPA 2.1 and VideoPrism: each pass over a chunk of frames gives a row per time step."""

from __future__ import annotations

from tal_cli.extractors.catalog.entry import CHUNKED, BackboneEntry
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import WeightsSource

IMAGENET = "mean 0.485 0.456 0.406 std 0.229 0.224 0.225"
FOUR = "four blocks, layer norms"
MEAN, MAX = "mean over places", "maximum over places"
VJEPA_PAGE = "https://github.com/facebookresearch/vjepa2"
VJEPA_FILES = "https://dl.fbaipublicfiles.com/vjepa2"
PRISM_PAGE = "https://github.com/google-deepmind/videoprism"

VJEPA_NOTES = (
    "A pass takes 16 frames and gives a row for every 2. `--set chunk=64` has it see as many frames as it was trained"
    " on last; `--set overlap=8` leaves out the rows at either end of a pass.",
    "It was trained at 4 frames per second; published probes read 16 frames at about 8 per second.",
    "Preprocessing is that of transformers. The hub's own crops a pixel further right where half a pixel remains"
    " (`--set 'crop=center 256x256 round-even'`), and resizes frames given as arrays without antialias (`--set"
    " 'resize=bilinear 8-bit short 292'`).",
)
LEVELS_NOTE = (
    "`--set 'layer=four blocks, layer norms'` gives the outputs of four blocks side by side, shallow first, four times"
    " as many channels. Whether the first three norms of B and L were trained is not known."
)
PRISM_NOTES = (
    "A pass takes {frames} frames and gives a row for each. No rate is published: it was trained on frames spread"
    " evenly over clips of some seconds.",
    "Preprocessing is that of transformers, which squashes frames to 288x288; the original demo resizes them by Lanczos"
    " and wants square ones.",
    "`--set 'layer=spatial part, layer norm'` gives rows that see one frame each.",
)


def vjepa(
    name: str,
    what: str,
    channels: int,
    blueprint: str,
    weights: WeightsSource,
    *notes: str,
    side: int = 256,
) -> BackboneEntry:
    """One network, reading images of `side` pixels."""
    second = name.startswith("vjepa2.1")
    return BackboneEntry(
        name=name,
        description=f"V-JEPA {'2.1' if second else '2'} {what}, one pass for 8 rows of 2 frames each",
        contract=FeatureContract(
            extractor=name,
            weights_sha256=None,
            sampling_rate=8.0,
            max_rate=None,
            window=2,
            stride=2,
            alignment="center",
            resize=f"bilinear antialias 8-bit short {side * 256 // 224}",
            crop=f"center {side}x{side}",
            value_range=f"0..1 {IMAGENET}",
            layer="last block, layer norm",
            pooling=MEAN,
            channels=channels,
            chunk=16,
            overlap=0,
        ),
        blueprint=f"tal_cli.extractors.backbones.vit.vjepa:{blueprint}",
        weights=(weights,),
        settable=CHUNKED,
        choices={"pooling": (MAX,), **({"layer": (FOUR,)} if second else {})},
        layer_channels={FOUR: 4 * channels},
        notes=(*VJEPA_NOTES, *([LEVELS_NOTE] if second else ()), *notes),
    )


def vjepa_file(file: str, size: int | None = None) -> WeightsSource:
    """A file of the authors, with predictor and optimiser in it."""
    return WeightsSource(
        file=f"vjepa2_{file}" if not file.startswith("vjepa2") else file,
        url=f"{VJEPA_FILES}/{file}",
        page=VJEPA_PAGE,
        licence="MIT",
        size=size,
    )


# The encoder alone, in a release of another project: a quarter of the authors' file, and with a known digest.
VJEPA_L = WeightsSource(
    file="vjepa2_vitl_encoder.pth",
    url="https://github.com/KunmingS/TRACE/releases/download/weights/vjepa2_vitl_encoder.pth",
    page="https://github.com/KunmingS/TRACE/releases/tag/weights",
    licence="MIT (V-JEPA 2); a copy by a third party",
    sha256="3fa5eed32ea68b1904a6144e14ec6e42947074b63b2405cfd094c71f5d1440f0",
    size=1215541535,
)


VJEPA_L_NOTE = (
    f"The weights are a copy of the encoder alone, a quarter of the authors' file, whose digest is known. That file,"
    f" {VJEPA_FILES}/vitl.pt, and facebook/vjepa2-vitl-fpc64-256 on Hugging Face fit too, with --weights."
)


def prism(name: str, what: str, channels: int, frames: int, blueprint: str, weights: WeightsSource) -> BackboneEntry:
    """One network of VideoPrism."""
    return BackboneEntry(
        name=name,
        description=f"VideoPrism's video encoder, {what}, one pass for {frames} rows of a frame each",
        contract=FeatureContract(
            extractor=name,
            weights_sha256=None,
            sampling_rate=4.0,
            max_rate=None,
            window=1,
            stride=1,
            alignment="center",
            resize="bicubic antialias 8-bit 288x288",
            crop="none",
            value_range="0..1",
            layer="temporal part, layer norm",
            pooling=MEAN,
            channels=channels,
            chunk=frames,
            overlap=0,
        ),
        blueprint=f"tal_cli.extractors.backbones.vit.videoprism:{blueprint}",
        weights=(weights,),
        settable=CHUNKED,
        choices={"layer": ("spatial part, layer norm",), "pooling": (MAX,)},
        notes=tuple(note.format(frames=frames) for note in PRISM_NOTES),
    )


def prism_file(size: str, file: str) -> WeightsSource:
    """A file of the authors: an archive of numpy's, without code."""
    repository = f"google/videoprism-{size}"
    return WeightsSource(
        file=file,
        url=f"hf://{repository}/{file}",
        page=f"https://huggingface.co/{repository}",
        licence="CC-BY-4.0 (weights), Apache-2.0 (code)",
    )


ENTRIES = (
    vjepa(
        "vjepa2.1-b",
        "ViT-B/16, distilled from ViT-G",
        768,
        "VJEPA21_B",
        vjepa_file("vjepa2_1_vitb_dist_vitG_384.pt", 1664223428),
    ),
    vjepa(
        "vjepa2.1-l", "ViT-L/16, distilled from ViT-G", 1024, "VJEPA21_L", vjepa_file("vjepa2_1_vitl_dist_vitG_384.pt")
    ),
    vjepa("vjepa2.1-g", "ViT-g/16", 1408, "VJEPA21_G", vjepa_file("vjepa2_1_vitg_384.pt"), side=384),
    vjepa("vjepa2.1-gigantic", "ViT-G/16", 1664, "VJEPA21_GIGANTIC", vjepa_file("vjepa2_1_vitG_384.pt"), side=384),
    vjepa("vjepa2-l", "ViT-L/16", 1024, "VJEPA2_L", VJEPA_L, VJEPA_L_NOTE),
    vjepa("vjepa2-h", "ViT-H/16", 1280, "VJEPA2_H", vjepa_file("vith.pt")),
    vjepa("vjepa2-g", "ViT-g/16", 1408, "VJEPA2_G", vjepa_file("vitg.pt")),
    vjepa("vjepa2-g-384", "ViT-g/16, trained at 384 pixels", 1408, "VJEPA2_G", vjepa_file("vitg-384.pt"), side=384),
    prism(
        "videoprism-b",
        "ViT-B/18",
        768,
        16,
        "B",
        prism_file("base-f16r288", "flax_base_f16r288_repeated.npz"),
    ),
    prism(
        "videoprism-l",
        "ViT-L/18",
        1024,
        8,
        "L",
        prism_file("large-f8r288", "flax_large_f8r288_repeated.npz"),
    ),
)
