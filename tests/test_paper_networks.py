"""What the papers' recipes needed of networks and methods: each by hand or by a count that a paper prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.network_cost import cost
from reid.models.agw import NonLocal
from reid.models.build import build
from reid.models.dcsd import DynamicConv, apply_filters, dynamic_layers
from reid.models.mgn import MgnTrunk
from reid.models.ptl import BConvCellV2, CellStream
from reid.models.spec import ModelSpec
from tests.test_m3l import batch, method
from training.data import READERS, read_dataset, sources_of
from training.data.records import Dataset, DatasetError, Record
from training.filters_figure import SHOWN, filters_figure, mean_filters
from training.methods.bot import BagOfTricks
from training.recipe import load_recipe
from training.visualize import _people


def test_parameters_and_operations_are_those_of_dcsds_table_4() -> None:
    plain, dynamic = cost("resnet50", 224, 224, 1000), cost("resnet50-dcsd", 224, 224, 1000)
    assert plain == (25_557_032, 4_089_184_256)  # printed 25.6 M and 4.1 B
    assert dynamic[0] == 18_250_964  # methods A.2.4; printed 18.2 M
    assert round(dynamic[1] / 1e9, 1) == 2.3


def test_mgn_has_the_size_that_ptls_paper_prints_with_one_reduction_not_with_eight() -> None:
    sizes = []
    for shared in (True, False):
        spec = ModelSpec("mgn", 384, 128, last_stride=1, neck=False, ssl_heads=False, shared_reduction=shared)
        with torch.device("meta"):
            count = sum(p.numel() for p in build(spec).parameters())
        sizes.append((count + 8 * 257 * 751) / 1e6)  # a classifier for each of eight features of 256
    assert [round(size, 1) for size in sizes] == [66.7, 70.4]  # section VI.B prints 66m


def test_ptls_resnet_50_has_the_printed_size_with_three_pairs_of_cells() -> None:
    spec = ModelSpec("resnet50-ptl", 256, 128, last_stride=2, neck=False, ssl_heads=False)
    with torch.device("meta"):
        stream = build(spec).trunk.stream
    assert isinstance(stream, CellStream)
    pairs = [
        sum(p.numel() for layer in pair for p in layer.parameters())
        for pair in zip(stream.fuse, stream.cells, strict=True)
    ]
    assert [round(count / 1e6, 2) for count in pairs] == [0.15, 1.22, 4.92, 3.15]
    whole = cost("resnet50-ptl", 256, 128, 1041, [128, 128])[0]
    assert round(whole / 1e6, 1) == 37.8
    wider = 2048 * (512 - 128)  # the third cell's 512 channels join the feature, not the fourth's 128
    assert round((whole - pairs[3] + wider) / 1e6, 1) == 35.5  # Table I prints 35m


def test_densenet_100_has_the_size_of_its_paper() -> None:
    with torch.device("meta"):
        network = build(ModelSpec("densenet100", 32, 32, neck=False, ssl_heads=False))
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 342)
    count = sum(p.numel() for p in network.parameters())
    assert count + 342 * 10 + 10 == 769_162  # DenseNet-BC, growth 12, printed 0.8 M
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) + 1 == 100


def test_the_second_cell_recovers_what_earlier_batches_put_in() -> None:
    cell, x, y = BConvCellV2(2, 3, 2).train(), torch.randn(4, 2, 6, 4), torch.randn(4, 2, 6, 4)
    first = cell(x)
    latent, hidden = cell.state.chunk(2, 1)
    assert torch.allclose(hidden, first / 2) and not cell.state.requires_grad
    second = cell(y)
    i, f, o, c = cell.gates(torch.cat([y, cell.recover(hidden)], 1)).chunk(4, 1)
    state = i.sigmoid() * c.tanh() + f.sigmoid() * latent
    assert torch.allclose(second, o.sigmoid() * state.tanh(), atol=1e-6)
    assert torch.allclose(cell.state, torch.cat([state, (second + hidden) / 2], 1), atol=1e-6)
    cell.eval()
    assert torch.equal(cell(x), cell(x)) and torch.allclose(cell(x)[:1], cell(x[:1]), atol=1e-6)
    cell.reset_state()
    assert torch.allclose(cell(x), cell.train()(x), atol=1e-6)  # an empty state recovers nothing


def test_mgns_published_code_reduces_all_features_alike() -> None:
    shared = build(ModelSpec("mgn", 96, 32, neck=False, ssl_heads=False, shared_reduction=True))
    own = build(ModelSpec("mgn", 96, 32, neck=False, ssl_heads=False))
    assert isinstance(shared.trunk, MgnTrunk) and isinstance(own.trunk, MgnTrunk)
    assert (len(shared.trunk.reduce), len(own.trunk.reduce)) == (1, 8)
    for reduction in own.trunk.reduce:
        reduction.load_state_dict(shared.trunk.reduce[0].state_dict())
    rest = {k: v for k, v in shared.trunk.state_dict().items() if not k.startswith("reduce.")}
    own.trunk.load_state_dict(rest, strict=False)
    x = torch.randn(2, 3, 96, 32)
    assert torch.allclose(shared.eval()(x), own.eval()(x), atol=1e-6)
    with pytest.raises(ValueError, match="cannot honour shared_reduction"):
        ModelSpec("resnet50", shared_reduction=True)


def test_agw_with_dcsd_has_the_parts_of_both() -> None:
    with torch.device("meta"):
        network = build(ModelSpec("resnet50-agw-dcsd", ssl_heads=False))
    assert len(dynamic_layers(network)) == 16
    assert sum(isinstance(m, NonLocal) for m in network.modules()) == 5
    assert type(network.pool).__name__ == "GeM"


def test_a_classifier_without_a_neck_has_a_bias() -> None:
    without, behind = (
        BagOfTricks.make_classifier(load_recipe("bot", [f"model.neck={neck}"]), 5)
        for neck in ("false", "true")
    )
    assert isinstance(without, nn.Linear) and isinstance(behind, nn.Linear)
    assert without.bias is not None and behind.bias is None


def test_heads_learn_in_the_meta_train_alone() -> None:
    m3l = method("model.ssl_heads=true", "model.height=96", "model.last_stride=1")
    some = batch()
    some = some._replace(crops=torch.cat([some.crops, some.crops[:, :32]], 1))
    seen: list[int] = []
    assert m3l.ssl is not None
    m3l.ssl.register_forward_hook(lambda *_: seen.append(1))
    assert set(m3l(some)) == {"meta-train", "meta-test"}
    assert len(seen) == 2  # of three domains, the third is the meta-test


def test_filters_are_drawn_with_and_without_domain_and_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[int]] = []

    def scatter(axes: object, groups: dict[str, np.ndarray], *_: object) -> None:
        drawn.append([len(rows) for rows in groups.values()])

    monkeypatch.setattr("training.filters_figure.scatter_tsne", scatter)
    layer, x = DynamicConv(20, 1).eval(), torch.randn(2, 20, 6, 4)
    channels, positions = layer.filters(x)
    assert torch.equal(layer(x), apply_filters(x, channels, positions, 1))
    assert not torch.allclose(layer.filters(x, shifted=False)[1], positions)
    embedder = build(ModelSpec("resnet50-dcsd", 32, 32, ssl_heads=False)).eval()
    crops = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    alone, shifted = (mean_filters(embedder, crops, each) for each in (False, True))
    widths = [9 * dynamic_layers(embedder)[n].gain.shape[0] for n in SHOWN]
    assert [f.shape for f in alone] == [(3, width) for width in widths]
    assert not np.allclose(alone[0], shifted[0])
    assert len(filters_figure(embedder, {"a": crops, "b": crops[:2]}).axes) == 6
    assert drawn == [[3, 2]] * 6
    with pytest.raises(ValueError, match="no DCSD modules"):
        filters_figure(build(ModelSpec("resnet18", 32, 32, ssl_heads=False)), {"a": crops})


def test_people_are_shown_with_all_their_crops() -> None:
    query = [Record(Path(f"q{p}"), p, 0) for p in range(1, 6)]
    gallery = [Record(Path(f"g{p}{i}"), p, 1) for p in range(9) for i in range(3)]
    data = Dataset("drawn", [], query, gallery)
    shown = _people(data, 2, 0)
    assert len(shown) == 2 and all(len({r.pid for r in crops}) == 1 for crops in shown.values())
    assert [len(crops) for crops in shown.values()] == [4, 4]
    with pytest.raises(DatasetError, match="5 people with queries, not the 6"):
        _people(data, 6, 0)


def test_each_source_has_a_split_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str, int]] = []

    def reader(name: str) -> Callable[[Path, int], Dataset]:
        def read(root: Path, split: int) -> Dataset:
            asked.append((name, root.name, split))
            return Dataset(name, [Record(Path(name), 1, 0)], [], [])

        return read

    for name in ("cuhk03", "msmt17", "market1501"):
        monkeypatch.setitem(READERS, name, reader(name))
    joined = read_dataset("cuhk03@1:C+msmt17@0:S+market1501:M", tmp_path)
    assert asked == [("cuhk03", "C", 1), ("msmt17", "S", 0), ("market1501", "M", 0)]
    assert joined.identities() == [1, 1, 1]
    assert sources_of("folders:a+b+cuhk03@1") == ["folders:a+b", "cuhk03@1"]
    for name, split, sentence in (
        ("cuhk03@x:C", 0, "'x' is no split"),
        ("cuhk03@:C", 0, "'' is no split"),
        ("cuhk03@1:C", 2, "has a split of its own, but split 2"),
    ):
        with pytest.raises(DatasetError, match=sentence):
            read_dataset(name, tmp_path, split)
