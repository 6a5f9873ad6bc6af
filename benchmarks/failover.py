"""Two servers over one PostgreSQL database, of which one waits: each is cut off, and what was acknowledged is
checked.

python -m benchmarks.failover --rounds 60

In turn the server that has the gallery is killed, PostgreSQL is killed and started again, and all sessions of
PostgreSQL are cut while the server lives on. Whichever server has the gallery afterwards is checked as in
`benchmarks.crash`: every acknowledged item must be there once, no erased one, and the site's version, space
and index must agree.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.crash import CROWD, Result, check, work
from benchmarks.crops import drawn_jpegs
from benchmarks.postgres import PostgresProcess, postgres_programs
from benchmarks.serving import DEMO, ServerProcess
from benchmarks.traffic import Ledger

_SETTLED_S = 3.0  # a server that lost the gallery ends within two seconds
_PATIENCE_S = 180.0


@dataclasses.dataclass
class Failovers(Result):
    """Counts over all rounds; `both`: rounds after which two servers said that they are ready."""

    taken_over: int = 0
    both: int = 0
    ready_s: list[float] = dataclasses.field(default_factory=list)  # from a kill until the other is ready

    @property
    def clean(self) -> bool:
        """True when every promise held."""
        return super().clean and not self.both


class Pair:
    """Two servers of one gallery, of which one waits; a server that ends is started again and waits."""

    def __init__(self, bundle: Path, folder: Path, store: str) -> None:
        self.servers = [
            ServerProcess(bundle, folder / name, store=store, standby="true") for name in ("first", "second")
        ]

    def __enter__(self) -> Pair:
        """Starts both."""
        for server in self.servers:
            server.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Ends both."""
        for server in self.servers:
            server.kill()

    def ready(self) -> list[ServerProcess]:
        """Those that answer now; the ended ones are started again."""
        for server in self.servers:
            if server.process is not None and server.process.poll() is not None:
                server.start()
        return [server for server in self.servers if server.is_ready()]

    def settled(self, settled_s: float = _SETTLED_S) -> ServerProcess | None:
        """The one that has been ready alone for a while; None where both go on saying that they are."""
        began = since = time.perf_counter()
        before: list[ServerProcess] = []
        while time.perf_counter() - began < _PATIENCE_S:
            ready = self.ready()
            if ready != before:
                before, since = ready, time.perf_counter()
            if ready and time.perf_counter() - since >= settled_s:
                return ready[0] if len(ready) == 1 else None
            time.sleep(0.05)
        raise RuntimeError(
            f"no server was ready after {_PATIENCE_S:g} s: {self.servers[0].log.read_text()[-1000:]}"
        )


def failover(
    bundle: Path, folder: Path, database: PostgresProcess, rounds: int, seed: int = 0, crowd: int = CROWD
) -> Failovers:
    """Works, cuts off and checks, `rounds` times over one gallery in a new database."""
    chance, ledger, result = random.Random(seed), Ledger(), Failovers()
    crops = drawn_jpegs(64)
    with Pair(bundle, folder, database.new_database()) as pair:
        active = pair.settled()
        for number in range(rounds):
            assert active is not None
            kill = _cuts(active, database)[number % 3]
            work(active, ledger, result, chance, crops, crowd, "at any moment", kill)
            began, before = time.perf_counter(), active
            if number % 3 == 0:
                while not pair.ready():
                    time.sleep(0.02)
                result.ready_s.append(time.perf_counter() - began)
            active = pair.settled()
            result.both += active is None
            if active is None:
                break
            result.taken_over += active is not before
            check(active, ledger, result)
            result.rounds += 1
    result.acknowledged, result.versions = len(ledger.acknowledged), len(ledger.versions)
    return result


def _cuts(active: ServerProcess, database: PostgresProcess) -> tuple[Callable[[], object], ...]:
    def restart() -> None:
        database.stop()
        database.start()

    def cut() -> None:
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )

    return active.kill, restart, cut


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", type=Path, default=DEMO)
    arguments = parser.parse_args()
    programs = postgres_programs()
    if programs is None:
        parser.error("PostgreSQL is not installed (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory() as folder, PostgresProcess(programs, durable=True) as database:
        result = failover(arguments.bundle, Path(folder), database, arguments.rounds, arguments.seed)
    ready_s = result.ready_s
    for name, value in dataclasses.asdict(result).items():
        if name != "ready_s":
            print(f"{name:14} {value}")
    print(
        f"from a kill until the other server is ready: median {statistics.median(ready_s):.1f} s, longest "
        f"{max(ready_s):.1f} s"
    )
    raise SystemExit(0 if result.clean else 1)


if __name__ == "__main__":
    main()
