"""A PostgreSQL server in a temporary folder, for benchmarks and tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.serving import free_ports

_READY_S = 30


class PostgresProcess:
    """A cluster in a temporary folder, from `with` on. It listens on loopback and trusts everybody there.

    Args:
        programs: the folder of initdb and postgres. durable: commits wait for the disk; tests need not.
    """

    def __init__(self, programs: Path, durable: bool = False) -> None:
        self.programs, self.durable = programs, durable
        self.port = free_ports(1)[0]
        self.folder = Path(tempfile.mkdtemp(prefix="resight-postgres-"))
        self.data = self.folder / "data"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresProcess:
        """Makes the cluster and starts it."""
        account = _account()
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        make = ["-U", "resight", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync", str(self.data)]
        # PostgreSQL refuses to run as root
        self.user: dict[str, Any] = {}
        if account is not None:
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        program = str(self.programs / "initdb")
        subprocess.run([program, *make], check=True, capture_output=True, cwd="/", **self.user)
        self.start()
        return self

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [str(each) for each in (self.programs / "postgres", "-D", self.data, "-k", self.folder)]
        command += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        command += [] if self.durable else ["-c", "fsync=off"]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self.user)
        self.process = process
        import psycopg

        began = time.perf_counter()
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                if time.perf_counter() - began > _READY_S or process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Ends the server at once; sessions are cut off."""
        assert self.process is not None
        self.process.send_signal(3)  # SIGQUIT: immediate shutdown
        self.process.wait()

    def __exit__(self, *error: object) -> None:
        """Stops the server and removes its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://resight@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement outside of a transaction and returns its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []

    def new_database(self, template: str = "template1") -> str:
        """The URL of a new database: empty, or a copy of another one."""
        name = f"gallery_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres, the newest version where there are several."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parts[-2]), default=None)


def _account() -> pwd.struct_passwd | None:
    """The unprivileged account that PostgreSQL runs as; None where the tests are unprivileged themselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
