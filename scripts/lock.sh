#!/usr/bin/env bash
# Writes deploy/locks/gpu.txt: every package of the GPU image, with hashes, for Python 3.11 on x86-64 Linux. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
uv pip compile pyproject.toml --extra gpu --extra train --extra postgres \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
  --quiet --output-file deploy/locks/gpu.txt
