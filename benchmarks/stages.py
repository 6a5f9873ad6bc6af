"""kill -9 in every stage that an adaptation names, and a check of what was acknowledged.

python -m benchmarks.stages --tiers 0 1+0 2

One job of each tier runs through first and tells its stages. Then each of them is waited for and ends the
server, while crops are enrolled and erased. After the restart every acknowledged item must be there once, no
erased one, and the site's version, space and index must agree; the job that was cut off must go on and end.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
import threading
from pathlib import Path

from resight_client import Client, Job, ResightError

from benchmarks.crash import SITE, Result, check
from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from benchmarks.traffic import Ledger, Traffic

_ENDS = ("done", "cancelled", "declined", "failed", "interrupted")


@dataclasses.dataclass
class Stages:
    """Counts over all kills."""

    kills: int = 0
    in_the_stage: int = 0  # kills of which the last word of the job was the stage that was waited for
    succeeded: int = 0  # jobs that were committed before the kill, or that the restart took up and ended
    ended_otherwise: int = 0
    checks: Result = dataclasses.field(default_factory=Result)

    @property
    def clean(self) -> bool:
        """True when every promise held."""
        return self.checks.clean and not self.ended_otherwise


def kill_in_every_stage(bundle: Path, folder: Path, tiers: list[str], crowd: int, seed: int = 0) -> Stages:
    """Learns the stages of each tier, then kills in each of them.

    Args:
        crowd: items at the site at most, or a few more.
    """
    stages, ledger, chance, crops = Stages(), Ledger(), random.Random(seed), drawn_jpegs(64)
    named: list[tuple[str, str]] = []
    with ServerProcess(bundle, folder / "data") as server, Client(server.url, timeout_s=600) as client:
        traffic = Traffic(server.url, SITE, ledger, chance, crops, crowd)
        while len(ledger.acknowledged) < crowd // 2:
            traffic.send(client, 8)
        for tier in tiers:
            client.wait(client.adapt(SITE, "none").job) if client.site(SITE).adapted else None
            seen = [job.stage for job in client.watch(client.adapt(SITE, tier, gate=False).job)]
            of_tier = [stage for stage in dict.fromkeys(seen) if stage not in (*_ENDS, "queued")]
            print(f"tier {tier}: {', '.join(of_tier)}", flush=True)
            named += [(tier, stage) for stage in of_tier]
    cut_off = ""
    for tier, stage in named:
        with ServerProcess(bundle, folder / "data") as server:
            _look(server, ledger, stages, cut_off)
            cut_off = _kill_in(server, ledger, stages, chance, crops, crowd, tier, stage)
    with ServerProcess(bundle, folder / "data") as server:
        _look(server, ledger, stages, cut_off)
    stages.checks.acknowledged = len(ledger.acknowledged)
    stages.checks.versions = len(ledger.versions)
    return stages


def _look(server: ServerProcess, ledger: Ledger, stages: Stages, cut_off: str) -> None:
    """Checks the gallery, and that the job that was cut off goes on and ends.

    Args:
        cut_off: id of the job; empty where there is none.
    """
    check(server, ledger, stages.checks)
    if not cut_off:
        return
    with Client(server.url, timeout_s=600) as client:
        *_, last = client.watch(cut_off)
    stages.succeeded += last.state == "succeeded"
    if last.state != "succeeded":
        stages.ended_otherwise += 1
        print(f"  the job ended as {last.state}: {last.report.get('error') or last.report.get('reason')}")


def _kill_in(
    server: ServerProcess,
    ledger: Ledger,
    stages: Stages,
    chance: random.Random,
    crops: list[bytes],
    crowd: int,
    tier: str,
    stage: str,
) -> str:
    """Ends the server when the job comes to the stage; returns the job's id."""
    traffic = Traffic(server.url, SITE, ledger, chance, crops, crowd)
    with Client(server.url, timeout_s=600) as client:
        if client.site(SITE).adapted:  # so that the next job has everything to do
            client.wait(client.adapt(SITE, "none").job)
        loops = (traffic.enroll, traffic.erase)
        threads = [threading.Thread(target=loop, args=(0.05,)) for loop in loops]
        for thread in threads:
            thread.start()
        last = client.adapt(SITE, tier, gate=False, seed=stages.kills)
        try:
            last = _watch_until(server, client, last, stage)
        except ResightError:
            server.kill()
    traffic.gone.set()
    for thread in threads:
        thread.join()
    stages.kills += 1
    stages.in_the_stage += last.stage == stage
    print(f"  killed in tier {tier}, {stage}; the job's last word: {last.stage}", flush=True)
    return last.job


def _watch_until(server: ServerProcess, client: Client, last: Job, stage: str) -> Job:
    """Kills the server at the first word of a stage; returns the last that was heard of the job."""
    try:
        for seen in client.watch(last.job):
            last = seen
            if seen.stage == stage:
                server.kill()
    except ResightError:
        if last.stage != stage:
            raise
    return last


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--tiers", nargs="+", default=["0", "1+0", "2"])
    parser.add_argument("--crowd", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stages = kill_in_every_stage(
            arguments.bundle, Path(folder), arguments.tiers, arguments.crowd, arguments.seed
        )
    counts = dataclasses.asdict(stages)
    checks = counts.pop("checks")
    for name in ("acknowledged", "lost", "doubled", "halved", "returned", "mixed"):
        counts[name] = checks[name]
    for name, value in counts.items():
        print(f"{name:16} {value}")
    raise SystemExit(0 if stages.clean else 1)


if __name__ == "__main__":
    main()
