"""Whole networks and samplers beside published code: what in `benchmarks.peers` is more than a formula.

Not to be had as packages: PTL's code, whose shared reduction `shared_mgn` puts into fast-reid's MGN; M3L's;
and IBN-Net's own, whose network torchreid has.

Lines of M3L's and PTL's repositories were run beside ours by hand (M3L's files of 68ec0c0 and f2faeab,
PTL's of e0251eb), on drawn people: three domains as large as MSMT17, DukeMTMC-reID and the old CUHK03 for
M3L, one as large as Market-1501 for PTL. Both repositories have these facts:

- M3L: rates. Equal in all 60 epochs: counted from 0, 3.5e-6 in the first, a tenth from 30 and from 50 on.
- M3L: steps. 200 an epoch; a pass has 65, 43 and 85 batches of 16 x 4 in both. Theirs goes on where the
  epoch before stopped, domain by domain; ours does so too since this comparison (before, each epoch began
  with a new pass, and ten epochs showed a person of MSMT17 23 to 39 times, theirs 29 to 31; now ours are 29
  to 31).
- M3L: positives. Of another camera than the anchor's in 100, 100 and 99.6 %, in both. Where a person has
  just three candidates theirs draws with replacement, ours takes each once: of four crops 0.16, 0.77 and
  4.6 % repeat another in theirs, 0.12, 0.48 and 3.1 % in ours.
- M3L: people with one crop. Theirs shows the crop once, so that later groups of four shift and a batch has
  16 to 19 people; ours shows it four times, so that each batch has 16.
- PTL's MGN: rates. Equal in all 400 epochs: counted from 1, a tenth from 320, from 360, and in epoch 400.
- PTL's MGN: sampler. Both have 187 batches of 4 x 4 a pass, each person once, any of their crops: 82.8 %
  (theirs) and 83.1 % (ours) of positives are of another camera than the first crop's. Of people with fewer
  than four crops theirs repeats each at most four times, ours draws with replacement.
- PTL's MGN with cells: outputs of three training batches, whose cells carry states over, the last smaller,
  and of an evaluation are equal in float64 with the same weights, gradients to 1.3e-10 of 9.3e4. For that
  ours had no biases in its cells and kept states in float64, theirs began at zero. Untouched, ours have the
  four biases of the paper's Eq. (1) and start at its zeros, theirs have none and start at noise of 0.001;
  their first 1x1 convolution reads the cells before the backbone, which would matter to converted weights
  alone; and theirs have a bias before BatchNorm, which has no effect.
"""

from __future__ import annotations

import collections
import copy
import random
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from reid.models.build import PixelEmbedder, build
from reid.models.imagenet import load_imagenet
from reid.models.mgn import MgnTrunk
from reid.models.resnet import ResNetTrunk
from reid.models.spec import ModelSpec
from reid.ranking import rank_scores
from training.data.samplers import Sampler, make_sampler
from training.features import Features, euclidean, feature_runner
from training.methods.bot import BagOfTricks
from training.recipe import load_recipe
from training.weights import convert_weights

Borrow = Callable[[str], Any]  # a module of the package, without the package's own imports
_PEOPLE, _CAMERAS, _EPOCHS, _P, _K = 200, 6, 10, 16, 4


def converted_ibn(torchreid: Borrow) -> float:
    """Largest difference of feature maps: torchreid's IBN-Net, and ours from its converted weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torchreid("torchreid.reid.models.resnet_ibn_a").resnet50_ibn_a(7).eval()
    _stir(theirs)
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "ibn.pth", Path(folder) / "ibn.safetensors"
        torch.save(theirs.state_dict(), file)
        convert_weights(str(file), out)
        ours = ResNetTrunk(variant="ibn", last_stride=2)
        load_imagenet(ours, load_file(out))
    x = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    with torch.inference_mode():
        return float((ours.double().eval()(x) - theirs.double().featuremaps(x)).abs().max())


def biased_classifier(torchreid: Borrow) -> float:
    """Largest difference of loss and of the bias' gradient: BoT's first rung and torchreid's ResNet-50."""
    theirs = torchreid("torchreid.reid.models.resnet").resnet50(7, pretrained=False)
    recipe = load_recipe("bot-table1-baseline")
    embedder = build(recipe.model)
    ours = BagOfTricks(recipe, embedder, [7], 1)
    state = theirs.state_dict()
    load_imagenet(embedder.trunk, {k: v for k, v in state.items() if not k.startswith("classifier")})
    ours.classifier.load_state_dict(theirs.classifier.state_dict())
    x, labels = torch.randn(6, 3, 64, 32, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 5, 6])
    ours, theirs = ours.double().train(), theirs.double().train()
    results: list[Any] = []
    for logits, classifier in (
        (ours.classifier(embedder.features(x).after_neck), ours.classifier),
        (theirs(x), theirs.classifier),
    ):
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        bias = classifier.get_parameter("bias").grad
        assert bias is not None
        results.append(torch.cat([loss.detach().reshape(1), bias]))
    return float((results[0] - results[1]).abs().max())


def shared_mgn(fastreid: Borrow) -> tuple[float, float]:
    """Largest differences of MGN's feature with one reduction: alone, and averaged with the mirrored crop.

    The second is a share of the largest value, since our test feature is float32. Theirs is fast-reid's way
    through the same parts, and its test with mirrored crops; that the reduction is one comes from us.
    """
    embedder = build(
        ModelSpec("mgn", 96, 32, last_stride=1, neck=False, ssl_heads=False, shared_reduction=True)
    ).eval()
    _stir(embedder)
    trunk = embedder.trunk
    assert isinstance(trunk, MgnTrunk)
    head = nn.Sequential(nn.AdaptiveMaxPool2d(1), trunk.reduce[0], nn.Flatten())
    stem = (trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool, trunk.layer1, trunk.layer2, trunk.layer3)
    heads = ("b1", "b2", "b21", "b22", "b3", "b31", "b32", "b33")
    theirs = (
        _mgn(fastreid)(
            backbone=copy.deepcopy(nn.Sequential(*stem)),
            **{f"neck{n}": copy.deepcopy(branch) for n, branch in enumerate(trunk.branches, 1)},
            **{f"{name}_head": copy.deepcopy(head) for name in heads},
            pixel_mean=[0.0] * 3,
            pixel_std=[1.0] * 3,
        )
        .double()
        .eval()
    )
    crops = np.random.default_rng(0).integers(0, 255, (3, 96, 32, 3), np.uint8)
    embedder = embedder.double()
    pixels = PixelEmbedder(embedder).double()
    x = (torch.from_numpy(crops).permute(0, 3, 1, 2) - pixels.pixel_mean) * pixels.pixel_scale
    with torch.inference_mode():
        plain = float((embedder.retrieval(x) - theirs(x.clone())).abs().max())
    seen: list[Tensor] = []
    evaluator = types.SimpleNamespace(
        reset=lambda: None, process=lambda _, outputs: seen.append(outputs), evaluate=dict
    )
    _evaluation(fastreid).inference_on_dataset(
        _module(lambda inputs: theirs(inputs["images"].clone())),
        _Loader([{"images": x.clone()}]),
        evaluator,
        flip_test=True,
    )
    ours = feature_runner(embedder.float(), "cpu", Features(unit=False, flip=True))(crops)
    return plain, float((torch.from_numpy(ours) - seen[0]).abs().max() / seen[0].abs().max())


def euclidean_ranking(torchreid: Borrow) -> float:
    """Largest difference of mAP and CMC by Euclidean distance of features f_t, which have all lengths."""
    distance = torchreid("torchreid.reid.metrics.distance").compute_distance_matrix
    evaluate = torchreid("torchreid.reid.metrics.rank").eval_market1501
    worst = 0.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        people = rng.exponential(size=(12, 64))
        of_query, of_gallery = rng.integers(1, 12, 40), rng.integers(0, 12, 300)
        query, gallery = (
            (people[pids] * rng.uniform(0.5, 1.5, (len(pids), 1)) + rng.exponential(0.7, (len(pids), 64)))
            for pids in (of_query, of_gallery)
        )
        labels = (of_query, of_gallery, rng.integers(0, 4, 40), rng.integers(0, 4, 300))
        pair = euclidean(_Pair(query.astype(np.float32), gallery.astype(np.float32)))
        mine = rank_scores(pair.query @ pair.gallery.T, *labels, depth=20)
        distances = distance(torch.from_numpy(query), torch.from_numpy(gallery), "euclidean").numpy()
        cmc, mean_ap = evaluate(distances, *labels, 20)[:2]
        worst = max(worst, float(np.abs(mine.cmc - cmc).max()), abs(mine.mean_ap - float(mean_ap)))
    return worst


class Statistics(NamedTuple):
    """Means over epochs."""

    batches: float  # of an epoch
    crops: float  # share of all crops that an epoch shows
    repeated: float  # share of places that show a crop of the same epoch again
    other_cameras: float  # share of an anchor's positives that another camera took


def sampler_rows(torchreid: Borrow, fastreid: Borrow) -> dict[str, Statistics]:
    """Ours and theirs on the same 200 people with 2 to 39 crops by 6 cameras, in batches of 16 x 4."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(_PEOPLE), rng.integers(2, 40, _PEOPLE))
    cameras = rng.integers(0, _CAMERAS, len(labels))
    source = [("", int(pid), int(camera)) for pid, camera in zip(labels, cameras, strict=True)]
    random.seed(0)
    np.random.seed(0)
    chunks = torchreid("torchreid.reid.data.sampler").RandomIdentitySampler(source, _P * _K, _K)
    fastreid("fastreid.utils.comm")
    balanced = fastreid("fastreid.data.samplers.triplet_sampler").BalancedIdentitySampler(
        source, _P * _K, _K, seed=0
    )
    per_pass = _PEOPLE // _P * _P * _K  # the stream never ends; a pass shows each person once
    stream = iter(balanced)
    theirs: dict[str, Iterable[list[int]]] = {
        "chunks, torchreid": ([int(i) for i in chunks] for _ in range(_EPOCHS)),
        "identities, fastreid": ([int(next(stream)) for _ in range(per_pass)] for _ in range(_EPOCHS)),
    }
    rows = {}
    for name, epochs in theirs.items():
        kind = name.split(",")[0]
        columns = (labels.tolist(), cameras.tolist(), [0] * len(labels))
        ours = make_sampler(kind, 0, columns, (_P, _K, 0), per_domain=False)
        rows[f"{kind}, ours"] = _statistics(_epochs(ours), cameras)
        rows[name] = _statistics(epochs, cameras)
    return rows


def _epochs(sampler: Sampler) -> Iterator[list[int]]:
    for epoch in range(_EPOCHS):
        yield [i for batch in sampler.batches(epoch) for i in batch]


def _statistics(epochs: Iterable[list[int]], cameras: np.ndarray) -> Statistics:
    rows = []
    for shown in epochs:
        places = np.array(shown[: len(shown) // (_P * _K) * _P * _K])
        counts = collections.Counter(places.tolist())
        groups = cameras[places].reshape(-1, _K)
        rows.append(
            (
                len(places) / (_P * _K),
                len(counts) / len(cameras),
                1 - len(counts) / len(places),
                float((groups[:, 1:] != groups[:, :1]).mean()),
            )
        )
    return Statistics(*np.mean(rows, axis=0).tolist())


class _Pair(NamedTuple):
    query: np.ndarray
    gallery: np.ndarray


class _Loader(list[Any]):
    dataset = (None,)


def _module(function: Callable[[Any], Tensor]) -> nn.Module:
    """A module of a function, since their evaluation switches its mode."""

    class Module(nn.Module):
        def forward(self, inputs: Any) -> Tensor:
            return function(inputs)

    return Module()


def _stir(model: nn.Module) -> None:
    """Gives every norm values of its own: fresh ones are 0 and 1, and would fit anywhere."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)) and module.weight is not None:
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
            if module.running_mean is not None and module.running_var is not None:
                nn.init.normal_(module.running_mean, 0, 0.1)
                nn.init.uniform_(module.running_var, 0.8, 1.2)


def _mgn(fastreid: Borrow) -> Any:
    """fast-reid's MGN, with what its file imports but a forward pass does not need left empty."""
    empty: dict[str, dict[str, Any]] = {
        "fastreid.config": {"configurable": lambda method: method},
        "fastreid.layers": {"get_norm": None},
        "fastreid.modeling.backbones": {"build_backbone": None},
        "fastreid.modeling.backbones.resnet": {"Bottleneck": None},
        "fastreid.modeling.heads": {"build_heads": None},
        "fastreid.modeling.losses": {},
        "fastreid.modeling.meta_arch.build": {
            "META_ARCH_REGISTRY": types.SimpleNamespace(register=lambda: lambda kind: kind)
        },
    }
    return _with_empty(empty, lambda: fastreid("fastreid.modeling.meta_arch.mgn").MGN)


def _evaluation(fastreid: Borrow) -> Any:
    fastreid("fastreid.utils.comm")
    empty = {"fastreid.utils.logger": {"log_every_n_seconds": lambda *_, **__: None}}
    return _with_empty(empty, lambda: fastreid("fastreid.evaluation.evaluator"))


def _with_empty(modules: dict[str, dict[str, Any]], load: Callable[[], Any]) -> Any:
    """What `load` returns while such modules stand in the place of those of these names."""
    before = {name: sys.modules.get(name) for name in modules}
    for name, values in modules.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(values)
    try:
        return load()
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
