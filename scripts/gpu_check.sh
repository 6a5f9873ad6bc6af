#!/usr/bin/env bash
# Checks a machine with an NVIDIA GPU, offline, and ends in ACCEPTED or REJECTED with reasons.
#   [PYTHON=.venv/bin/python] scripts/gpu_check.sh [--bundle NAME.resight] [--help]
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD:$PWD/clients/python${PYTHONPATH:+:$PYTHONPATH}
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
