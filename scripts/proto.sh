#!/usr/bin/env bash
# Generates the gRPC code beside the contracts. Needs grpcio-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. proto/resight/v1/resight.proto
