"""DCSD: joint training on many domains with filters that depend on domain, camera and sample (methods A.2).

L = L_BoT + 1/B sum_blocks CE(domain) + 1/B sum_blocks CE(camera), over the B = 16 dynamic convolutions (Eq.
5). It helps where the target is one of the sources; for unseen domains the paper's own Table III shows no
gain over BoT.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.build import Embedder
from reid.models.dcsd import dynamic_layers
from training.data.loader import Batch
from training.methods.bot import BagOfTricks
from training.recipe import Recipe, RecipeError


class Dcsd(BagOfTricks):
    """See the module. The classifiers of domain and camera are training-only.

    Raises RecipeError for a network without DCSD modules.
    """

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int], cameras: int) -> None:
        super().__init__(recipe, embedder, identities, cameras)
        layers = dynamic_layers(embedder)
        if not layers:
            raise RecipeError(
                f"method dcsd needs a network with its modules, like model.arch=resnet50-dcsd, not "
                f"{embedder.spec.arch}"
            )
        self.branches: dict[str, nn.ModuleList] = {}
        self.seen: dict[str, list[Tensor]] = {}
        for name, classes in (("domain", len(identities)), ("camera", cameras)):
            mlps = [mlp for layer in layers if (mlp := getattr(layer, name)) is not None]
            if not mlps:
                continue
            heads = nn.ModuleList(nn.Linear(mlp[-1].out_features, classes) for mlp in mlps)
            for head in heads.children():
                assert isinstance(head, nn.Linear)
                nn.init.normal_(head.weight, std=0.001)
            self.branches[name] = heads
            self.add_module(f"{name}_heads", heads)
            for mlp in mlps:
                mlp.register_forward_hook(
                    lambda _, __, embedding, name=name: self.seen.setdefault(name, []).append(embedding)
                )
        for layer in layers:
            layer.detach = recipe.losses.detach

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """BoT's losses, and those of domain and camera."""
        self.seen.clear()
        losses = super().forward(batch)
        for name, weight, labels in (
            ("domain", self.recipe.losses.domain, batch.domains),
            ("camera", self.recipe.losses.camera, batch.cameras),
        ):
            if name in self.branches and weight:
                logits = [head(e) for head, e in zip(self.branches[name], self.seen[name], strict=True)]
                losses[name] = (
                    weight * torch.stack([F.cross_entropy(each.float(), labels) for each in logits]).mean()
                )
        self.seen.clear()
        return losses
