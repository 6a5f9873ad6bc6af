#!/usr/bin/env bash
# Exit 0 when the server answers a canary crop through its engine.
set -euo pipefail
curl --silent --fail --output /dev/null --max-time 9 "http://127.0.0.1:${RESIGHT_PORT:-8000}/ready"
