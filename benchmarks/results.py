"""docs/results.md out of docs/results/*.json: `python -m benchmarks.results`. A test holds that the page is up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.card import in_short
from training.compare import table

DOCS = Path(__file__).parent.parent / "docs"
_METRICS = ("mAP", "rank-1", "mINP")
_HEAD = """# Results

Made by `python -m benchmarks.results` from the files in `docs/results/`, which `benchmarks.real` and `benchmarks.domains` write with
`--record`. Under each table stand the recipes of its rows, with the first seed. Means over the seeds, ± their sample deviation. The
last epoch counts everywhere; nothing was chosen on a target. Budgets are small: rows of one table compare with each other and with
nothing else.
"""


def merge(name: str, about: str, results: Sequence[dict[str, Any]], folder: Path = DOCS) -> None:
    """Writes an experiment's results, without what its command says anyway and without anybody's folders, and makes the page anew."""
    kept = [{key: value for key, value in result.items() if key != "recipe"} for result in results]
    for result in kept:
        result["command"] = re.sub(r"(distill\.teacher|distill\.cache|start)=(?!\{runs\})\S*/", r"\1=", result["command"])
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "results" / f"{name}.json").write_text(json.dumps({"about": about, "results": kept}, indent=1) + "\n")
    (folder / "results.md").write_text(page(folder))


def page(folder: Path = DOCS) -> str:
    """The page as it should be."""
    return "\n".join([_HEAD, *(_section(path) for path in sorted((folder / "results").glob("*.json")))])


def _section(path: Path) -> str:
    found = json.loads(path.read_text())
    results = found["results"]
    lines = [f"## {path.stem}", "", found["about"].strip(), ""]
    lines += [f"| learned from | judged by | | seeds | {' | '.join(_METRICS)} |", "| --- " * (4 + len(_METRICS)) + "|"]
    sources = {(r["target"], r["name"]): r["sources"] for r in results}
    lines += [f"| {in_short(sources[row[0], row[1]])} | {row[0]} | {' | '.join(row[1:])} |" for row in table(results, _METRICS)]
    first = results[0]
    budget = f"{first['crops']} crops" + (f" of {first['identities']} identities of each source" if first["identities"] else "")
    minutes = sum(r["minutes"] for r in results)
    machines = "; ".join(dict.fromkeys(r["machine"] for r in results))
    lines += ["", f"{budget}, {first['queries']} queries; {minutes:.0f} minutes of training in all. {machines}.", ""]
    commands: dict[str, str] = {}
    for result in results:
        commands.setdefault(result["name"], result["command"])
    lines += [f"    {command}" for command in commands.values()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    (DOCS / "results.md").write_text(page())
