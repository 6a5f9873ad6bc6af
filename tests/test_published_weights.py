"""Published files of weights: their names, what is taken of them, and a child process that cannot do harm.

The names are those that published code writes (`reid/models/published.py` says which); the values are not.
"""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from benchmarks.serving import ROOT
from reid.models.build import build
from reid.models.efficientnet import EfficientNetTrunk
from reid.models.imagenet import load_imagenet
from reid.models.published import PublishedError, match
from reid.models.resnet import ResNetTrunk
from reid.models.spec import ModelSpec
from resight import app
from tests.test_efficientnet import published
from training.published_starts import FILES, starts
from training.recipe import RecipeError
from training.recipe_files import recipe_paths
from training.start import start_from, uninitialised
from training.weights import WeightsError, convert_weights, is_pickled, read_tensors

State = dict[str, Tensor]


def numbered(shapes: dict[str, torch.Size]) -> State:
    """A tensor of each shape that is filled with its place, and takes no memory."""
    return {
        name: torch.tensor([float(place)]).expand(shape) if shape else torch.tensor(place)
        for place, (name, shape) in enumerate(shapes.items())
    }


def shapes_of(name: str) -> dict[str, torch.Size]:
    """Names and shapes of torchvision's network."""
    with torch.device("meta"):
        state = getattr(torchvision.models, name)(weights=None).state_dict()
    return {key: tensor.shape for key, tensor in state.items()}


def ibn_shapes() -> dict[str, torch.Size]:
    """XingangPan/IBN-Net's resnet50_ibn_a: the first norm of a bottleneck of layers 1 to 3 has two halves."""
    shapes = {}
    for name, shape in shapes_of("resnet50").items():
        norm, _, value = name.rpartition(".")
        if norm.endswith(".bn1") and not norm.startswith("layer4"):
            half = torch.Size(size // 2 for size in shape)
            if value in ("weight", "bias"):
                shapes[f"{norm}.IN.{value}"] = half
            shapes[f"{norm}.BN.{value}"] = half
        else:
            shapes[name] = shape
    return shapes


def behind(prefix: str, state: State, **others: tuple[int, ...]) -> State:
    """The state without its classifier behind a prefix, with other tensors beside it."""
    named = {prefix + name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    return named | {name.replace("__", "."): torch.zeros(shape) for name, shape in others.items()}


RESNET, IBN = numbered(shapes_of("resnet50")), numbered(ibn_shapes())
DENSE = numbered(shapes_of("densenet161"))
OLD_DENSE = {
    name.replace("norm1.", "norm.1.")
    .replace("norm2.", "norm.2.")
    .replace("conv1.", "conv.1.")
    .replace("conv2.", "conv.2."): tensor
    for name, tensor in DENSE.items()
    if not name.endswith("num_batches_tracked")
}
LITE = published(EfficientNetTrunk("lite0"))
# what a file holds, the network that it is, and one name in it beside the trunk's that it stands for
LAYOUTS: dict[str, tuple[State, str, str, str]] = {
    "torchvision": (RESNET, "resnet50", "layer3.5.conv3.weight", "layer3.5.conv3.weight"),
    "torchvision's ResNet-18": (
        numbered(shapes_of("resnet18")),
        "resnet18",
        "layer4.1.bn2.bias",
        "layer4.1.bn2.bias",
    ),
    "torchvision before counters": (
        {name: t for name, t in RESNET.items() if not name.endswith("num_batches_tracked")},
        "resnet50",
        "bn1.running_var",
        "bn1.running_var",
    ),
    "DenseNet-161 today": (
        DENSE,
        "densenet161",
        "features.denseblock4.denselayer24.norm2.weight",
        "features.denseblock4.denselayer24.norm2.weight",
    ),
    "DenseNet-161 as published": (
        OLD_DENSE,
        "densenet161",
        "features.denseblock4.denselayer24.norm.2.weight",
        "features.denseblock4.denselayer24.norm2.weight",
    ),
    "IBN-Net": (IBN, "resnet50-ibn", "layer3.5.bn1.BN.running_mean", "layer3.5.bn1.batch.running_mean"),
    "IBN-Net in a dictionary": (
        {f"state_dict.module.{name}": tensor for name, tensor in IBN.items()},
        "resnet50-ibn",
        "state_dict.module.layer1.0.bn1.IN.bias",
        "layer1.0.bn1.instance.bias",
    ),
    "fast-reid": (
        behind("model.backbone.", RESNET, model__pixel_mean=(1, 3, 1, 1), model__heads__weight=(9, 2048)),
        "resnet50",
        "model.backbone.layer1.0.downsample.1.weight",
        "layer1.0.downsample.1.weight",
    ),
    "fast-reid with IBN and non-local blocks": (
        behind("model.backbone.", IBN, model__backbone__NL_2__0__g__weight=(1, 512, 1, 1)),
        "resnet50-ibn",
        "model.backbone.layer2.3.bn1.IN.weight",
        "layer2.3.bn1.instance.weight",
    ),
    "torchreid": (
        behind("state_dict.", RESNET, state_dict__classifier__weight=(9, 2048)),
        "resnet50",
        "state_dict.conv1.weight",
        "conv1.weight",
    ),
    "torchreid on several GPUs": (
        behind("state_dict.module.", RESNET, state_dict__module__classifier__bias=(9,)),
        "resnet50",
        "state_dict.module.bn1.bias",
        "bn1.bias",
    ),
    "reid-strong-baseline": (
        behind("base.", RESNET, bottleneck__weight=(2048,), classifier__weight=(9, 2048)),
        "resnet50",
        "base.layer2.0.conv2.weight",
        "layer2.0.conv2.weight",
    ),
    "TransReID": (
        behind("module.base.", RESNET, module__bottleneck__bias=(2048,)),
        "resnet50",
        "module.base.layer4.2.bn3.running_mean",
        "layer4.2.bn3.running_mean",
    ),
    "EfficientNet-Lite": (
        behind("module.", LITE),
        "efficientnet-lite0",
        "module._conv_head.weight",
        "head.conv.weight",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_its_trunk_taken_whole(layout: str) -> None:
    tensors, arch, theirs, ours = LAYOUTS[layout]
    found = match(tensors)
    assert (found.arch, found.whole, found.missing) == (arch, True, ())
    assert set(found.taken) | set(found.left) == set(tensors) and not set(found.taken) & set(found.left)
    heads = ("fc.", "classifier", "bottleneck", "heads", "pixel_mean", "NL_2", "_fc.")
    assert all(any(head in name for head in heads) for name in found.left)
    assert torch.equal(found.state[ours], tensors[theirs]) and theirs in found.taken
    with torch.device("meta"):
        trunk = build(ModelSpec(arch, ssl_heads=False)).trunk
    assert {name: t.shape for name, t in found.state.items()} == {
        name: t.shape for name, t in trunk.state_dict().items()
    }


def without(state: State, *names: str) -> State:
    return {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(
    ("tensors", "missing", "larger"),
    [
        (without(RESNET, "layer4.2.conv3.weight"), ("layer4.2.conv3.weight",), ()),
        (RESNET | {"bn1.bias": torch.zeros(32)}, ("bn1.bias",), ()),
        (without(IBN, "layer1.0.bn1.IN.bias"), ("layer1.0.bn1.instance.bias",), ()),
        (RESNET | {"layer1.0.se.fc.0.weight": torch.zeros(4, 256)}, (), ("layer1.0.se.fc.0.weight",)),
    ],
)
def test_what_a_trunk_lacks_or_has_over_is_named(
    tensors: State, missing: tuple[str, ...], larger: tuple[str, ...]
) -> None:
    found = match(tensors)
    assert (found.whole, found.missing, found.larger) == (False, missing, larger)


@pytest.mark.parametrize(
    "name", ["resnet34", "resnet101", "wide_resnet50_2", "resnext50_32x4d", "densenet121"]
)
def test_another_network_of_the_family_is_not_whole(name: str) -> None:
    assert not match(numbered(shapes_of(name))).whole


def test_a_file_of_several_networks_or_of_none_says_so() -> None:
    two = behind("student.", RESNET) | behind("teacher.", IBN)
    with pytest.raises(PublishedError, match=r"begin with 'student\.', 'teacher\.'; choose with --prefix"):
        match(two)
    found = match(two, "teacher.")
    assert (found.arch, found.whole, len(found.left)) == ("resnet50-ibn", True, len(behind("", RESNET)))
    transformer = {"base.cls_token": torch.zeros(1, 1, 768), "base.patch_embed.proj.bias": torch.zeros(768)}
    for tensors, prefix in ((transformer, None), (RESNET, "module."), ({}, None)):
        with pytest.raises(PublishedError, match="no ResNet, DenseNet-161 or EfficientNet-Lite begins in it"):
            match(tensors, prefix)


def test_a_start_takes_the_norms_of_ibn_and_names_what_it_left(tmp_path: Path) -> None:
    embedder = build(ModelSpec("resnet50-ibn", 64, 32, ssl_heads=False))
    official = {name: tensor.clone() for name, tensor in IBN.items()}
    assert load_imagenet(embedder.trunk, official) == ()
    for ours, theirs in (("instance.weight", "IN.weight"), ("batch.running_var", "BN.running_var")):
        assert torch.equal(embedder.trunk.state_dict()[f"layer2.1.bn1.{ours}"], IBN[f"layer2.1.bn1.{theirs}"])
    state = {name: tensor.clone().contiguous() for name, tensor in match(IBN).state.items()}
    save_file(state, tmp_path / "ibn.safetensors")
    left = start_from(embedder, str(tmp_path / "ibn.safetensors"))
    assert {name.split(".")[0] for name in left} == {"neck"}
    assert uninitialised(left, "W") == "start W: 5 tensors keep their initialisation: neck (5)"
    kept = load_imagenet(ResNetTrunk(variant="ibn"), RESNET)
    assert len([name for name in kept if not name.endswith("num_batches_tracked")]) == 78
    assert uninitialised([f"trunk.{name}" for name in kept], "W").endswith(
        "trunk.layer1 (21), trunk.layer2 (28), trunk.layer3 (42)"
    )
    assert uninitialised((), "W") == ""


def test_a_pickled_start_says_the_command(tmp_path: Path) -> None:
    embedder = build(ModelSpec("resnet18", 64, 32, ssl_heads=False))
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    for name, new in (("new.pth", True), ("old.pth.tar", False)):
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=new)
        assert is_pickled(tmp_path / name)
        with pytest.raises(
            RecipeError, match=rf"first: resight weights convert \S+{name} --out \S+safetensors"
        ):
            start_from(embedder, str(tmp_path / name))
    for place in range(40):  # lengths of the header that look like the start of a pickle
        save_file(state, tmp_path / "x.safetensors", metadata={"a": "b" * 8 * place})
        assert not is_pickled(tmp_path / "x.safetensors")


def convert_command(*words: object) -> tuple[int, str]:
    """Exit status and output of `resight weights convert`, without the lines of its table."""
    done = CliRunner().invoke(app, ["weights", "convert", *map(str, words)])
    return done.exit_code, " ".join(word for word in done.output.split() if word != "│")


def test_a_published_file_becomes_one_that_a_run_starts_from(tmp_path: Path) -> None:
    state = OrderedDict(
        (f"module.{name}", tensor)
        for name, tensor in torchvision.models.resnet18(weights=None).state_dict().items()
    )
    held = {"state_dict": state, "rank1": np.float64(0.5), "epoch": 60}
    held["optimizer"] = {"state": {0: {"exp_avg": torch.zeros(64, 3, 7, 7)}}, "param_groups": [{"lr": 0.1}]}
    torch.save(held, tmp_path / "model.pth.tar-60")
    out = tmp_path / "w.safetensors"
    code, said = convert_command(tmp_path / "model.pth.tar-60", "--out", out)
    assert code == 0, said
    assert "model.pth.tar-60 as the trunk of resnet18" in said and "missing 0" in said
    assert "taken 30 state_dict.module.layer4" in said and "left 1 state_dict.module.fc.weight" in said
    assert f"--set start={out} --set model.arch=resnet18" in said
    embedder = build(ModelSpec("resnet18", 64, 32, ssl_heads=False))
    start_from(embedder, str(out))
    assert torch.equal(
        embedder.trunk.state_dict()["layer3.0.conv2.weight"], state["module.layer3.0.conv2.weight"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pth.tar-60", "w.safetensors"]


def test_a_trunk_that_is_not_whole_is_not_written(tmp_path: Path) -> None:
    file, out = tmp_path / "part.safetensors", tmp_path / "w.safetensors"
    state = {name: t.clone() for name, t in torchvision.models.resnet18(weights=None).state_dict().items()}
    part = without(state, "layer4.1.bn2.weight", "layer2.0.conv1.weight")
    save_file(part, file)
    code, said = convert_command(file, "--out", out)
    assert code == 1 and "missing 1 layer2" in said and "missing 1 layer4" in said
    assert "the trunk of resnet18 is not whole: 2 of its tensors are not in the file" in said
    save_file(state | {"layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}, file)
    code, said = convert_command(file, "--out", out)
    assert code == 1 and "of another network than resnet18: 1 of its tensors have no place" in said
    save_file(state | {"bn1.running_var": torch.full((64,), float("nan"))}, file)
    code, said = convert_command(file, "--out", out)
    assert code == 1 and "1 tensors hold values that are no numbers, like bn1.running_var" in said
    assert not out.exists()


def test_a_wrong_convert_ends_with_a_sentence(tmp_path: Path) -> None:
    good, junk = tmp_path / "good.safetensors", tmp_path / "junk.pth"
    save_file({"a": torch.zeros(1)}, good)
    junk.write_bytes(b"0" * 100)
    out = tmp_path / "w.safetensors"
    for words, sentence in (
        ((good, "--out", tmp_path / "w.pth"), "the file is called NAME.safetensors"),
        ((good, "--out", good), "is the file that is read"),
        ((good, "--out", tmp_path / "no/w.safetensors"), "there is no folder"),
        ((good, "--out", out), "no ResNet, DenseNet-161 or EfficientNet-Lite begins in it"),
        ((junk, "--out", out), "cannot be read as weights"),
        ((tmp_path, "--out", out), "is no file, and no package has weights of it"),
        (("efficientnet-lite9", "--out", out), "packages have efficientnet-lite0"),
    ):
        code, said = convert_command(*words)
        assert code == 1 and sentence in said and not out.exists(), said


def test_a_model_pickled_whole_is_refused_with_a_reason(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pth")
    sentence = (
        r"it holds more than tensors \(torch\.nn\.modules\.linear\.Linear\); save model\.state_dict\(\)"
    )
    with pytest.raises(WeightsError, match=rf"whole\.pth cannot be read as weights: {sentence}"):
        convert_weights(str(tmp_path / "whole.pth"), tmp_path / "w.safetensors")


def test_the_child_has_no_network_and_starts_no_process() -> None:
    code = """
import os, socket, subprocess
from training.unpickle import shut_off
shut_off()
for attempt in (
    lambda: socket.socket(),
    lambda: socket.getaddrinfo("127.0.0.1", 9),
    lambda: subprocess.run(["true"]),
    lambda: os.system("true"),
    lambda: os.execv("/bin/true", ["true"]),
    lambda: os.posix_spawn("/bin/true", ["true"], {}),
    lambda: os.fork(),
):
    try:
        attempt()
    except PermissionError as error:
        print("not allowed" in str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 7, done.stderr


def test_weights_lists_what_every_recipe_starts_from() -> None:
    rows = {recipe: start for recipe, _, start in starts()}
    assert rows.keys() == recipe_paths().keys() and all(rows.values())
    assert rows["bot"] == "resnet50-0676ba61.pth"
    assert rows["ptl-densenet161"] == "densenet161-8d451a50.pth"
    assert "resnet50_ibn_a-d9d0bb7b.pth" in rows["m3l"]
    said = CliRunner().invoke(app, ["weights"]).output
    assert all(recipe in said for recipe in rows)
    for file in FILES:
        words = file.command.split()
        assert words[:3] == ["resight", "weights", "convert"] and words[-2] == "--out"


def test_safetensors_are_read_as_they_are(tmp_path: Path) -> None:
    save_file({"a.b": torch.ones(2)}, tmp_path / "x.safetensors")
    assert read_tensors(tmp_path / "x.safetensors").keys() == load_file(tmp_path / "x.safetensors").keys()
