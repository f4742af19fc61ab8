# syntax=docker/dockerfile:1
# Everything of Raysift but the servers of others in one image: Ray's head and workers, scans, the app, Chroma.
#   docker build --target cpu -t raysift:cpu .        docker build --target gpu -t raysift:gpu .
# Python and uv are the Makefile's, all else is what requirements.lock names. About 10 GB, of which torch and the CUDA
# libraries that its wheels ask for are 6: the CPU's too, since PyPI has no other torch for Linux.

FROM python:3.11-slim-bookworm AS base

FROM base AS environment
# what is compiled does not depend on when, so that the same lock makes the same layers
ENV UV_COMPILE_BYTECODE=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/raysift
RUN pip install --no-cache-dir --root-user-action=ignore uv==0.13.9 && uv venv /opt/raysift
COPY requirements.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r /tmp/requirements.lock
# what is largest changes least: a layer of its own
WORKDIR /opt/raysift/lib/python3.11/site-packages
RUN mkdir /opt/torch && mv torch nvidia triton /opt/torch/

FROM base AS cpu
# libgomp1 is torchaudio's; rsync and ssh are what `ray up` sends files and commands by, curl what healthchecks ask with.
# Versions are the distribution's: it keeps no older ones.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl libgomp1 openssh-client rsync tini \
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

# Nothing of CUDA has to be installed: the driver comes from NVIDIA's container toolkit, torch has its libraries beside
# it, CTranslate2 finds cuBLAS among those that torch has loaded, and the ONNX models run on the CPU in every profile.
FROM cpu AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
