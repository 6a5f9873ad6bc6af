"""Compares methods over several domains: the same rendered sites, seeds and epochs for all of them.

python -m benchmarks.domains unseen --data WORLD --out RUNS --seeds 0 1 2
python -m benchmarks.domains conflict --data WORLD --out RUNS --start RUN
python -m benchmarks.domains dcsd --data WORLD --out RUNS

`unseen` trains on sites of a world (`resight synth --out WORLD`) and evaluates on the next one, whose cameras
and people training never sees. `student` is STD from the m3l run of the same seed, `student alone` the same
recipe without its teacher. `conflict` takes sites where a cue means different things (`resight synth --kinds
cast,monochrome,uniform,feet,coats --sites 5`): BoT on each alone and BoT on all of them, from the same
weights if `--start` gives some. `dcsd` compares BoT on all of them with DCSD on all of them. Each run is
evaluated on every site's test people. The last epoch counts; nothing is selected on a target. None of this
says anything about real people.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.results import merge
from training.compare import Comparison, Entry, compare, queries, table
from training.evaluate import of_queries

_OFFICIAL = (
    "meta.inner_grad=second_order_only",
    "meta.metabn_scale=variance",
    "meta.memory_update=sequential",
)
ROWS = [
    Entry("bot", "dcsd-bot", ("augment.erase=0.0",)),
    Entry("m3l-baseline", "m3l-baseline"),
    Entry("m3l", "m3l"),
    Entry("m3l, official code", "m3l", _OFFICIAL),
    Entry("m3l, global classifier", "m3l-global"),
    Entry("m3l, parallel classifiers", "m3l-parallel"),
    Entry("student", "std", ("distill.teacher={runs}/m3l-{target}-{seed}",)),
    Entry("student alone", "std", ("distill.teacher={runs}/m3l-{target}-{seed}", "distill.weight=0.0")),
]
ALONE = Entry("BoT, this site alone", "bot", ("augment.erase=0.0", "losses.centre=0.0"))
JOINT = Entry("BoT, all sites", "dcsd-bot", ("augment.erase=0.0",))
DCSD = [
    Entry("BoT, ResNet-50", "dcsd-bot", ("augment.erase=0.0", "model.arch=resnet50")),
    Entry("DCSD, ResNet-50", "dcsd", ("augment.erase=0.0", "model.arch=resnet50-dcsd")),
]


ABOUT = {
    "unseen": "Trained on rendered sites, evaluated on the next one, whose cameras and people training never "
    "sees.",
    "conflict": "Sites where a cue means different things: at site 0 the light's colour changes from crop "
    "to crop, site 1 has no colour, at site 2 all wear one of two jackets, at site 3 the lower part is cut "
    "off, at site 4 all wear long plain coats (`resight synth --kinds cast,monochrome,uniform,feet,coats "
    "--sites 5 --identities 80 --cameras 4 --images 3 --seed 11`). Every run starts from the same weights "
    "(`start`) and lasts as many epochs, so training on all sites together takes five times as many steps.",
    "dcsd": "The sites of `conflict`, all together, from scratch, on one trunk.",
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=tuple(ABOUT))
    parser.add_argument("--data", type=Path, required=True, help="folder of a world")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; existing ones resume")
    parser.add_argument(
        "--sites", type=int, default=3, help="sites to train on; the next one is the target of `unseen`"
    )
    parser.add_argument("--identities", type=int, default=40, help="of each site")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=[r.name for r in ROWS],
        default=[r.name for r in ROWS],
        help="of `unseen`",
    )
    parser.add_argument("--start", default="", help="weights of a ResNet-18 that `conflict` starts from")
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the results into docs/results/ and regenerate docs/results.md",
    )
    options = parser.parse_args()
    steps = [options.epochs * 5 // 8, options.epochs * 7 // 8]
    settings = [
        "model.arch=resnet18",
        "model.height=96",
        "model.width=48",
        "model.ssl_heads=false",
        "augment.pad=4",
        "batch_identities=8",
        "precision=32-true",
    ]
    settings += [
        f"optimiser.epochs={options.epochs}",
        f"optimiser.milestones={steps}",
        "optimiser.warmup_epochs=0",
        "optimiser.rate=1.0e-3",
    ]
    print(f"96x48, {options.sites} sites of {options.identities} people")
    print(f"{options.epochs} epochs, seeds {options.seeds}")
    names = [f"world:site-{i}" for i in range(options.sites + 1)]
    joint = "+".join(names[:-1])
    rows = [r for r in ROWS if r.name in options.rows]
    parts = [(rows, [(joint, names[-1])])]
    if options.experiment == "conflict":
        settings += [f"start={options.start}"]
        parts = [([ALONE], [(name, name) for name in names[:-1]]), ([JOINT], [(joint, ",".join(names[:-1]))])]
    elif options.experiment == "dcsd":
        parts = [(DCSD, [(joint, ",".join(names[:-1]))])]
    results = []
    for entries, plan in parts:
        comparison = Comparison(entries, plan, options.seeds, tuple(settings), options.identities)
        results += compare(
            comparison,
            options.data,
            options.out,
            lambda r: print(r["name"], r["target"], r["seed"], r["metrics"], of_queries(r), flush=True),
        )
    for row, count in zip(table(results), queries(results), strict=True):
        print(f"{row[0]:14} {row[1]:26} mAP {row[3]}   rank-1 {row[4]}   {count} queries")
    if options.record:
        merge(options.experiment, ABOUT[options.experiment], results)


if __name__ == "__main__":
    main()
