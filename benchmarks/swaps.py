"""Constant queries, enrolls and erasures at a large site while it is adapted and rolled back.

python -m benchmarks.swaps --items 10000

Each job is watched to its end under the same traffic. Counted are queries that failed, answers that show two
spaces under one version, an item twice, or one whose erasure was acknowledged before the query was sent; and
afterwards what of the acknowledged is lost, doubled, halved or came back.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from resight_client import Client, JobFailed, ResightError

from benchmarks.crash import SITE, Result, check
from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from benchmarks.traffic import Ledger, Traffic

_TOP_K = 100


@dataclasses.dataclass
class Answers:
    """What queries were answered."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    spaces: dict[int, set[str]] = dataclasses.field(default_factory=dict)  # by version
    twice: int = 0  # answers that name an item twice
    returned: int = 0  # answers with an item that was erased before

    @property
    def mixed(self) -> int:
        """Versions under which answers of two spaces were given."""
        return sum(len(spaces) > 1 for spaces in self.spaces.values())


def ask(traffic: Traffic, answers: Answers, pause_s: float) -> None:
    """Queries until the traffic ends."""
    with Client(traffic.url, timeout_s=60) as client:
        number = 0
        while not traffic.gone.wait(pause_s):
            number += 1
            with traffic.lock:
                gone = set(traffic.ledger.erased)
            began = time.perf_counter()
            try:
                crop = traffic.crops[number % len(traffic.crops)]
                answer = client.query(traffic.site, crop, query_camera=f"c{number % 3}", top_k=_TOP_K)
            except ResightError as error:
                answers.failed.append(str(error))
                continue
            answers.seconds.append(time.perf_counter() - began)
            answers.spaces.setdefault(answer.version, set()).add(answer.space_id)
            named = [match.id for match in answer.matches]
            answers.twice += len(named) != len(set(named))
            answers.returned += bool(gone & set(named))


def run(client: Client, what: str) -> str:
    """One job to its end; says how it ended and how long it took."""
    began = time.perf_counter()
    # the gate judges `auto`; of drawn crops, which show nobody, it may decline
    job = client.roll_back(SITE) if what == "rollback" else client.adapt(SITE, what, gate=what == "auto")
    try:
        state = client.wait(job.job).state
    except JobFailed as error:
        state = error.job.state
    return f"{what:9} {state:10} {time.perf_counter() - began:7.1f} s, version {client.site(SITE).version}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEMO)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--jobs", nargs="+", default=["0", "1+0", "rollback", "auto"])
    parser.add_argument("--pause-s", type=float, default=0.02, help="of each client between two requests")
    arguments = parser.parse_args()
    ledger, answers, result = Ledger(), Answers(), Result()
    crops = drawn_jpegs(2_000)  # so that an adaptation finds enough that differ
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(arguments.bundle, Path(folder) / "data") as server,
        Client(server.url, timeout_s=7200) as client,
    ):
        traffic = Traffic(server.url, SITE, ledger, random.Random(0), crops, 2 * arguments.items)
        while len(ledger.acknowledged) < arguments.items:
            traffic.send(client, min(64, arguments.items - len(ledger.acknowledged)))
        print(f"{len(ledger.acknowledged)} items", flush=True)
        pause = arguments.pause_s
        loops = [(ask, (traffic, answers, pause))] * 2
        threads = [threading.Thread(target=loop, args=values) for loop, values in loops]
        threads.append(threading.Thread(target=traffic.enroll, args=(pause, 4)))
        threads.append(threading.Thread(target=traffic.erase, args=(pause,)))
        for thread in threads:
            thread.start()
        for what in arguments.jobs:
            print(run(client, what), flush=True)
        traffic.gone.set()
        for thread in threads:
            thread.join()
        check(server, ledger, result)
        result.acknowledged = len(ledger.acknowledged)
    _print(answers, ledger, result)
    clean = result.clean and not (answers.failed or answers.mixed or answers.twice or answers.returned)
    raise SystemExit(0 if clean and not ledger.refused else 1)


def _print(answers: Answers, ledger: Ledger, result: Result) -> None:
    half, most = np.percentile(answers.seconds, (50, 99))
    counts = {
        "queries": len(answers.seconds),
        "failed queries": len(answers.failed),
        "versions seen": len(answers.spaces),
        "of two spaces": answers.mixed,
        "an item twice": answers.twice,
        "an erased item": answers.returned,
        "enrolled": result.acknowledged,
        "erased": len(ledger.erased),
        "refused": len(ledger.refused),
        "lost": result.lost,
        "doubled": result.doubled,
        "halved": result.halved,
        "returned": result.returned,
        "mixed": result.mixed,
    }
    for name, value in counts.items():
        print(f"{name:16} {value}")
    print(f"{'seconds':16} {half:.3f} (median), {most:.3f} (99 % of queries)")
    for sentence in sorted({*answers.failed, *ledger.refused})[:5]:
        print(f"  {sentence}")


if __name__ == "__main__":
    main()
