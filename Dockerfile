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
ARG EXTRAS=flow,parquet,otio,plots,export,h5,s3
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/tal
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY docs/tal.1 docs/tal.1
COPY tal_cli tal_cli
COPY models models
COPY extractors extractors
RUN /opt/tal/bin/pip install --extra-index-url https://pypi.org/simple --index-url ${TORCH_INDEX} torch torchvision \
    && /opt/tal/bin/pip install ".[${EXTRAS}]"

FROM ${BASE}
LABEL org.opencontainers.image.title="tal" \
      org.opencontainers.image.description="Temporal action localization on raw video" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --create-home --uid 1000 tal && mkdir /work /home/tal/weights && chown tal /work /home/tal/weights
COPY --from=build /opt/tal /opt/tal
ENV PATH=/opt/tal/bin:$PATH TAL_HOME=/home/tal/weights NUMBA_CACHE_DIR=/tmp/numba
USER tal
WORKDIR /work
VOLUME /home/tal/weights
ENTRYPOINT ["tal"]
CMD ["--help"]
