"""Methods over several domains, judged on one that none has seen: the same drawn sites, seeds and epochs for all.

python -m benchmarks.domains --seeds 0 1 2

Trains on `sites` drawn sites and evaluates on one more, whose cameras and people training never sees. `student` is STD from
the m3l run of the same seed, `student alone` the same recipe without its teacher. The last epoch counts; nothing is chosen
on the target. Drawn people are easy: this compares methods with each other and says nothing of real ones.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from training.data.records import Dataset, join
from training.evaluate import evaluate, open_embedder
from training.loop import Run
from training.recipe import load_recipe
from training.synthetic.drawn import draw_sites

RECIPES = {  # name -> recipe and what it changes
    "bot": ("dcsd-bot", ["augment.erase=0.0"]),
    "m3l-baseline": ("m3l-baseline", []),
    "m3l": ("m3l", []),
    "m3l, official code": ("m3l", ["meta.inner_grad=second_order_only", "meta.metabn_scale=variance", "meta.memory_update=sequential"]),
    "student": ("std", []),
    "student alone": ("std", ["distill.weight=0.0"]),
}


def run(name: str, seed: int, sources: Dataset, target: Dataset, out: Path, settings: list[str]) -> tuple[float, float]:
    """mAP and rank-1 in percent on the target of one recipe and seed."""
    recipe, changes = RECIPES[name]
    teacher = [f"distill.teacher={out / f'm3l-{seed}'}"] if recipe == "std" else []
    folder = out / f"{name}-{seed}"
    Run(load_recipe(recipe, [*changes, *settings, *teacher, f"seed={seed}"]), sources, folder).fit()
    embed, size, _ = open_embedder(folder, "cpu")
    scores = evaluate(embed, target, size)
    return 100 * scores.mean_ap, 100 * scores.rank(1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=3)
    parser.add_argument("--identities", type=int, default=40, help="of each site")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--out", type=Path, help="keep the runs here, and go on with those that are there")
    given = parser.parse_args()
    steps = [given.epochs * 5 // 8, given.epochs * 7 // 8]
    settings = ["model.arch=resnet18", "model.height=96", "model.width=48", "model.ssl_heads=false", "augment.pad=4", "batch_identities=8"]
    settings += [f"optimiser.epochs={given.epochs}", f"optimiser.milestones={steps}", "optimiser.warmup_epochs=1", "optimiser.rate=1.0e-3"]
    print(f"ResNet-18, 96x48, {given.sites} drawn sites of {given.identities} people, {given.epochs} epochs, seeds {given.seeds}")
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        *sources, target = draw_sites(out / "world", given.sites + 1, given.identities, cameras=4, images=3)
        for name in given.recipes:
            found = [run(name, seed, join(sources), target, out, settings) for seed in given.seeds]
            shown = [
                f"{statistics.mean(values):5.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")
                for values in zip(*found, strict=True)
            ]
            print(f"{name:20} mAP {shown[0]}   rank-1 {shown[1]}", flush=True)


if __name__ == "__main__":
    main()
