# tal in a container, as a user without rights. No ffmpeg program is needed: its libraries come with PyAV.
#
#   docker build -t tal .                                                                             for the CPU
#   docker build -t tal:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .         for CUDA 12.6
#   docker run --rm -v "$PWD:/work" tal detect holiday.mp4
#
# CUDA's libraries come with that build of PyTorch, so both images have the same small base; the host needs its driver
# and the NVIDIA Container Toolkit (`docker run --gpus all`).
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# From that index alone, which has all that PyTorch needs: beside another index, a newer build of the other kind may win.
RUN python -m venv /opt/tal && /opt/tal/bin/pip install --index-url ${TORCH_INDEX} torch torchvision
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY docs/tal.1 docs/tal.1
COPY scripts/hatch_build.py scripts/hatch_build.py
COPY tal_cli tal_cli
COPY models models
COPY extractors extractors
ARG EXTRAS=flow,parquet,otio,plots,export,h5,s3
RUN /opt/tal/bin/pip install ".[${EXTRAS}]"

FROM ${BASE}
LABEL org.opencontainers.image.title="tal" \
      org.opencontainers.image.description="Temporal action localization on raw video" \
      org.opencontainers.image.licenses="MIT"
# Folders that any user may write to, for `docker run --user`.
RUN useradd --create-home --uid 1000 tal && install --directory --mode=1777 /work /weights
COPY --from=build /opt/tal /opt/tal
ENV PATH=/opt/tal/bin:$PATH \
    TAL_HOME=/weights \
    XDG_STATE_HOME=/tmp/state \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba
# By number, so that a cluster can see that it is not root.
USER 1000
WORKDIR /work
VOLUME /weights
ENTRYPOINT ["tal"]
CMD ["--help"]
