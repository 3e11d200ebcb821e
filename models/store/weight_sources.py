"""Sources of the weights that papers' authors publish for a recipe. Imports no torch."""

from __future__ import annotations

from tal_cli.extractors.files.packaged import I3D_KINETICS, TRANSNET
from tal_cli.extractors.files.weights import WeightsSource
from tal_cli.models.recipe.networks import NETWORKS

ACTIONFORMER = "https://github.com/happyharrycn/actionformer_release"
ADATAD = "https://github.com/sming256/OpenTAD/tree/main/configs/adatad"
VIDEOMAE = "CC-BY-NC-4.0 (VideoMAE), Apache-2.0 (OpenTAD)"
VIDEOMAE_V2 = "unclear: OpenTAD says that VideoMAE V2 may not be passed on; Apache-2.0 (OpenTAD)"
INTERNVIDEO = "none stated (InternVideo's network), Apache-2.0 (OpenTAD)"
POINTTAD = "https://github.com/MCG-NJU/PointTAD"
TRIDET = "https://drive.google.com/drive/folders/1eVROG6z-vHtm4AnXsh4N8ruUKkAidLqZ"
CLTDR = "https://drive.google.com/drive/folders/1H4VMqzX2gOnINy7lIMiwpy-tGmj2Yn6c"


def _actionformer(name: str, identifier: str) -> WeightsSource:
    return WeightsSource(file=f"{name}.tar.gz", url=f"gdrive://{identifier}", page=ACTIONFORMER, licence="MIT")


def _adatad(name: str, identifier: str, licence: str) -> WeightsSource:
    return WeightsSource(file=f"{name}.pth", url=f"gdrive://{identifier}", page=ADATAD, licence=licence)


def _by_hand(name: str, page: str, licence: str) -> WeightsSource:
    return WeightsSource(file=f"{name}.pth.tar", url=None, page=page, licence=licence)


ADATAD_FILES = {
    "adatad-thumos-s": ("1_noys-dyuQFGlXigGzW_sLB7I4Q4-zst", VIDEOMAE),
    "adatad-thumos-b": ("1KpZjPDb7W3rTIRkOYbe_ViQNElVI7ZO9", VIDEOMAE),
    "adatad-thumos-l": ("1yijRNA4zeoYnFtTk3N7NyCClihvXFAYK", VIDEOMAE),
    "adatad-thumos-h": ("1Tpl6GTuWhclZ9b5t6Kswori7az51-DFQ", VIDEOMAE),
    "adatad-thumos-g": ("1_pfJRKnjkLzW4EOQNpms1bMJIeMJXpMC", VIDEOMAE_V2),
    "adatad-thumos-g-160": ("1fpac_NXmQBR-g2Lau5FE49LBePPprgMY", VIDEOMAE_V2),
    "adatad-thumos-g-side": ("1sIH9D4hpqoUiwNSMa16JoHwn1KZG_IIc", VIDEOMAE_V2),
    "adatad-multithumos-s": ("1rpNh10Atpb6pNyltcm-1CoKh9uZHCaua", VIDEOMAE),
    "adatad-multithumos-b": ("17-TxzyppIsi2J9NeYQNgJVqKMWM_E1jk", VIDEOMAE),
    "adatad-multithumos-l": ("1Kvywb_gOy8CLLFqLHTWklp677vXM7GFo", VIDEOMAE),
    "adatad-multithumos-h": ("1YkufQ9BJs-CYOdwd2j8A9t4PfX5wIQtG", VIDEOMAE),
    "adatad-multithumos-g": ("1o-w_JYJf-EY1zxKpYIRf_9NT5IYEQa70", VIDEOMAE_V2),
    "adatad-charades-s": ("1ylK8qkX1-Vz5aiU7yiatGGUETam_4qvb", VIDEOMAE),
    "adatad-charades-b": ("1OZ0-89fs4429CDjatxzx0Uoa021hxjAY", VIDEOMAE),
    "adatad-charades-l": ("1U6xSSatrRziA1CqzevYSR0-4L0nrbKFG", VIDEOMAE),
    "adatad-charades-h": ("1WyxiJm3s0UbfLPso6XQpRtqZDxQL0XAZ", VIDEOMAE),
    "adatad-charades-g": ("1agp_aTzqpMq4CQUtSIPSLlY2PSfDxoI-", VIDEOMAE_V2),
    "adatad-activitynet-l": ("1VYAvDrc7O7W4hDmUjjE6y32WmVNQ4ZR_", VIDEOMAE),
    "adatad-epic-noun": ("17k3f6wirqniLTjKOsIXbfqJPA_iLb88E", INTERNVIDEO),
    "adatad-epic-verb": ("16Hq3sHu0S97Ge2AewHT6DOaHSo0TqIlx", INTERNVIDEO),
}

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
    **{name: _adatad(name, *facts) for name, facts in ADATAD_FILES.items()},
    "pointtad-multithumos-i3d": _by_hand("pointtad-multithumos-i3d", POINTTAD, "Apache-2.0"),
    "pointtad-charades-i3d": _by_hand("pointtad-charades-i3d", POINTTAD, "Apache-2.0"),
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
