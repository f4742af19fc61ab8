# syntax=docker/dockerfile:1
# One image for all of Raysift except nginx, Redis and S3: Ray's head and workers, scans, the app, Chroma.
#   docker build --target cpu -t raysift:cpu .        docker build --target gpu -t raysift:gpu .
# Python and uv have the Makefile's versions; requirements.lock pins everything else. The image has about 10 GB, 6 of
# them torch and its CUDA libraries. The CPU target has them too, as PyPI has no other torch for Linux.

FROM python:3.11-slim-bookworm AS base

FROM base AS environment
# compiled files do not depend on timestamps, so that the same lock file makes the same layers
ENV UV_COMPILE_BYTECODE=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/raysift
RUN pip install --no-cache-dir --root-user-action=ignore uv==0.13.9 && uv venv /opt/raysift
COPY requirements.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r /tmp/requirements.lock
# the largest packages change least: they get a layer of their own
WORKDIR /opt/raysift/lib/python3.11/site-packages
RUN mkdir /opt/torch && mv torch nvidia triton /opt/torch/

FROM base AS cpu
# torchaudio needs libgomp1, `ray up` rsync and ssh, healthchecks curl, reports as PDF a font with Chinese and Japanese.
# Versions are not pinned, as Debian keeps no older ones.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl fonts-droid-fallback libarchive-tools libgomp1 openssh-client rsync tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home raysift \
    && install -d -o raysift -g raysift /var/lib/raysift /var/lib/chroma /var/cache/raysift
COPY --from=environment /opt/torch /opt/raysift/lib/python3.11/site-packages
COPY --from=environment /opt/raysift /opt/raysift
ENV PATH=/opt/raysift/bin:$PATH \
    PYTHONPATH=/srv/raysift \
    RAYSIFT_STATE_DIR=/var/lib/raysift
WORKDIR /srv/raysift
COPY . .
RUN python -m compileall -q . \
    && printf '#!/opt/raysift/bin/python\nfrom raysift import main\nmain()\n' > /usr/local/bin/raysift \
    && chmod 755 /usr/local/bin/raysift
USER 1000
ENTRYPOINT ["tini", "--"]
CMD ["raysift", "--help"]

# No CUDA installation is needed: NVIDIA's container toolkit provides the driver, torch brings its libraries,
# CTranslate2 uses the cuBLAS that torch has loaded, and ONNX models run on the CPU in every profile.
FROM cpu AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
