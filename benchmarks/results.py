"""Writes docs/results.md from docs/results/*.json: `python -m benchmarks.results`.

A test checks that the page is up to date. A file holds what the experiment compares (`about`), the command
that wrote it, and its results. What a reader should know about them stands under `remark`, which a person
writes; recording the experiment again keeps it.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from export.card import in_short
from training.compare import table
from training.evaluate import scored

DOCS = Path(__file__).parent.parent / "docs"
_METRICS = ("mAP", "rank-1", "mINP")
_HEAD = """# Results

Written by `python -m benchmarks.results` from the files in `docs/results/`, which `benchmarks.real` and
`benchmarks.domains` write with `--record`. Below each table is its command, followed by the commands of its
rows for the first seed. Numbers are means over the seeds, ± their sample deviation. All models are evaluated
after their last epoch; none was selected on a target. Budgets are small, so compare rows of one table with
each other and with nothing else.
"""


def merge(name: str, about: str, results: Sequence[dict[str, Any]], folder: Path = DOCS) -> None:
    """Writes an experiment's results, without the folders of this machine, and regenerates the page."""
    kept = [{key: value for key, value in result.items() if key != "recipe"} for result in results]
    for result in kept:
        result["command"] = _without_folders(result["command"])
    path = folder / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    remark = json.loads(path.read_text()).get("remark", "") if path.is_file() else ""
    path.write_text(
        json.dumps({"about": about, "command": _command(), "remark": remark, "results": kept}, indent=1)
        + "\n"
    )
    (folder / "results.md").write_text(page(folder))


def _command() -> str:
    """The command of this process, with placeholders for its folders."""
    places = {"--data": "ROOT", "--out": "RUNS"}
    pairs = [(before, word) for before, word in pairwise(sys.argv) if word != "--record"]
    words = [places.get(before, Path(word).name if word.startswith("/") else word) for before, word in pairs]
    return f"python -m benchmarks.{Path(sys.argv[0]).stem} {shlex.join(words)}"


def _without_folders(command: str) -> str:
    return re.sub(r"(distill\.teacher|distill\.cache|start)=(?!\{runs\})\S*/", r"\1=", command)


def page(folder: Path = DOCS) -> str:
    """The page as it should be."""
    return "\n".join([_HEAD, *(_section(path) for path in sorted((folder / "results").glob("*.json")))])


def _section(path: Path) -> str:
    experiment = json.loads(path.read_text())
    results = experiment["results"]
    lines = [f"## {path.stem}", "", experiment["about"].strip(), ""]
    lines += [
        f"| trained on | evaluated on | | seeds | {' | '.join(_METRICS)} |",
        "| --- " * (4 + len(_METRICS)) + "|",
    ]
    sources = {(r["target"], r["name"]): r["sources"] for r in results}
    for target, name, *cells in table(results, _METRICS):
        lines.append(f"| {in_short(sources[target, name])} | {target} | {name} | {' | '.join(cells)} |")
    lines += ["", experiment["remark"]] if experiment["remark"] else []
    first = results[0]
    crops = [result["crops"] for result in results]
    budget = f"{min(crops)} crops" if len(set(crops)) == 1 else f"{min(crops)} to {max(crops)} crops"
    budget += f" of {first['identities']} identities of each source" if first["identities"] else ""
    queries = " and ".join(dict.fromkeys(scored(r) for r in results)) + " queries"
    minutes = sum(r["minutes"] for r in results)
    machines = "; ".join(dict.fromkeys(r["machine"] for r in results))
    lines += ["", f"{budget}, {queries}; {minutes:.0f} minutes of training in all. {machines}.", ""]
    commands: dict[str, str] = {}
    for result in results:
        commands.setdefault(result["name"], result["command"])
    lines += [f"    {command}" for command in (experiment["command"], *commands.values())]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    (DOCS / "results.md").write_text(page())
