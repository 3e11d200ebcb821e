"""Sources of the weights that papers' authors publish for a recipe. Imports no torch."""

from __future__ import annotations

from tal_cli.extractors.files.packaged import I3D_KINETICS, TRANSNET
from tal_cli.extractors.files.weights import WeightsSource
from tal_cli.models.recipe.networks import NETWORKS

ACTIONFORMER = "https://github.com/happyharrycn/actionformer_release"
POINTTAD = "https://github.com/MCG-NJU/PointTAD"
TRIDET = "https://drive.google.com/drive/folders/1eVROG6z-vHtm4AnXsh4N8ruUKkAidLqZ"
CLTDR = "https://drive.google.com/drive/folders/1H4VMqzX2gOnINy7lIMiwpy-tGmj2Yn6c"


def _actionformer(name: str, identifier: str) -> WeightsSource:
    return WeightsSource(file=f"{name}.tar.gz", url=f"gdrive://{identifier}", page=ACTIONFORMER, licence="MIT")


def _by_hand(name: str, page: str, licence: str) -> WeightsSource:
    return WeightsSource(file=f"{name}.pth.tar", url=None, page=page, licence=licence)


# By recipe. ActionFormer's files are archives of a whole training run; TemporalMaxer's and ActionMamba's authors
# publish none.
SOURCES: dict[str, WeightsSource] = {
    "kinetics": I3D_KINETICS,
    "people": I3D_KINETICS,
    "transnetv2": TRANSNET,
    **{name: entry.weights[0] for name, entry in NETWORKS.items()},
    "actionformer-thumos-i3d": _actionformer("actionformer-thumos-i3d", "1isG3bc1dG5-llBRFCivJwz_7c_b0XDcY"),
    "actionformer-activitynet-tsp": _actionformer("actionformer-activitynet-tsp", "1JKh3w14ngAjgzuuP22BnjhkhIcBSqteJ"),
    "actionformer-activitynet-i3d": _actionformer("actionformer-activitynet-i3d", "152dw2JDoNPssSnaQDaNolQUSFgcHlxe3"),
    "actionformer-epic-verb": _actionformer("actionformer-epic-verb", "1Ta4ggKSj2YcszSrDbePlHe1ECF1CFKK4"),
    "actionformer-epic-noun": _actionformer("actionformer-epic-noun", "1OTlxeiWj8JE9n1-LsRYogHmqgUdsE5PR"),
    "pointtad-multithumos-i3d": _by_hand("pointtad-multithumos-i3d", POINTTAD, "Apache-2.0"),
    **{
        name: _by_hand(name, TRIDET, "MIT")
        for name in (
            "tridet-activitynet-tsp",
            "tridet-epic-noun",
            "tridet-epic-verb",
            "tridet-hacs-i3d",
            "tridet-hacs-slowfast",
            "tridet-thumos-i3d",
        )
    },
    **{
        name: _by_hand(name, CLTDR, "none stated")
        for name in (
            "activitynet-tsp",
            "epic-noun",
            "epic-verb",
            "hacs-i3d",
            "hacs-slowfast",
            "multithumos-i3d",
            "multithumos-i3d-rgb",
            "multithumos-videomae",
            "thumos-i3d",
            "thumos-internvideo2",
            "thumos-videomae",
        )
    },
}
