# syntax=docker/dockerfile:1
#   docker build -t resight .                      CPU
#   docker build -t resight:serve --target serve . CPU without torch: everything but adaptation's tier 2 and training
#   docker build -t resight:gpu --target gpu .     NVIDIA GPU
#   docker run -p 8000:8000 -v resight:/data resight
#   docker run -p 8000:8000 -e RESIGHT_STORE=postgresql://USER@HOST/NAME resight     docs/store.md
#   docker run --gpus all -p 8000:8000 -v resight:/data resight:gpu
# Without a bundle of your own (-e RESIGHT_BUNDLE=/bundles/NAME.resight -v ...:/bundles) the demo bundle is served.
# Another base (Python 3.11 with venv) is --build-arg BASE=...; pip's settings and wheels: docs/docker.md.

ARG BASE=python:3.11-slim
FROM ${BASE} AS base
RUN useradd --create-home --uid 1000 resight && mkdir /data && chown resight /data
WORKDIR /app
COPY . .
RUN python3 -m venv /venv
# what is made while it runs lies in the volume, so the root may be read-only
ENV PATH=/venv/bin:$PATH \
    RESIGHT_BUNDLE=/app/deploy/demo/demo.resight \
    RESIGHT_GALLERY=/data \
    RESIGHT_HOST=0.0.0.0 \
    RESIGHT_PORT=8000 \
    XDG_CACHE_HOME=/data/cache \
    NUMBA_CACHE_DIR=/data/cache/numba \
    MPLCONFIGDIR=/data/cache/matplotlib \
    TORCHINDUCTOR_CACHE_DIR=/data/cache/inductor \
    TRITON_CACHE_DIR=/data/cache/triton \
    CUDA_CACHE_PATH=/data/cache/cuda \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000 8001
VOLUME /data
# building a GPU engine takes minutes; a check that succeeds ends the start period
HEALTHCHECK --interval=30s --timeout=10s --start-period=30m CMD ["scripts/healthcheck.sh"]

FROM base AS gpu
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ARG PIP_NO_CACHE_DIR=1
RUN scripts/install.sh /venv/bin/python gpu,train,postgres deploy/locks/gpu.txt
ENV RESIGHT_DEVICE=cuda NVIDIA_DRIVER_CAPABILITIES=compute,utility NVIDIA_REQUIRE_CUDA=cuda>=13.0
USER resight
CMD ["resight", "serve"]

FROM base AS serve
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ARG PIP_NO_CACHE_DIR=1
RUN scripts/install.sh /venv/bin/python cpu,postgres
ENV RESIGHT_DEVICE=cpu
USER resight
CMD ["resight", "serve"]

FROM base AS cpu
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ARG PIP_NO_CACHE_DIR=1
RUN scripts/install.sh /venv/bin/python cpu,train,postgres
ENV RESIGHT_DEVICE=cpu
USER resight
CMD ["resight", "serve"]
