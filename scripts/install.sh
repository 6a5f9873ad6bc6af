#!/usr/bin/env bash
# Installs Resight into a Python environment. `make` and the Dockerfile use this one script.
#   scripts/install.sh PYTHON EXTRAS [LOCK]      e.g. scripts/install.sh .venv/bin/python cpu,train
# It fails where torchvision cannot be imported: a +cpu torch beside the torchvision of PyPI installs well and runs nothing.
# With a LOCK its packages are installed first, and only those whose hashes it names.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 extras=$2 lock=${3:-}
"$python" -m pip install --quiet --upgrade pip
if [ -n "$lock" ]; then "$python" -m pip install --quiet --require-hashes --requirement "$lock"; fi
"$python" -m pip install --quiet -e ".[$extras]"
if [[ ,$extras, == *,train,* ]] && ! "$python" -c "import torchvision" 2>/dev/null; then
  echo "torch and torchvision do not fit each other: take both from the same index, +cpu or not" >&2
  exit 1
fi
