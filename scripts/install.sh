#!/usr/bin/env bash
# Installs Resight into a Python environment. `make` and the Dockerfile use this one script.
#   scripts/install.sh PYTHON EXTRAS      e.g. scripts/install.sh .venv/bin/python cpu,train
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 extras=$2
"$python" -m pip install --quiet --upgrade pip
"$python" -m pip install --quiet -e ".[$extras]"
