"""Pictures of different parts that are nearly the same: found without comparing all with all."""

import io
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from resight import app
from training.data import read_dataset
from training.data.inspection import inspect
from training.data.near import NEAR, near_pairs, thumbnail


def smooth(seed: int, height: int = 128, width: int = 64) -> Image.Image:
    """A picture as smooth as a crop of a person, like no other."""
    colours = np.random.default_rng(seed).integers(0, 255, (8, 4, 3), np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


def again(picture: Image.Image, quality: int) -> np.ndarray:
    """The pixels of a picture after a JPEG of this quality."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_a_picture_that_was_encoded_resized_or_cut_again_is_near_and_no_other_is() -> None:
    pictures = [smooth(seed) for seed in range(60)]
    first = np.stack([thumbnail(np.asarray(picture)) for picture in pictures])
    changed = [again(picture, (95, 75, 40, 20)[n % 4]) for n, picture in enumerate(pictures)]
    changed[0] = np.asarray(pictures[0].resize((40, 90)))
    changed[1] = np.asarray(pictures[1].crop((1, 1, 63, 127)))
    pairs = near_pairs(first, np.stack([thumbnail(picture) for picture in changed]))
    assert sorted((a, b) for _, a, b in pairs) == [(n, n) for n in range(60)]
    assert [pair[0] for pair in pairs] == sorted(pair[0] for pair in pairs) and pairs[-1][0] <= NEAR


def test_what_is_near_agrees_with_comparing_all_with_all(rng: np.random.Generator) -> None:
    first = np.stack([thumbnail(np.asarray(smooth(seed))) for seed in range(80)])
    second = np.clip(first + rng.normal(0, 3.7, first.shape), 0, 255).astype(np.uint8)  # about the threshold
    differences = np.abs(first[:, None].astype(int) - second).mean(axis=2)
    slow = {(int(a), int(b)) for a, b in np.argwhere(differences <= NEAR)}
    assert {(a, b) for _, a, b in near_pairs(first, second)} == slow and 10 < len(slow) < 80


def test_many_pictures_take_seconds_and_not_their_square(rng: np.random.Generator) -> None:
    first = rng.integers(0, 256, (3_000, 384), np.uint8)
    second = rng.integers(0, 256, (60_000, 384), np.uint8)
    second[7] = first[2_000]
    began = time.process_time()
    assert near_pairs(first, second) == [(0.0, 2_000, 7)]
    black = np.zeros((20_000, 384), np.uint8)  # a crowd of equal hashes is not compared with itself
    assert len(near_pairs(black[:100], black)) < 100 * 200
    assert time.process_time() - began < 8  # all with all would be 69 billion values


def test_the_check_counts_near_pictures_of_different_parts_and_leaves_them(tmp_path: Path) -> None:
    def put(name: str, pixels: np.ndarray) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)

    person = smooth(1)
    put("train/fred/door_1.png", np.asarray(person))
    put("train/fred/hall_1.png", again(person, 75))  # one part: no leak
    put("query/anna/door_1.png", np.asarray(smooth(2)))
    put("gallery/anna/door_2.png", again(smooth(2), 75))  # the query's own camera: a ranking leaves it out
    put("gallery/anna/hall_1.png", np.asarray(smooth(3)))
    put("gallery/anna/hall_2.png", np.asarray(person))  # equal to fred's first, near to his second
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    near = inspect(read_dataset("folders", tmp_path)).near
    assert [(pair.first.path.name, pair.second.path.name) for pair in near] == [("hall_1.png", "hall_2.png")]
    words = ["data", "check", "folders", "--data", str(tmp_path), "--json", str(tmp_path / "x.json")]
    result = CliRunner().invoke(app, [*words, "--ignore-cameras"])
    assert "note: 2 pairs of pictures in different parts are nearly the same: " in result.stdout
    assert f"{tmp_path}/train/fred/hall_1.png (train, fred) and " in result.stdout
    written = json.loads((tmp_path / "x.json").read_text())["nearly the same picture in several parts"]
    assert [pair["difference"] > 0 for pair in written] == [True, True]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
