"""kill -9 at random moments of enrolling, erasing and adapting, and a check of what was acknowledged.

python -m benchmarks.crash --rounds 200

After each restart every acknowledged item must be there once, no erased one, and the site's version, space
and index must agree.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from resight_client import Answer, Client, ResightError, Site

from benchmarks.crops import drawn_jpegs
from benchmarks.serving import DEMO, ServerProcess
from benchmarks.traffic import Ledger, Traffic

SITE = "crash"
ENDS = ("after a swap", "at any moment", "inside a job")  # when the server is killed, in turn
CROWD = 600  # items at the site, unless said otherwise: more would only make the jobs longer


@dataclasses.dataclass
class Result:
    """Counts over all rounds."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    halved: int = 0  # requests of which only a part is stored
    returned: int = 0  # erased items that came back
    mixed: int = 0  # rounds after which version, space and index did not agree
    swaps: int = 0  # adaptations and rollbacks that were seen to succeed
    versions: int = 0  # versions of the site that were seen live

    @property
    def clean(self) -> bool:
        """True when every promise held."""
        return not (self.lost or self.doubled or self.halved or self.returned or self.mixed)


def crash(bundle: Path, folder: Path, rounds: int, seed: int = 0, crowd: int = CROWD) -> Result:
    """Starts, works, kills and checks, `rounds` times over one data folder.

    Args:
        crowd: items at the site at most, or a few more.
    """
    # the rounds draw in threads, so that only the order of their ends is the same in every run
    chance, ledger, result = random.Random(seed), Ledger(), Result()
    crops = drawn_jpegs(64)
    for number in range(rounds):
        with ServerProcess(bundle, folder / "data") as server:
            if number:
                check(server, ledger, result)
            work(server, ledger, result, chance, crops, crowd, ENDS[number % len(ENDS)], server.kill)
        result.rounds += 1
    with ServerProcess(bundle, folder / "data") as server:
        check(server, ledger, result)
    result.acknowledged = len(ledger.acknowledged)
    result.versions = len(ledger.versions)
    return result


def work(
    server: ServerProcess,
    ledger: Ledger,
    result: Result,
    chance: random.Random,
    crops: list[bytes],
    crowd: int,
    end: str,
    kill: Callable[[], object],
) -> None:
    """Enrolls, erases and adapts until `kill` is called beside it, at one of `ENDS`; then nothing more."""
    traffic, reached = Traffic(server.url, SITE, ledger, chance, crops, crowd), threading.Event()
    share = chance.random()  # of a job, where the round ends inside one

    def adapt() -> None:
        with Client(server.url) as client:
            while not traffic.gone.is_set():
                try:
                    site = client.site(SITE)
                    ledger.versions.add(site.version)
                    kinds = ("0", "1+0", "2", "none")
                    kind = chance.choice((*kinds, "rollback") if site.can_roll_back else kinds)
                    job = (
                        client.roll_back(SITE)
                        if kind == "rollback"
                        else client.adapt(SITE, kind, max_samples=32, gate=False)
                    )
                    for seen in client.watch(job.job):
                        if end == "inside a job" and seen.state == "running" and seen.progress >= share:
                            reached.set()
                        if seen.state == "succeeded":
                            result.swaps += 1
                            reached.set()
                except ResightError:
                    traffic.gone.wait(0.1)

    threads = [threading.Thread(target=f) for f in (traffic.enroll, traffic.enroll, traffic.erase, adapt)]
    for thread in threads:
        thread.start()
    if end == "at any moment":
        time.sleep(chance.uniform(0.05, 6.0))
    else:
        reached.wait(120)
        time.sleep(chance.uniform(0, 0.5))
    kill()
    traffic.gone.set()
    for thread in threads:
        thread.join()


def check(server: ServerProcess, ledger: Ledger, result: Result) -> None:
    """Adds to the result what the site lost, doubled, halved, brought back or mixed up of what the ledger
    says."""
    with Client(server.url) as client:
        try:
            site = client.site(SITE)
        except ResightError:
            result.lost += len(ledger.acknowledged)
            return
        ledger.versions.add(site.version)
        stored: dict[str, tuple[int, int]] = {}
        cursor: str | None = None
        listed = 0
        while True:
            page = client.items(SITE, cursor=cursor, limit=1000)
            stored |= {item.id: (item.metadata["request"], item.metadata["place"]) for item in page.items}
            listed, cursor = listed + len(page.items), page.cursor
            if cursor is None:
                break
        result.doubled += listed - len(set(stored.values()))
        result.lost += sum(i not in stored and i not in ledger.erasing for i in ledger.acknowledged)
        result.returned += len(ledger.erased & set(stored))
        counts: dict[int, int] = {}
        for request, _ in stored.values():
            counts[request] = counts.get(request, 0) + 1
        for item in ledger.erasing - set(stored):
            counts[ledger.acknowledged[item][0]] = counts.get(ledger.acknowledged[item][0], 0) + 1
        result.halved += sum(0 < count < ledger.sizes[request] for request, count in counts.items())
        if not stored:
            return
        query = random.Random(len(stored)).choice(list(stored))
        site, answer = _of_one_version(client, query)
        whole = len(answer.matches) == min(len(stored), 20_000) == site.items and {
            m.id for m in answer.matches
        } <= set(stored)
        itself = {m.id: m.score for m in answer.matches}.get(query, 0) > 0.99
        result.mixed += not (
            whole and itself and answer.version == site.version and answer.space_id == site.space_id
        )


def _of_one_version(client: Client, item: str) -> tuple[Site, Answer]:
    """The site and a whole ranking for the picture of an item, between two swaps: the start takes an
    interrupted job up again, which may swap the site at any moment."""
    image, camera = client.image(item), client.item(item).camera
    while True:
        answer = client.query(SITE, image, query_camera=camera, top_k=20_000)
        site = client.site(SITE)
        if client.query(SITE, image, top_k=1).version == answer.version:
            return site, answer


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", type=Path, default=DEMO)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = crash(arguments.bundle, Path(folder), arguments.rounds, arguments.seed)
    for name, value in dataclasses.asdict(result).items():
        print(f"{name:14} {value}")
    raise SystemExit(0 if result.clean else 1)


if __name__ == "__main__":
    main()
