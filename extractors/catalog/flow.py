"""Optical flow methods that need trained weights. Importing this loads no torch."""

from __future__ import annotations

from tal_cli.extractors.files.weights import WeightsSource

# torchvision's port of the file that the method's authors trained on FlyingChairs, FlyingThings3D, Sintel, KITTI and
# HD1K, the one that the public I3D extractors use.
RAFT = WeightsSource(
    file="raft_large_C_T_SKHT_V1-0b8c9e55.pth",
    url="https://download.pytorch.org/models/raft_large_C_T_SKHT_V1-0b8c9e55.pth",
    page="https://docs.pytorch.org/vision/stable/models/raft.html",
    licence="BSD-3-Clause (torchvision and princeton-vl/RAFT)",
    sha256="0b8c9e55",
    size=None,
)

FLOW_WEIGHTS: dict[str, WeightsSource] = {"raft": RAFT}
