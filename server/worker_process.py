"""Starts a worker process, listens to it, and ends it: after its answer, a failure, a silence or a cancel."""

from __future__ import annotations

import errno
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from server.work import LOG, Progress, WorkAnswer, WorkRequest

log = logging.getLogger("resight")
_POLL_S = 0.1  # how soon a cancelled job ends its worker
_EXIT_S = 30.0  # a worker that has closed its output must be gone by then


class WorkerError(RuntimeError):
    """The worker process failed; the sentence says how."""


def run_worker(
    folder: Path, request: WorkRequest, progress: Progress, check: Callable[[], None], silence_s: float
) -> WorkAnswer:
    """The answer of a worker that was started for this request and has ended. Blocks.

    Args:
        folder: holds the crops already.
        progress: called with what the worker reports.
        check: called every 0.1 s; the worker is killed when it raises.
        silence_s: a worker that reports nothing for this long is killed.

    Raises WorkerError when the worker fails, crashes, hangs or is killed, OSError where the disk is full.
    """
    request.write(folder)
    with (folder / LOG).open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "server.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            env=_environment(),
            start_new_session=True,  # Ctrl-C goes to the server, which decides about its workers
        )
    try:
        _listen(process, progress, check, silence_s)
    except WorkerError:
        log.error("worker %d failed; its last words:\n%s", process.pid, _last_words(folder))
        raise
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    try:
        return WorkAnswer.read(folder)
    except (OSError, ValueError) as error:
        raise WorkerError(f"the worker process ended without a readable answer: {error}") from error


def _listen(
    process: subprocess.Popen[bytes], progress: Progress, check: Callable[[], None], silence_s: float
) -> None:
    """Returns when the worker has ended with status 0. Raises WorkerError, and OSError where its disk is
    full."""
    assert process.stdout is not None
    heard_at, unfinished, error, disk_full = time.monotonic(), b"", "", False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            check()
            if not selector.select(_POLL_S):
                if time.monotonic() - heard_at > silence_s:
                    raise WorkerError(
                        f"the worker process reported nothing for {silence_s:g} s and was ended; "
                        f"RESIGHT_ADAPT_SILENCE_S allows more"
                    )
                continue
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                break
            heard_at = time.monotonic()
            *lines, unfinished = (unfinished + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                error = message.get("error", error)
                disk_full = message.get("disk_full", disk_full)
                if "stage" in message:
                    progress(message["share"], message["stage"])
    try:
        status = process.wait(_EXIT_S)
    except subprocess.TimeoutExpired:
        raise WorkerError(f"the worker process did not end within {_EXIT_S:g} s") from None
    if status < 0:
        raise WorkerError(
            f"the worker process was killed by {signal.Signals(-status).name}"
            + ("; it may have needed more memory than there is" if -status == signal.SIGKILL else "")
        )
    if status and disk_full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if status:
        raise WorkerError(error or f"the worker process ended with status {status}")


def _environment() -> dict[str, str]:
    """This process's environment, with the folder that `server` was imported from."""
    environment = dict(os.environ)
    place = str(Path(__file__).resolve().parent.parent)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if place not in [*paths, *sysconfig.get_paths().values()]:
        environment["PYTHONPATH"] = os.pathsep.join([*paths, place])
    return environment


def _last_words(folder: Path) -> str:
    try:
        return (folder / LOG).read_text(errors="replace")[-2000:]
    except OSError:
        return ""
