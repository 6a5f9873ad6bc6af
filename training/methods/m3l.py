"""M3L: memory-based multi-source meta-learning (Zhao et al. 2021).

One domain plays the unseen one in every step.

    L = 1/(S-1) sum_{i != T} [ L_tri(X_i; theta) + L_mem(X_i; theta) ]
        + L_tri(X_T; theta') + mean_i L_mem(X_T^i; theta')

with theta' = one Adam step from theta on the first term, and X_T^i mixed by MetaBN with domain i's
statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from reid.models.build import Embedder
from reid.models.dcsd import dynamic_layers
from reid.models.heads import PART_DIM
from reid.models.spec import PARTS
from training.data.loader import Batch
from training.losses import SelfSupervisedLoss, triplet_losses
from training.methods.bot import BagOfTricks
from training.methods.memory import Memory
from training.methods.metabn import MetaBatchNorm
from training.methods.method import Method
from training.recipe import Recipe, RecipeError


class M3L(Method):
    """See the module. The neck becomes a MetaBN layer, which is an ordinary BatchNorm after training.

    Raises RecipeError for fewer than two domains.
    """

    per_domain = True
    disjoint = ("memory.vectors",)

    def __init__(self, recipe: Recipe, embedder: Embedder, identities: list[int], cameras: int) -> None:
        if len(identities) < 2:
            raise RecipeError(
                "m3l needs at least two domains; join them like dataset=folders:site-0+folders:site-1"
            )
        if not embedder.spec.neck:
            raise RecipeError("m3l compares features behind the neck: leave model.neck true")
        embedder.neck = MetaBatchNorm(embedder.spec.dim, len(identities) - 1, recipe.meta.metabn_scale)
        super().__init__(recipe, embedder, identities, cameras)
        for layer in dynamic_layers(embedder):
            # M3L has no loss of domain and camera, so DCSD's embeddings learn from the identities
            layer.detach = False
        self.memory = Memory(
            identities,
            embedder.spec.dim,
            recipe.meta.memory_momentum,
            recipe.meta.temperature,
            recipe.meta.memory_update,
        )
        self.classifier: nn.Module | None = None  # instead of the memory
        if recipe.meta.classifier != "memory":
            self.classifier = BagOfTricks.make_classifier(recipe, sum(identities))
        self.ssl = (
            SelfSupervisedLoss(sum(identities), PART_DIM, PARTS) if embedder.heads is not None else None
        )

    @property
    def net(self) -> _Net:
        """The embedder and its classifier as one call; not stored, or every tensor would have two names."""
        return _Net(self.pixels.embedder, self.classifier)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The meta-train and the meta-test loss; both are differentiated by theta."""
        x = self.pixels.normalise(batch.crops)
        rows = [batch.domains == d for d in range(len(self.identities))]  # of each domain
        losses = []
        if not self.recipe.meta.enabled:
            for d, of_domain in enumerate(rows):
                losses.append(self._loss(self.net(x[of_domain]), batch.labels[of_domain], d))
            name = "memory and triplet" if self.recipe.losses.triplet else "memory"
            return {name: torch.stack(losses).mean()}
        target = int(torch.randint(len(rows), ()))
        for slot, d in enumerate(d for d in range(len(rows)) if d != target):
            losses.append(self._loss(self.net(x[rows[d]], slot=slot), batch.labels[rows[d]], d))
        meta_train = torch.stack(losses).mean()
        moved = self._inner_step(meta_train)
        # the copy must not change the running statistics
        buffers = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        options = {"sample": self.recipe.meta.metabn}
        output = functional_call(self.net, (moved, buffers), (x[rows[target]],), options)
        meta_test = self._own_loss(output, batch.labels[rows[target]], target)
        return {"meta-train": meta_train, "meta-test": meta_test}

    def _loss(self, output: _Output, labels: Tensor, domain: int) -> Tensor:
        """M3L's own losses and those of BNTA's heads, which the meta-test has no part in (methods A.3.7)."""
        loss = self._own_loss(output, labels, domain)
        if self.ssl is not None and output.position_logits is not None and output.parts is not None:
            position, parts = self.ssl(output.position_logits.float(), output.parts, labels)
            weights = self.recipe.losses
            loss = loss + weights.position * position + weights.part_identity * parts
        return loss

    def _own_loss(self, output: _Output, labels: Tensor, domain: int) -> Tensor:
        """Triplet on the pooled feature, mean memory loss of the embeddings."""
        weights = self.recipe.losses
        mixtures = range(len(output.embeddings))
        identity = torch.stack([self._identity_loss(output, i, labels, domain) for i in mixtures]).mean()
        loss = weights.identity * identity
        for triplet in triplet_losses(weights, [output.pooled], labels).values():
            loss = loss + triplet
        return loss

    def _identity_loss(self, output: _Output, mixture: int, labels: Tensor, domain: int) -> Tensor:
        if not output.logits:
            return self.memory(output.embeddings[mixture], labels, domain)
        logits = output.logits[mixture].float()
        low, high = 0, logits.shape[1]
        if self.recipe.meta.classifier == "parallel":
            low, high = self.memory.ranges[domain]
        return F.cross_entropy(logits[:, low:high], labels - low)

    def _inner_step(self, loss: Tensor) -> dict[str, Tensor]:
        """theta' by name: one Adam step with fresh moments, in closed form."""
        meta, rate = self.recipe.meta, self._outer.param_groups[0]["lr"]
        parameters = {n: p for n, p in self.net.named_parameters() if p.requires_grad}
        second = meta.inner_grad != "first_order"
        gradients = torch.autograd.grad(
            loss, tuple(parameters.values()), create_graph=second, retain_graph=True
        )
        moved = inner_adam(parameters, gradients, rate, meta.inner_weight_decay, meta.inner_grad)
        return moved | {n: p for n, p in self.net.named_parameters() if not p.requires_grad}

    def begin(self, embed: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Fills the memories with each identity's mean embedding."""
        if self.classifier is None:
            self.memory.fill(*embed())

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam over everything.

        The inner step takes its rate from it (methods A.1.3: alpha is the outer rate at all times).
        """
        optimisers = super().optimisers()
        self._outer = optimisers["network"]
        return optimisers

    @torch.no_grad()
    def after_step(self, batch: Batch) -> None:
        """Moves the memories of all domains towards the new embeddings, in train mode as the code does."""
        if self.classifier is not None:
            return
        x = self.pixels.normalise(batch.crops)
        for d in range(len(self.identities)):
            rows = batch.domains == d
            self.memory.update(self.net(x[rows]).embeddings[0], batch.labels[rows])


class _Output:
    def __init__(
        self,
        pooled: Tensor,
        embeddings: list[Tensor],
        logits: list[Tensor],
        heads: tuple[Tensor | None, Tensor | None],
    ) -> None:
        self.pooled = pooled  # [B,D] before the neck
        self.embeddings = embeddings  # unit [B,D], one for each MetaBN mixture
        self.logits = logits  # [B,identities] for each mixture, where there is a parametric classifier
        self.position_logits, self.parts = heads


class _Net(nn.Module):
    """The embedder as one call, which `functional_call` can run with other parameters."""

    def __init__(self, embedder: Embedder, classifier: nn.Module | None) -> None:
        super().__init__()
        self.embedder, self.classifier = embedder, classifier

    def forward(self, x: Tensor, slot: int | None = None, sample: bool = False) -> _Output:
        embedder = self.embedder
        neck = embedder.neck
        assert isinstance(neck, MetaBatchNorm)
        feature_map = embedder.trunk(x)
        pooled = embedder.pool(feature_map)
        if slot is not None:
            neck.remember(pooled, slot)
        after = neck.sample(pooled) if sample else [neck(pooled)]
        heads = embedder.heads(feature_map) if embedder.heads is not None else (None, None)
        logits = [self.classifier(a) for a in after] if self.classifier is not None else []
        return _Output(pooled, [F.normalize(a.float()) for a in after], logits, heads)


def inner_adam(
    parameters: Mapping[str, Tensor],
    gradients: tuple[Tensor, ...],
    rate: float,
    weight_decay: float,
    inner_grad: str,
) -> dict[str, Tensor]:
    """Adam's first step from zero moments, theta - rate * g / (sqrt(g^2 + 1e-5) + 1e-8) (A.1.3, step 4).

    Args:
        gradients: in the order of `parameters`; weight decay is added to them.
        inner_grad: what reaches theta through theta'. `full` is Eq. (1) of the paper; `second_order_only` is
            the official code, whose copy starts from detached values; `first_order` leaves the Hessian out.
    """
    moved = {}
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        base = parameter.detach() if inner_grad == "second_order_only" else parameter
        if inner_grad == "first_order":
            gradient = gradient.detach()
        g = gradient + weight_decay * (parameter if inner_grad == "full" else parameter.detach())
        moved[name] = base - rate * g / ((g.square() + 1e-5).sqrt() + 1e-8)
    return moved
