# The image that users would otherwise choose: PyTorch's own runtime image, with our packages installed by pip on top.
#
# It installs the packages of the `official` stage in pytorch/pytorch's Dockerfile of 2026 (its apt and pip lines), but on
# the base image of our build instead of Ubuntu 24.04, and with torch from the index instead of PyTorch's own build.
# `benchmarks/image.py` builds it.
ARG BASE_IMAGE=debian:bookworm-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS builder
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      build-essential ca-certificates git python3 python3-dev python3-pip \
 && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
# hadolint ignore=DL3013
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip3 install --no-cache-dir --ignore-installed pip setuptools wheel \
 && pip3 install --no-cache-dir ipython cmake ninja numpy pyyaml astunparse requests build uv expecttest filelock fsspec \
      hypothesis jinja2 lintrunner networkx optree psutil sympy types-dataclasses typing-extensions
COPY images/cuda.lock /locks/
# hadolint ignore=DL3013
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip3 install --no-cache-dir "$(grep --only-matching --extended-regexp '^torch==[^ ]+' /locks/cuda.lock)" torchvision torchaudio torchelastic

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS runtime
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      ca-certificates gcc libjpeg-dev libpng-dev python-is-python3 python3 python3-dev python3-pip \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED
COPY --from=builder /usr/local /usr/local

FROM runtime AS with-packages
COPY images/cuda.lock /locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    sed --null-data 's/ *\\\n */ /g' /locks/cuda.lock > /locks/lines.lock \
 && grep --invert-match --extended-regexp '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==' /locks/lines.lock > /locks/rest.lock \
 && pip3 install --no-cache-dir --no-deps --ignore-installed --requirement /locks/rest.lock
