# The training image, the same for every remote run and for `--infra docker`. Build it with `runner image build`, or
# by hand (docker or podman):
#
#   docker build --build-arg ACCELERATOR=cuda --tag runner:cuda .
#
# ACCELERATOR names a lock in images/. BASE_IMAGE is any Debian 12: the Python packages bring the CUDA libraries, and the
# machine brings the driver. The digest is that of August 2026 in docker-library/repo-info, where Docker Hub's official
# images are recorded; Debian's packages are brought up to date below. docs/image.md says how to use another package index.
#
# The stages `torch`, `packages` and `project` each install only their part into an environment at the same path; the
# image copies these parts over one another. So a layer is pushed again only if its own part has changed, and no layer
# contains pip's cache or build tools.
ARG BASE_IMAGE=debian:bookworm-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241
ARG ACCELERATOR=cuda


# -- the system: everything but Python packages -------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS system
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# python3 runs training; tini is process 1, which passes signals on and reaps children. SkyPilot would install the
# others into a docker image that lacks them, which takes a minute at each start of a machine: these are its packages,
# by its names. Versions are the current ones of Debian, since a Debian mirror keeps no old ones; the SBOM lists them.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get upgrade --yes --no-install-recommends \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      bash ca-certificates procps python3 sudo tini \
      curl fuse netcat-openbsd openssh-client openssh-server patch pciutils python3-pip rsync wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /usr/share/doc/* /usr/share/man/* \
# Host keys in a public image would not be secret: each container generates its own when its ssh server starts.
 && rm -f /etc/ssh/ssh_host_* \
 && echo 'ssh-keygen -A > /dev/null' >> /etc/default/ssh \
# A user for containers that must not run as root. SkyPilot needs root, or sudo without a password.
 && useradd --create-home --uid 1000 --shell /bin/bash runner \
 && echo 'runner ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/runner \
 && ln -s /opt/venv/bin/runner /usr/local/bin/runner


# -- the installer; nothing of it is in the image ----------------------------------------------------------------------
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
COPY images/${ACCELERATOR}.lock images/torch.lock /locks/
# Split into torch with CUDA (gigabytes that change every few months), the extras of the target `devel`, and the rest, with
# one package and its hashes a line: pip then takes no other file. Only for a CPU the index decides which torch there is.
RUN sed --null-data 's/ *\\\n */ /g; s/\n *#[^\n]*//g; s/^#[^\n]*\n//' "/locks/${ACCELERATOR}.lock" > /locks/all.lock \
 && if [ "${ACCELERATOR}" = cpu ]; then grep '^torch==' /locks/torch.lock >> /locks/all.lock; fi \
 && grep --perl-regexp '^(torch|nvidia-(?!ml-py=)[a-z0-9-]+|cuda-[a-z0-9-]+)==' /locks/all.lock > /locks/torch.lock \
 && { grep --extended-regexp '^(triton|nvidia-(cufft|curand|(cudnn|cusparselt|nvshmem)-cu[0-9]+))==' /locks/all.lock || true; } \
      > /locks/devel.lock \
 && grep --invert-match --line-regexp --fixed-strings --file=/locks/torch.lock --file=/locks/devel.lock \
      /locks/all.lock > /locks/packages.lock

FROM installer AS torch
COPY images/stand-ins.sh /opt/
COPY --from=pins /locks/torch.lock /locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-deps --requirement /locks/torch.lock \
# For the target `devel`: the C++ code that torch.compile generates includes these headers.
 && mkdir /opt/headers && cp --parents --recursive /opt/venv/lib/python3*/site-packages/torch/include /opt/headers \
 && bash /opt/stand-ins.sh && bash /opt/trim.sh

FROM installer AS packages
COPY images/trim-llama-cpp.sh /opt/
COPY --from=pins /locks/packages.lock /locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-deps --require-hashes --requirement /locks/packages.lock \
 && bash /opt/trim-llama-cpp.sh && bash /opt/trim.sh

FROM installer AS project
WORKDIR /build
COPY images/build.lock /locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv --without-pip /opt/build \
 && pip --python /opt/build/bin/python install --no-deps --require-hashes --requirement /locks/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY images/cpu.lock images/cuda.lock images/torch.lock images/
COPY jobs jobs
COPY src src
RUN pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist . \
 && pip --python /opt/venv/bin/python install --no-deps --no-index /dist/*.whl


# -- the image ---------------------------------------------------------------------------------------------------------
FROM system AS image
# Not NVIDIA_VISIBLE_DEVICES: the caller that starts the container decides which GPUs it gets.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
COPY --from=torch /opt/venv /opt/venv
COPY --from=packages /opt/venv /opt/venv
COPY --from=project /opt/venv /opt/venv
# At the end, so that a new commit changes only the labels and the layer above.
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


# -- the image with a compiler for use during training, and all of torch's libraries: `--target devel` ------------------
FROM image AS devel
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc g++ libc6-dev python3-dev \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /usr/share/doc/* /usr/share/man/*
COPY --from=torch /opt/headers /
COPY --from=pins /locks/devel.lock /opt/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --force-reinstall --require-hashes \
      --requirement /opt/devel.lock

# The default target.
FROM image
