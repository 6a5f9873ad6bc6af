"""Figures: what they draw, by numbers; that they can be looked at, by their pixels."""

import base64
import io
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from reid.adaptation.bnta import AdaptationError
from reid.models.build import build
from reid.models.spec import ModelSpec
from training.data.records import Dataset, Record
from training.figures import batchnorm_figure, change_rates, cmc_figure, embedding_figure
from training.recipe import load_recipe
from training.sheet import Cell, as_picture, as_svg, save_sheet
from training.smoke import smoke
from training.synthetic.drawn import draw_sites
from training.visualize import Picture, _names, draw, rank_sheet


def test_change_rates_by_hand() -> None:
    before, after = (build(ModelSpec("resnet18", 96, 48, ssl_heads=False)) for _ in range(2))
    after.load_state_dict(before.state_dict())
    with torch.no_grad():
        after.trunk.bn1.weight[:32] += 0.5  # half of 64 channels, which are all 1
        after.neck.running_var *= 3
    weights, variances = (change_rates(before, after, key) for key in ("weight", "running_var"))
    assert weights[0] == pytest.approx(0.25) and not weights[1:].any()
    assert variances[-1] == pytest.approx(2.0) and not variances[:-1].any()


def test_a_curve_for_every_model() -> None:
    figure = cmc_figure({"a": np.array([0.5, 0.75]), "b": np.array([0.25, 1.0])}, "site")
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[50, 75], [25, 100]]


def test_domains_that_lie_apart_are_drawn_apart() -> None:
    rng = np.random.default_rng(0)
    groups = {
        name: rng.normal(size=(30, 8)) * 0.05 + np.eye(8)[place] for place, name in enumerate(("a", "b"))
    }
    figure = embedding_figure(groups)
    a, b = (np.asarray(points.get_offsets()) for points in figure.axes[0].collections)
    assert np.linalg.norm(a.mean(0) - b.mean(0)) > a.std(0).max() + b.std(0).max()
    with pytest.raises(ValueError, match="five crops"):
        embedding_figure({"a": np.eye(3)})


def test_the_batchnorm_figure_leaves_the_network_alone() -> None:
    embedder = build(ModelSpec("resnet18", 96, 48)).eval()
    before = {name: tensor.clone() for name, tensor in embedder.state_dict().items()}
    crops = np.random.default_rng(0).integers(0, 255, (20, 96, 48, 3), np.uint8)
    figure = batchnorm_figure(embedder, crops, crops[:8])
    assert len(figure.axes) == 5
    assert all(len(axes.patches) == 10 for axes in figure.axes[1:])
    assert all(torch.equal(tensor, before[name]) for name, tensor in embedder.state_dict().items())
    with pytest.raises(AdaptationError):
        batchnorm_figure(build(ModelSpec("resnet18", 96, 48, ssl_heads=False)), crops)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and two sites."""
    out = tmp_path_factory.mktemp("figures")
    smoke(
        load_recipe("bot-unseen", ["model.arch=resnet18", "model.height=96", "model.width=48"]), out / "run"
    )
    draw_sites(out / "world", 2, identities=4, cameras=3, images=3)
    return out


@pytest.mark.parametrize("what", ["ranks", "cmc", "embeddings", "batchnorm"])
def test_every_picture_of_a_run(what: str, trained: Path, tmp_path: Path) -> None:
    dataset = "folders:site-0" + ("+folders:site-1" if what in ("embeddings", "batchnorm") else "")
    draw(
        Picture(what, [trained / "run"], dataset, trained / "world", 0, 3, 4, 20, 0, "cpu"),
        tmp_path / "picture.png",
    )
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 300 or what == "ranks"
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10


def _squares(folder: Path, shades: list[int]) -> list[Record]:
    """Crops of one shade each, of persons 1, 2, ..., the query in camera 0 and the gallery in camera 1."""
    records = []
    for number, shade in enumerate(shades):
        path = folder / f"crop-{number}.png"
        Image.new("RGB", (32, 64), (shade,) * 3).save(path)
        records.append(Record(path, 1 + number % 2, number // 2))
    return records


def _by_shade(crops: np.ndarray) -> np.ndarray:
    angle = crops.reshape(len(crops), -1).mean(1) / 255
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


def test_a_sheet_begins_with_the_worst_query(tmp_path: Path) -> None:
    a, b, c, d = _squares(tmp_path, [40, 60, 200, 80])  # person 1's match is farther than person 2's
    dataset = Dataset("shades", [], [b, a], [c, d])
    sheet = np.asarray(as_picture(rank_sheet(_by_shade, dataset, (64, 32), 2, 2)))
    assert (sheet[60, 40] == 40).all()  # the query of the first row; its best match is wrong
    assert (sheet[60, -40] == 200).all()


def test_a_rotated_crop_is_drawn_upright(tmp_path: Path) -> None:
    (query, match) = _squares(tmp_path, [10, 10])
    halves = Image.new("RGB", (64, 32), "black")
    halves.paste((255, 255, 255), (0, 0, 32, 32))  # on its side: white left is white above when turned
    turned = Image.Exif()
    turned[0x112] = 6  # to be shown turned by 90 degrees clockwise
    path = tmp_path / "turned.jpg"
    halves.save(path, exif=turned, quality=95)
    dataset = Dataset("turned", [], [query._replace(path=path)], [match._replace(camid=1)])
    sheet = np.asarray(as_picture(rank_sheet(_by_shade, dataset, (64, 32), 1, 1)))
    assert sheet[30, 40].mean() > 200 and sheet[120, 40].mean() < 50


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<svg"), (".png", b"\x89PNG")])
def test_a_sheet_is_what_its_suffix_says(suffix: str, start: bytes, tmp_path: Path) -> None:
    cells = [Cell(record, (1, 2, 3), "c0") for record in _squares(tmp_path, [10, 90])]
    save_sheet([cells], tmp_path / f"sheet{suffix}")
    assert (tmp_path / f"sheet{suffix}").read_bytes().startswith(start)


def test_a_sheet_as_svg_has_text_and_frames_of_its_own_and_crops_as_jpeg(tmp_path: Path) -> None:
    query, match = _squares(tmp_path, [10, 90])
    odd = tmp_path / "<&\n.png"
    match.path.rename(odd)
    svg = as_svg(
        [[Cell(query, (1, 2, 3), "c0 AP 7"), Cell(match._replace(path=odd), (200, 50, 50), "c1 0.99")]]
    )
    root = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{name}text")]
    assert texts == ["c0 AP 7", "crop-0.png", "c1 0.99", "<&\\n.png"]
    frames = [rect.get("fill") for rect in root.iter(f"{name}rect")]
    assert frames == ["white", "#010203", "#c83232"]
    for image, shade in zip(root.iter(f"{name}image"), (10, 90), strict=True):
        kind, _, data = str(image.get("href")).partition(",")
        crop = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (kind, crop.format, crop.size) == ("data:image/jpeg;base64", "JPEG", (128, 256))
        assert abs(np.asarray(crop).astype(int) - shade).max() <= 2


def test_crops_of_one_name_in_several_folders_are_told_apart_on_a_sheet(tmp_path: Path) -> None:
    (record,) = _squares(tmp_path, [10])
    places = ["a/x/1.png", "b/x/1.png", "b/y/1.png", "b/y/2.png", "b/y/" + "long" * 40 + ".png"]
    cells = []
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(record.path, tmp_path / place)
        cells.append(Cell(record._replace(path=tmp_path / place), (1, 2, 3), "c0"))
    name = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in ElementTree.fromstring(as_svg([cells])).iter(f"{name}text")]
    shown = "".join(map(str, texts)).split("c0")[1:]
    assert shown[:4] == ["a/x/1.png", "b/x/1.png", "y/1.png", "2.png"]
    assert shown[4].startswith("longlong") and ".." in shown[4] and shown[4].endswith("long.png")
    assert as_picture([cells]).height == 6 + 128 + 8 + 7 * 12 + 6  # a line for the label, six for a name


def test_models_of_one_name_in_two_folders_are_two_curves() -> None:
    names = _names([Path("a/run"), Path("b/run"), Path("c/other")])
    assert list(names.values()) == ["a/run", "b/run", "other"]
