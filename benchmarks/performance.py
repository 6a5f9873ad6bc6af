"""docs/performance.md: how fast Resight is here, beside what one would take instead, all in one command.

python -m benchmarks.performance            # on an idle machine; about a quarter of an hour on two cores
python -m benchmarks.performance --only search growth --out /tmp/page.md --items 1000 --sites 1 10
python -m benchmarks.performance --torchreid FOLDER --fastreid FOLDER    # also beside their evaluators

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
        "Crops a second over HTTP, beside the same engine on crops that are decoded already. The aim is "
        "0.95, with a small network 0.9. The line of processor times shows what is missing to it: client and "
        "server run on the cores that the engine has to itself when it runs alone.",
        ("benchmarks.enroll", f"benchmarks.enroll --bundle {STARTER} --crops 512"),
        ratios,
    ),
    Part(
        "query",
        "Queries",
        "A query over HTTP beside the engine at batch 1 and an exact search in float32. The aim is 1.3 for "
        "p99 at 100,000 items. In small galleries HTTP itself is most of a query.",
        ("benchmarks.query --sizes 1000 10000 100000 --queries 150",),
        ratios,
    ),
    Part(
        "beside",
        "Queries beside bulk work",
        "A query while another site is embedded anew, which yields to it, beside one at rest. The aim is 1.5 "
        "for p99, and 0.95 for embedding anew while no queries come.",
        ("benchmarks.beside", f"benchmarks.beside --bundle {STARTER} --crops 512 --rounds 3"),
        ratios,
    ),
    Part(
        "growth",
        "Growth",
        "What a start, a query and an item take, by the items of one site and by the number of sites.",
        ("benchmarks.growth --items {items} --sites {sites}",),
        tables,
    ),
    Part(
        "search",
        "Search alone",
        "The gallery's index beside others, on the same vectors; times as shares of ours. The aim is 1.3 "
        "times the time of reading its bytes, at a million vectors.",
        ("benchmarks.search --queries 50 --sizes {vectors}",),
        tables,
    ),
    Part("ranking", "Scoring", "mAP and CMC at Market-1501's size.", ("benchmarks.ranking{peers}",), ratios),
)


def section(part: Part, given: dict[str, str], peers: list[str]) -> str:
    """A part's figures. Exits where one of its commands fails.

    Args:
        given: what the places in the part's commands stand for. peers: words for `{peers}`, whose folders the
            page does not name.
    """
    shown = given | {"peers": "".join(f" {word} FOLDER" for word in peers[::2])}
    lines = [f"## {part.title}", "", part.says, ""]
    lines += [f"    python -m {command.format(**shown)}" for command in part.commands]
    for command in part.commands:
        words = [sys.executable, "-m", *command.format(**given, peers="").split()]
        words += peers if "{peers}" in command else []
        print(" ".join(words[1:]), file=sys.stderr, flush=True)
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
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--sites", type=int, nargs="+", default=[1, 10, 100, 1_000])
    parser.add_argument("--vectors", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--torchreid", type=Path, help="the folder with that package, unpacked")
    parser.add_argument("--fastreid", type=Path, help="likewise; benchmarks/peers.py says how")
    arguments = parser.parse_args()
    given = {name: " ".join(map(str, getattr(arguments, name))) for name in ("items", "sites", "vectors")}
    peers: list[str] = []
    for name in ("torchreid", "fastreid"):
        if getattr(arguments, name) is not None:
            peers += [f"--{name}", str(getattr(arguments, name))]
    if len(arguments.only) < len(names) and arguments.out == PAGE:
        parser.error("--only makes a page of some parts: name another file with --out")
    busy = os.getloadavg()[0]
    state = "idle" if busy <= _BUSY else f"not idle (load {busy:.1f}: single figures may be far off)"
    sections = []
    for part in PARTS:
        if part.name in arguments.only:
            sections.append(section(part, given, peers))
    arguments.out.write_text(
        "# How fast it is\n\n"
        f"Written by `python -m benchmarks.performance` on {time.strftime('%Y-%m-%d')}. Only ratios of one "
        "run are kept: absolute times are\nthe machine's, and other machines have other ratios too.\n\n"
        f"The machine was {state} when it began: {machine()}.\n\n" + "\n".join(sections)
    )
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
