#!/usr/bin/env bash
# Exit 0 when the server answers a canary crop through its engine.
set -euo pipefail
exec python3 - <<'PYTHON'
import os, ssl, urllib.request

# the server's own address: whose certificate it is does not matter here
scheme = "https" if os.environ.get("RESIGHT_TLS_CERT") else "http"
url = f"{scheme}://127.0.0.1:{os.environ.get('RESIGHT_PORT', '8000')}/ready"
urllib.request.urlopen(url, timeout=9, context=ssl._create_unverified_context())
PYTHON
