"""docs/performance.md: how fast Resight is here, beside what one would take instead, all in one command.

python -m benchmarks.performance            # on an idle machine; about twenty minutes on two cores
python -m benchmarks.performance --only search --out /tmp/page.md

Each part is a benchmark of its own, run one after the other; the page keeps its ratios and leaves its
absolute times out, since those are the machine's.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import machine
from benchmarks.serving import ROOT

PAGE = ROOT / "docs/performance.md"
_BUSY = 0.3  # load of the machine over a minute, beyond which the page says that it was not idle
STARTER = "deploy/starter/starter.resight"


class Part(NamedTuple):
    """One section of the page."""

    name: str
    title: str
    says: str  # for the reader, before the figures
    commands: tuple[str, ...]  # behind `python -m`
    lines: Callable[[str], list[str]]  # what a command printed -> lines of the page


def tables(printed: str) -> list[str]:
    """The tables, and the line above each that says what it is of."""
    kept: list[str] = []
    before = ""
    for line in printed.splitlines():
        if line.startswith("|"):
            if before and not before.startswith("|"):
                kept += ["", before, ""]
            kept.append(line)
        before = line or before
    return kept


def ratios(printed: str) -> list[str]:
    """Lines that hold a ratio, without the absolute figures before it."""
    kept = []
    for line in printed.splitlines():
        words = re.sub(r"[\d.,]+ (?:ms|s|MiB|crops/s)\b[^,]*, ", "", line).strip()
        if re.search(r"ratio|times", words) and not re.match(r"round \d", words):
            kept.append("- " + re.sub(r"\s+", " ", words))
        elif words.endswith(":"):
            kept += ["", words, ""]
    return kept


PARTS = (
    Part(
        "engines",
        "Engines",
        "Each way of computing the shipped models, as a share of the one that a server takes by itself.",
        ("benchmarks.engines", f"benchmarks.engines --bundle {STARTER}"),
        tables,
    ),
    Part(
        "plain",
        "Beside a plain server",
        "FastAPI, Pillow, torch and a flat FAISS index, which stores nothing.",
        ("benchmarks.plain_server", f"benchmarks.plain_server --bundle {STARTER} --crops 256 --rounds 2"),
        ratios,
    ),
    Part(
        "enroll",
        "Enrolling",
        "Crops a second over HTTP, beside the same engine on crops that are decoded already.",
        ("benchmarks.enroll", f"benchmarks.enroll --bundle {STARTER} --crops 512"),
        ratios,
    ),
    Part(
        "query",
        "Queries",
        "A query over HTTP beside the engine at batch 1 and an exact search in float32.",
        ("benchmarks.query --sizes 1000 10000 100000 --queries 150",),
        ratios,
    ),
    Part(
        "search",
        "Search alone",
        "The gallery's index beside others, on the same vectors; times as shares of ours.",
        ("benchmarks.search --queries 50",),
        tables,
    ),
    Part("ranking", "Scoring", "mAP and CMC at Market-1501's size.", ("benchmarks.ranking",), ratios),
)


def section(part: Part) -> str:
    """A part's figures. Exits where one of its commands fails."""
    lines = [f"## {part.title}", "", part.says, ""]
    lines += [f"    python -m {command}" for command in part.commands]
    for command in part.commands:
        print(f"python -m {command}", file=sys.stderr, flush=True)
        words = [sys.executable, "-m", *command.split()]
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(f"python -m {command} failed: {ended.stderr.strip().splitlines()[-1:]}")
        lines += ["", *part.lines(ended.stdout)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*lines, ""]))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args()
    if len(arguments.only) < len(names) and arguments.out == PAGE:
        parser.error("--only makes a page of some parts: name another file with --out")
    busy = os.getloadavg()[0]
    state = "idle" if busy <= _BUSY else f"not idle (load {busy:.1f}: single figures may be far off)"
    sections = []
    for part in PARTS:
        if part.name in arguments.only:
            sections.append(section(part))
    arguments.out.write_text(
        "# How fast it is\n\n"
        f"Written by `python -m benchmarks.performance` on {time.strftime('%Y-%m-%d')}. Only ratios of one "
        "run are kept: absolute times are\nthe machine's, and other machines have other ratios too.\n\n"
        f"The machine was {state} when it began: {machine()}.\n\n" + "\n".join(sections)
    )
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
