"""Resight in three lines of Python, and `resight embed`."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import resight
from benchmarks.serving import ROOT
from tests.tiny import DIM, HEIGHT, WIDTH, embedding_of, make_tiny_bundle, picture


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that numpy can compute."""
    return make_tiny_bundle(tmp_path_factory.mktemp("library")).path


@pytest.fixture(scope="module")
def model(path: Path) -> resight.Model:
    """The same, loaded."""
    return resight.load(path, engine="onnxruntime")


def test_the_three_lines_of_the_readme_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    block = re.search(r"^    import resight\n(?:    .*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert block is not None
    code = re.sub(r"^    ", "", block[0], flags=re.MULTILINE)
    assert len(code.splitlines()) == 3
    names: dict[str, np.ndarray] = {}
    exec(code, names)
    vectors = names["vectors"]
    assert vectors.shape == (2, 1280) and vectors.dtype == np.float32
    assert 0.5 < resight.distance(*vectors) < 2  # two people


def test_importing_it_takes_no_time_and_loading_a_bundle_no_torch(path: Path) -> None:
    code = """import sys, time
begun = time.perf_counter()
import resight
took = time.perf_counter() - begun
heavy = {"torch", "numpy", "typer", "onnx", "pydantic"} & set(sys.modules)
model = resight.load(sys.argv[1])
model.embed([b"..."] * 0)
print(took < 0.3, heavy, "torch" in sys.modules)"""
    output = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert output.split() == ["True", "set()", "False"]


def test_every_public_name_is_there() -> None:
    assert dir(resight) == sorted(resight.__all__)
    for name in resight.__all__:
        assert getattr(resight, name) is not None
    with pytest.raises(AttributeError, match=r"no attribute 'embedd'; it has .* load"):
        vars(resight)["__getattr__"]("embedd")


PICTURE = picture(1)
PIXELS = np.asarray(Image.open(io.BytesIO(PICTURE)))
SOURCES: dict[str, Callable[[Path], object]] = {
    "text": str,
    "path": lambda file: file,
    "bytes": lambda file: PICTURE,
    "bytearray": lambda file: bytearray(PICTURE),
    "memoryview": lambda file: memoryview(PICTURE),
    "file": lambda file: io.BytesIO(PICTURE),
    "array": lambda file: PIXELS,
    "mirrored memory": lambda file: np.ascontiguousarray(PIXELS[::-1, :, ::-1])[::-1, :, ::-1],
    "opaque array": lambda file: np.dstack([PIXELS, np.full((HEIGHT, WIDTH), 255, np.uint8)]),
    "Pillow": lambda file: Image.open(file),
    "opaque Pillow": lambda file: Image.open(file).convert("RGBA"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_picture_is_the_same_whatever_holds_it(model: resight.Model, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "one.png"
    file.write_bytes(PICTURE)
    expected = embedding_of(PICTURE)
    for given in (SOURCES[kind](file), [SOURCES[kind](file)], (each for each in [SOURCES[kind](file)])):
        vectors = model.embed(given)
        assert vectors.shape == (1, DIM) and vectors.dtype == np.float32
        assert np.allclose(vectors[0], expected, atol=1e-5)


def test_rows_keep_their_order_over_batches(model: resight.Model) -> None:
    expected = np.stack([embedding_of(picture(n)) for n in range(7)])
    assert np.allclose(model.embed([picture(n) for n in range(7)], batch=3), expected, atol=1e-5)
    arrays = np.stack([np.asarray(Image.open(io.BytesIO(picture(n)))) for n in range(7)])
    assert np.allclose(model.embed(arrays), expected, atol=1e-5)
    assert np.allclose(model.embed(list(arrays), batch=1), expected, atol=1e-5)
    for nothing in ([], arrays[:0]):
        assert model.embed(nothing).shape == (0, DIM)


def test_grey_and_turned_pictures_are_read_as_those_of_files(model: resight.Model) -> None:
    grey = PIXELS[..., 0]
    expected = model.embed(np.dstack([grey] * 3))
    for same in (grey, grey[..., None], Image.fromarray(grey)):
        assert np.allclose(model.embed(same), expected, atol=1e-6)
    turned = Image.fromarray(np.rot90(PIXELS))  # orientation 6: turn it clockwise to see it
    turned.getexif()[0x0112] = 6
    assert np.allclose(model.embed(turned)[0], embedding_of(PICTURE), atol=1e-5)


WRONG: dict[str, tuple[object, str]] = {
    "shares": (PIXELS / 255.0, r"picture 1 \(array float64 \[16, 8, 3\]\): .* multiplied by 255"),
    "channels first": (PIXELS.transpose(2, 0, 1), r"an array is a picture when it is \[H,W,3\]"),
    "no pixels": (PIXELS[:0], "an array is a picture"),
    "a number": (7, r"picture 1 \(int\): int is no picture; give a path"),
    "nothing": (None, "NoneType is no picture"),
    "missing": ("nowhere.jpg", r"picture 1 \(nowhere.jpg\): No such file"),
    "folder": (".", "Is a directory"),
    "zero byte": ("a\0b", "null byte"),
    "no image": (b"text", r"picture 1 \(bytes\): not a JPEG"),
    "text file": (io.StringIO("text"), "open it with mode 'rb'"),
    "32 bits": (Image.fromarray(PIXELS[..., 0].astype(np.float32)), "convert it to RGB"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_picture_is_named_by_its_place(model: resight.Model, kind: str) -> None:
    given, sentence = WRONG[kind]
    with pytest.raises(resight.ImageError, match=sentence):
        model.embed([PICTURE, given])
    with pytest.raises(resight.ImageError):
        model.embed(given)


def test_distances_are_one_minus_cosine() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, DIM)), rng.normal(size=(5, DIM))
    expected = np.array([[1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a])
    assert np.allclose(resight.distance(a, b), expected, atol=1e-6)
    assert np.allclose(resight.distance(a[0], b), expected[0], atol=1e-6)
    assert np.allclose(resight.distance(a, b[0]), expected[:, 0], atol=1e-6)
    assert resight.distance(a[0], a[0]) == pytest.approx(0, abs=1e-7)
    assert resight.distance(a[0], -a[0]) == 2
    assert isinstance(resight.distance(a[0], list(b[0])), float)
    for wrong in (b[:, 1:], np.full(DIM, np.nan), b[None]):
        with pytest.raises(ValueError, match="vectors"):
            resight.distance(a, wrong)


def test_what_cannot_be_loaded_is_a_sentence(path: Path) -> None:
    with pytest.raises(resight.BundleError, match="no bundle at nowhere"):
        resight.load("nowhere")
    with pytest.raises(resight.EngineError, match="unknown engine"):
        resight.load(path, engine="abacus")


def embed_command(*words: object) -> tuple[int, str]:
    """Exit status and output of `resight embed`."""
    done = CliRunner().invoke(resight.app, ["embed", *map(str, words)])
    return done.exit_code, " ".join(done.output.split())


def test_a_folder_becomes_a_file_of_vectors_and_paths(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    (folder / "deeper").mkdir(parents=True)
    files = [folder / "a.png", folder / "b.png", folder / "deeper/c.png"]
    for number, file in enumerate(files):
        file.write_bytes(picture(number))
    for clutter in ("._a.png", ".ipynb_checkpoints/a.png", "__MACOSX/a.png", "notes.txt"):
        (folder / clutter).parent.mkdir(exist_ok=True)
        (folder / clutter).write_bytes(b"no image")
    out = tmp_path / "x.npz"
    code, said = embed_command(folder, folder, "--bundle", path, "--out", out)
    assert (code, said) == (0, f"embedded 3 of 3 images into {out}: {DIM} values each")
    with np.load(out) as stored:
        assert list(stored["paths"]) == [str(file) for file in files]
        expected = [embedding_of(picture(number)) for number in range(3)]
        assert np.allclose(stored["vectors"], expected, atol=1e-5)
    files[1].write_bytes(b"text")
    before = out.read_bytes()
    code, said = embed_command(folder, "--bundle", path, "--out", out)
    assert code == 1 and f"{files[1]}: not a JPEG" in said and out.read_bytes() == before
    code, said = embed_command(folder, "--bundle", path, "--out", out, "--partial")
    assert code == 0 and f"skipped {files[1]}" in said and "embedded 2 of 3" in said
    assert list(np.load(out)["paths"]) == [str(files[0]), str(files[2])]
    assert sorted(tmp_path.iterdir()) == [folder, out]


def test_a_wrong_embed_ends_with_a_sentence(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    file.write_bytes(picture(0))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")
    out = tmp_path / "x.npz"
    for words, sentence in (
        ((file, "--bundle", path, "--out", tmp_path / "x.txt"), "is called NAME.npz"),
        ((file, "--bundle", path, "--out", tmp_path / "no/x.npz"), "there is no folder"),
        ((file, "--bundle", tmp_path, "--out", out), "no bundle at"),
        ((file, "--bundle", path, "--out", out, "--engine", "abacus"), "unknown engine"),
        ((tmp_path / "no", "--bundle", path, "--out", out), "does not exist"),
        ((bad, "--bundle", path, "--out", out, "--partial"), "none of the 1 images could be read"),
    ):
        code, said = embed_command(*words)
        assert code == 1 and sentence in said and not out.exists()
