"""Resight beside the server that one writes in an afternoon: FastAPI, Pillow, torch and a flat FAISS index.

python -m benchmarks.plain_server

The plain one embeds a request's crops in one batch with torch in float32 and adds them to `IndexFlatIP`; it
stores nothing, knows no labels and forgets everything when it ends. Both get the same requests in turns.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import faiss
import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI, File
from PIL import Image
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.machine import say_machine
from benchmarks.serving import DEMO, ROOT, ServerProcess, free_ports

_REQUEST, _CLIENTS = 64, 3


def plain_app(bundle: Path) -> FastAPI:
    """The plain server: `POST /enroll` and `POST /search`, both with files."""
    from reid.bundle import Bundle
    from reid.engines import choose_engine

    opened = Bundle.load(bundle)
    engine = choose_engine(opened, "cpu", "torch")
    height, width = opened.size
    index, lock = faiss.IndexFlatIP(opened.manifest.dim), threading.Lock()
    app = FastAPI()

    def embed(files: list[bytes]) -> np.ndarray:
        crops = []
        for data in files:
            picture = Image.open(io.BytesIO(data)).convert("RGB")
            crops.append(np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)))
        return engine.embed(np.stack(crops))

    @app.post("/enroll")
    def enroll(files: Annotated[list[bytes], File()]) -> dict[str, int]:
        with lock:
            index.add(embed(files))
            return {"items": index.ntotal}

    @app.post("/search")
    def search(files: Annotated[list[bytes], File()]) -> dict[str, list[float]]:
        with lock:
            scores, rows = index.search(embed(files), 10)
        return {"scores": scores[0].tolist(), "rows": rows[0].tolist()}

    return app


class PlainProcess:
    """The plain server in a process of its own, which runs inside the `with` block."""

    def __init__(self, bundle: Path) -> None:
        [self.port] = free_ports(1)
        self.url, self.bundle = f"http://127.0.0.1:{self.port}", bundle
        self.client = httpx.Client(timeout=600)  # kept open, as Resight's client keeps its own

    def __enter__(self) -> PlainProcess:
        words = [sys.executable, "-m", "benchmarks.plain_server", "--serve", str(self.port)]
        self.process = subprocess.Popen(
            [*words, "--bundle", str(self.bundle)], cwd=ROOT, env=os.environ, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            try:
                httpx.get(self.url, timeout=5)
                return self
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError("the plain server did not start")

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()

    def enroll(self, crops: list[bytes]) -> None:
        """One request."""
        self._post("enroll", crops)

    def query(self, crop: bytes) -> None:
        """One request."""
        self._post("search", [crop])

    def _post(self, path: str, crops: list[bytes]) -> None:
        files = [("files", ("crop.jpg", data, "image/jpeg")) for data in crops]
        self.client.post(f"{self.url}/{path}", files=files).raise_for_status()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--crops", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=int, metavar="PORT", help="be the plain server")
    arguments = parser.parse_args()
    if arguments.serve is not None:
        uvicorn.run(plain_app(arguments.bundle), port=arguments.serve, log_level="error")
        return
    say_machine()
    jpegs = drawn_jpegs(arguments.crops)
    requests = [jpegs[start : start + _REQUEST] for start in range(0, len(jpegs), _REQUEST)]
    enrolled: dict[str, list[float]] = {"Resight": [], "plain": []}
    asked: dict[str, list[float]] = {"Resight": [], "plain": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(arguments.bundle, Path(folder) / "data") as server,
        Client(server.url) as client,
        PlainProcess(arguments.bundle) as plain,
        ThreadPoolExecutor(_CLIENTS) as pool,
    ):
        for number in range(-1, arguments.rounds):
            for name in enrolled:
                site = "site"  # both galleries grow from round to round
                send = (
                    (lambda batch, site=site: client.enroll(site, batch))
                    if name == "Resight"
                    else plain.enroll
                )
                began = time.perf_counter()
                list(pool.map(send, requests[:2] if number < 0 else requests))
                if number >= 0:
                    enrolled[name].append(time.perf_counter() - began)
                for jpeg in jpegs[:20]:
                    began = time.perf_counter()
                    if name == "Resight":
                        client.query(site, jpeg, top_k=10)
                    else:
                        plain.query(jpeg)
                    if number >= 0:
                        asked[name].append(time.perf_counter() - began)
    faster = statistics.median(enrolled["plain"]) / statistics.median(enrolled["Resight"])
    sooner = statistics.median(asked["plain"]) / statistics.median(asked["Resight"])
    name = arguments.bundle.stem
    print(f"{name}, enroll: {faster:.1f} times the plain server's crops a second")
    print(f"{name}, query: the plain server takes {sooner:.1f} times as long at the median")


if __name__ == "__main__":
    main()
