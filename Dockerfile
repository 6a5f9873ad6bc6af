# syntax=docker/dockerfile:1
#   docker build -t resight .                      CPU
#   docker build -t resight:gpu --target gpu .     NVIDIA GPU
#   docker run -p 8000:8000 -v resight:/data resight
#   docker run -p 8000:8000 -e RESIGHT_STORE=postgresql://USER@HOST/NAME resight     docs/store.md
#   docker run --gpus all -p 8000:8000 -v resight:/data resight:gpu
# Without a bundle of your own (-e RESIGHT_BUNDLE=/bundles/NAME.resight -v ...:/bundles) the demo bundle is served.

FROM python:3.11-slim AS base
RUN apt-get update && apt-get install --yes --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 resight && mkdir /data && chown resight /data
WORKDIR /app
COPY --chown=resight . .
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH \
    RESIGHT_BUNDLE=/app/deploy/demo/demo.resight \
    RESIGHT_GALLERY=/data \
    RESIGHT_HOST=0.0.0.0 \
    RESIGHT_PORT=8000 \
    NUMBA_CACHE_DIR=/tmp/numba
EXPOSE 8000 8001
VOLUME /data
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["scripts/healthcheck.sh"]

FROM base AS gpu
RUN scripts/install.sh /venv/bin/python gpu,train,postgres
ENV RESIGHT_DEVICE=cuda NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER resight
CMD ["resight", "serve"]

FROM base AS cpu
RUN scripts/install.sh /venv/bin/python cpu,train,postgres
ENV RESIGHT_DEVICE=cpu
USER resight
CMD ["resight", "serve"]
