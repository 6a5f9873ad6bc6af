"""Methods over several domains, judged on one that none has seen: the same drawn sites, seeds and epochs for all.

python -m benchmarks.domains --seeds 0 1 2

Trains on drawn sites and evaluates on one more, whose cameras and people training never sees. `student` is STD from the m3l run
of the same seed, `student alone` the same recipe without its teacher. The last epoch counts; nothing is chosen on the target.
Drawn people are easy: this compares methods with each other and says nothing of real ones.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.results import merge
from training.compare import Comparison, Entry, compare, table
from training.synthetic.drawn import draw_sites

_OFFICIAL = ("meta.inner_grad=second_order_only", "meta.metabn_scale=variance", "meta.memory_update=sequential")
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


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--identities", type=int, default=40, help="of each site")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=[r.name for r in ROWS], default=[r.name for r in ROWS])
    parser.add_argument("--out", type=Path, help="keep the runs here, and go on with those that are there")
    parser.add_argument("--record", action="store_true", help="write the results into docs/results/ and make docs/results.md anew")
    given = parser.parse_args()
    steps = [given.epochs * 5 // 8, given.epochs * 7 // 8]
    settings = ["model.arch=resnet18", "model.height=96", "model.width=48", "model.ssl_heads=false", "augment.pad=4", "batch_identities=8"]
    settings += [f"optimiser.epochs={given.epochs}", f"optimiser.milestones={steps}", "optimiser.warmup_epochs=1", "optimiser.rate=1.0e-3"]
    print(f"ResNet-18, 96x48, {given.sites} drawn sites of {given.identities} people, {given.epochs} epochs, seeds {given.seeds}")
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        draw_sites(out / "world", given.sites + 1, given.identities, cameras=4, images=3)
        plan = [("+".join(f"folders:site-{i}" for i in range(given.sites)), f"folders:site-{given.sites}")]
        asked = Comparison([r for r in ROWS if r.name in given.rows], plan, given.seeds, tuple(settings))
        results = compare(asked, out / "world", out, lambda r: print(r["name"], r["seed"], r["metrics"], flush=True))
    for row in table(results):
        print(f"{row[1]:26} mAP {row[3]}   rank-1 {row[4]}")
    if given.record:
        merge("domains", __doc__ or "", results)


if __name__ == "__main__":
    main()
