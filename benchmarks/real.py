"""Compares methods on real people, within a small budget: the same identities, seeds and epochs for all.

python -m benchmarks.real ladder --data ROOT --out RUNS --seeds 0 1 2

`ladder` is BoT's Table 1 in its own domain. `teacher` is a student beside the same student with a teacher: a
foreign network (OpenVINO .xml), or a run. `unseen` trains on three domains and evaluates on real people, and
then on a rendered site, that were left out. `added` measures what rendered people add to Market-1501's own
training set in the same number of steps, mixed in or trained on before (--start). `starter` compares what the
starter model should be trained on, at half its size. An interrupted command resumes when it is run again.
ROOT holds Market-1501 and, but for the first two, the sites of `resight synth --out ROOT`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.results import merge
from training.compare import Comparison, Entry, compare, queries, table
from training.evaluate import of_queries

RUNGS = ("1-baseline", "2-warmup", "3-erasing", "4-smoothing", "5-stride", "6-neck")
ABOUT = {
    "ladder": "BoT's Table 1 in its own domain, trick by trick.",
    "teacher": "A student, and the same student with a foreign teacher. Open Model Zoo's networks have very "
    "likely been trained on Market-1501 itself: the student's score shows what STD can transfer and "
    "is not a score on an unseen target.",
    "added": "What rendered people add to real ones, in the same number of steps: half of the people "
    "rendered, or weights of a run on rendered people to start from.",
    "starter": "Three ways to make a starter model: labels of rendered people alone, a foreign teacher's "
    "features of them alone, and both. The teacher has very likely seen Market-1501, so the last two "
    "are a reference there and not a score on an unseen target; no run has seen `world:site-7`.",
    "unseen": "Trained on three domains, evaluated on one that training never sees: real people after "
    "three rendered sites, and a rendered site after two others and real people.",
}
MARKET = [("market1501", "market1501")]
SITES = "world:site-0+world:site-1+world:site-2"
UNSEEN = [(SITES, "market1501"), ("world:site-0+world:site-1+market1501", "world:site-7")]


def experiment(
    name: str, teacher: str, cache: str, start: str, epochs: int
) -> list[tuple[list[Entry], list[tuple[str, str]]]]:
    """Rows and plans of an experiment."""
    if name == "ladder":
        rows = [
            Entry(rung.replace("-", ". +" if rung != RUNGS[0] else ". ", 1), f"bot-ladder-{rung}")
            for rung in RUNGS
        ]
        return [([*rows, Entry("7. +centre", "bot", ("model.ssl_heads=false",))], MARKET)]
    if name == "teacher":
        labels = ("losses.triplet=1.0", "losses.label_smoothing=0.1")
        rows = [
            Entry("student alone", "std", (*labels, "distill.weight=0.0", f"distill.teacher={teacher}")),
            Entry("student of a foreign teacher", "std", (*labels, f"distill.teacher={teacher}")),
        ]
        return [(rows, MARKET)]
    if name == "added":
        started = (
            [Entry("BoT, begun with rendered people", "bot-unseen", (f"start={start}",))] if start else []
        )
        mixed = Entry("BoT, half of them rendered", "bot-unseen", _schedule(epochs // 2))
        return [
            ([Entry("BoT", "bot-unseen"), *started], MARKET),
            ([mixed], [("market1501+world:site-0", "market1501")]),
        ]
    if name == "starter":
        distilled = (f"distill.teacher={teacher}", f"distill.cache={cache}")
        rows = [
            Entry("a. labels", "starter-small", (*distilled, "distill.weight=0.0")),
            Entry("b. teacher", "starter-small", (*distilled, "distill.weight=1.0")),
            Entry("c. both", "starter-small", distilled),
        ]
        return [(rows, [(SITES, "market1501,world:site-7")])]
    rows = [
        Entry("BoT joint", "dcsd-bot", ("augment.erase=0.0",)),
        Entry("M3L's baseline", "m3l-baseline"),
        Entry("M3L", "m3l"),
        Entry("M3L, global classifier", "m3l-global"),
    ]
    return [
        ([*rows, Entry("student of M3L", "std", ("distill.teacher={runs}/M3L-{target}-{seed}",))], UNSEEN)
    ]


def _schedule(epochs: int) -> tuple[str, ...]:
    return (f"optimiser.epochs={epochs}", f"optimiser.milestones={[epochs * 5 // 8, epochs * 7 // 8]}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=tuple(ABOUT))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", default="", help="for `teacher` and `starter`")
    parser.add_argument("--start", default="", help="for `added`: weights of a run on rendered people")
    parser.add_argument("--rows", nargs="+", help="rows of the experiment, by name; default: all")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--identities", type=int, default=250, help="of each source")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", default="1.0e-3")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the results into docs/results/ and regenerate docs/results.md",
    )
    options = parser.parse_args()
    settings = [f"model.arch={options.arch}", "precision=32-true"]
    if options.experiment != "starter":
        settings += ["model.height=128", "model.width=64", "augment.pad=5"]
    settings += [f"optimiser.rate={options.rate}", f"optimiser.epochs={options.epochs}"]
    if options.experiment == "starter":
        settings.append(f"optimiser.milestones=[{options.epochs}]")
    else:
        settings += _schedule(options.epochs)[1:]
    if options.experiment != "ladder":
        settings += ["model.ssl_heads=false", "optimiser.warmup_epochs=0"]
    results = []
    parts = experiment(
        options.experiment,
        options.teacher,
        str(options.out / "teacher.safetensors"),
        options.start,
        options.epochs,
    )
    names = [row.name for rows, _ in parts for row in rows]
    if unknown := [name for name in options.rows or () if name not in names]:
        parser.error(f"{options.experiment} has no row {unknown[0]!r}, but {', '.join(names)}")
    for rows, plan in parts:
        if options.experiment == "ladder":  # epochs count from 1, so a warm-up of one epoch would be none
            rows = [
                r._replace(settings=(*r.settings, f"optimiser.warmup_epochs={0 if '1-' in r.recipe else 2}"))
                for r in rows
            ]
        rows = [r for r in rows if options.rows is None or r.name in options.rows]
        comparison = Comparison(rows, plan, options.seeds, tuple(settings), options.identities)
        results += compare(
            comparison,
            options.data,
            options.out,
            lambda r: print(r["name"], r["target"], r["seed"], r["metrics"], of_queries(r), flush=True),
        )
    for row, count in zip(table(results), queries(results), strict=True):
        print("  ".join((*row, f"{count} queries")))
    if options.record:
        merge(options.experiment, ABOUT[options.experiment], results)


if __name__ == "__main__":
    main()
