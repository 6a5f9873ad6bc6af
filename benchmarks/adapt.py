"""The stages of an adaptation, in units of embedding the same crops once with the bare engine.

python -m benchmarks.adapt --crops 60 316 900
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from reid.engines import choose_engine
from reid.images import decode_crop

STAGES = ("sample", "load", "adapt", "compile", "re-embed")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--crops", type=int, nargs="+", default=[60, 316, 900])
    arguments = parser.parse_args()
    bundle, jpegs = Bundle.load(arguments.bundle), drawn_jpegs(max(arguments.crops))
    manifest, engine = bundle.manifest, choose_engine(bundle, "cpu")
    decoded = np.stack([decode_crop(data, manifest.height, manifest.width) for data in jpegs])
    engine.embed(decoded[:32])
    print(f"{manifest.name}; each stage in units of embedding the N crops once")
    print(f"{'N':>5} {'pairs':>6} " + " ".join(f"{stage:>9}" for stage in (*STAGES, "together")))
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(arguments.bundle, Path(folder) / "data") as server,
        Client(server.url, timeout_s=3600) as client,
    ):
        client.enroll("warm", jpegs[:32])
        client.wait(client.adapt("warm", "2", gate=False).job)  # the first adaptation loads torch
        for count in arguments.crops:
            site = f"site-{count}"
            for start in range(0, count, 64):
                batch = jpegs[start : min(start + 64, count)]
                records = [{"camera": f"c{(start + i) % 4}"} for i in range(len(batch))]
                client.enroll(site, batch, records=records)
            job = client.wait(client.adapt(site, "2", gate=False).job)
            began = time.perf_counter()
            for start in range(0, count, 32):
                engine.embed(decoded[start : min(start + 32, count)])
            once = time.perf_counter() - began
            shares = [job.report["seconds"][stage] / once for stage in STAGES]
            print(
                f"{count:>5} {job.report['pairs']:>6} "
                + " ".join(f"{share:9.2f}" for share in (*shares, sum(shares)))
            )


if __name__ == "__main__":
    main()
