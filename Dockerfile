# The training image, the same for every remote run and for `--infra docker`. Build it with `runner image build`, or
# by hand (docker or podman):
#
#   docker build --build-arg ACCELERATOR=cuda --tag runner:cuda .
#
# ACCELERATOR names a lock in images/. BASE_IMAGE is any Debian 12: the CUDA libraries come with the Python packages, and
# the driver from the machine. docs/image.md says how to use another package index.
#
# The stages `torch`, `packages` and `project` each fill an environment of the same path with their part only; the image
# is these parts laid over one another. So a layer is sent again only when its own part has changed, and neither pip's
# cache nor what builds is ever in one.
ARG BASE_IMAGE=debian:bookworm-slim
ARG ACCELERATOR=cuda


# -- what is there besides Python packages -----------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS system
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# python3 runs runs; tini is the process 1 that passes signals on and reaps children. The others are what SkyPilot
# installs into a docker image that lacks them (a minute at each start of a machine): its packages, by its names.
# Versions are Debian's of the day, since a Debian mirror keeps no old ones; the label and the SBOM say which they are.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      bash ca-certificates procps python3 sudo tini \
      curl fuse netcat-openbsd openssh-client openssh-server patch pciutils python3-pip rsync wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /usr/share/doc/* /usr/share/man/* \
# Host keys that everybody can pull are no secret: each container makes its own when its ssh server is started.
 && rm -f /etc/ssh/ssh_host_* \
 && echo 'ssh-keygen -A > /dev/null' >> /etc/default/ssh \
# For who may not be root. SkyPilot needs root, or sudo without a password.
 && useradd --create-home --uid 1000 --shell /bin/bash runner \
 && echo 'runner ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/runner \
 && ln -s /opt/venv/bin/runner /usr/local/bin/runner


# -- what installs; nothing of it reaches the image --------------------------------------------------------------------
FROM system AS installer
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# `strip`, for trim.sh, and a compiler, for stand-ins.sh.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends binutils gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --without-pip /opt/venv
COPY images/trim.sh /opt/

FROM installer AS pins
ARG ACCELERATOR
COPY images/${ACCELERATOR}.lock /locks/all.lock
# What changes once in a few months and weighs gigabytes, what the target `devel` has besides, and the rest.
RUN grep --extended-regexp '^(torch|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==' /locks/all.lock > /locks/torch.lock \
 && { grep --extended-regexp '^(triton|nvidia-(cufft|curand|(cudnn|cusparselt|nvshmem)-cu[0-9]+))==' /locks/all.lock || true; } \
      > /locks/devel.lock \
 && grep --invert-match --line-regexp --fixed-strings --file=/locks/torch.lock --file=/locks/devel.lock \
      /locks/all.lock > /locks/packages.lock

FROM installer AS torch
COPY images/stand-ins.sh /opt/
COPY --from=pins /locks/torch.lock /locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-deps --requirement /locks/torch.lock \
# For the target `devel`: what torch.compile writes in C++ includes these.
 && mkdir /opt/headers && cp --parents --recursive /opt/venv/lib/python3*/site-packages/torch/include /opt/headers \
 && bash /opt/stand-ins.sh && bash /opt/trim.sh

FROM installer AS packages
COPY images/trim-llama-cpp.sh /opt/
COPY --from=pins /locks/packages.lock /locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-deps --requirement /locks/packages.lock \
 && bash /opt/trim-llama-cpp.sh && bash /opt/trim.sh

FROM installer AS project
WORKDIR /build
COPY --from=pins /locks/packages.lock /locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv --without-pip /opt/build \
 && pip --python /opt/build/bin/python install --constraint /locks/packages.lock hatchling
COPY pyproject.toml README.md LICENSE ./
COPY images/cpu.lock images/cuda.lock images/
COPY jobs jobs
COPY src src
RUN pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist . \
 && pip --python /opt/venv/bin/python install --no-deps --no-index /dist/*.whl


# -- the image ---------------------------------------------------------------------------------------------------------
FROM system AS image
# Not NVIDIA_VISIBLE_DEVICES: who starts the container says which GPUs it gets.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
COPY --from=torch /opt/venv /opt/venv
COPY --from=packages /opt/venv /opt/venv
COPY --from=project /opt/venv /opt/venv
# Last, so that a new commit changes nothing but labels and the layer above.
ARG ACCELERATOR
ARG VERSION=unknown
ARG REVISION=unknown
ARG LOCK_DIGEST=unknown
LABEL org.opencontainers.image.title="runner" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      runner.accelerator="${ACCELERATOR}" \
      runner.lock="${LOCK_DIGEST}"
# -P: a `datasets.py` in the working directory must not be taken for the library.
ENTRYPOINT ["/usr/bin/tini", "--", "/opt/venv/bin/python", "-P", "-m", "runner.train.entrypoint"]


# -- the image, with what compiles while it trains, and all of torch's libraries: `--target devel` ----------------------
FROM image AS devel
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc g++ libc6-dev python3-dev \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /usr/share/doc/* /usr/share/man/*
COPY --from=torch /opt/headers /
COPY --from=pins /locks/devel.lock /opt/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --force-reinstall --requirement /opt/devel.lock

# What is built where no target is named.
FROM image
