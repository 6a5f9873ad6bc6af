"""The stages of an adaptation by each tier, in units of embedding the same crops once with the bare engine.

python -m benchmarks.adapt --crops 60 316 900

`auto` is judged by the gate, without labels; the other tiers are not judged. Drawn crops show nobody, so that
`auto` may end by declining: it has done its work then all the same, apart from re-embedding.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from resight_client import Client, JobFailed

from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle
from reid.images import decode_crop

TIERS = ("0", "1+0", "auto", "2")
STAGES = ("sample", "embed", "statistics", "load", "adapt", "compile", "centre", "re-embed")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--crops", type=int, nargs="+", default=[60, 316, 900])
    arguments = parser.parse_args()
    bundle, jpegs = Bundle.load(arguments.bundle), drawn_jpegs(max(arguments.crops))
    manifest = bundle.manifest
    decoded = np.stack([decode_crop(data, manifest.height, manifest.width) for data in jpegs])
    print(f"{manifest.name}; each stage in units of embedding the N crops once")
    print(f"{'N':>5} {'tier':>5} " + " ".join(f"{stage:>10}" for stage in (*STAGES, "together")))
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(arguments.bundle, Path(folder) / "data") as server,
        Client(server.url, timeout_s=3600) as client,
    ):
        engine = server.engine(bundle)
        engine.embed(decoded[:32])
        client.enroll("warm", jpegs[:32])
        client.wait(client.adapt("warm", "2", gate=False).job)  # the first adaptation loads torch
        for count in arguments.crops:
            site = f"site-{count}"
            for start in range(0, count, 64):
                batch = jpegs[start : min(start + 64, count)]
                records = [{"camera": f"c{(start + i) % 4}"} for i in range(len(batch))]
                client.enroll(site, batch, records=records)
            began = time.perf_counter()
            for start in range(0, count, 32):
                engine.embed(decoded[start : min(start + 32, count)])
            once = time.perf_counter() - began
            for tier in TIERS:
                try:
                    job = client.wait(client.adapt(site, tier, gate=tier == "auto").job)
                except JobFailed as error:
                    job = error.job
                shares = [job.report["seconds"].get(stage, 0.0) / once for stage in STAGES]
                print(
                    f"{count:>5} {tier:>5} "
                    + " ".join(f"{share:10.2f}" for share in (*shares, sum(shares)))
                    + f"  {job.state}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
