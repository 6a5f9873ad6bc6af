"""Datasets of tracklets: crops of a track are embedded one by one and ranked as their mean."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.test_own_data import draw, people
from training.data import read_dataset
from training.data.matches import count_matchless
from training.data.records import DatasetError
from training.data.summary import in_lines, summarise
from training.evaluate import embed_dataset, score

TRAIN = ("bbox_train/0001/0001C1T0001F001.png", "bbox_train/0001/0001C2T0001F001.png")
TEST = (
    "0003/0003C1T0001F001.png",
    "0003/0003C1T0001F002.png",
    "0003/0003C2T0001F001.png",
    "0003/0003C2T0002F001.png",
    "0003/0003C2T0002F002.png",
    "0005/0005C1T0001F001.png",
    "0000/0000C1T0001F001.png",
    "00-1/00-1C1T0001F001.png",
)


def mars(root: Path) -> Path:
    """MARS's layout with its own list of queries: the first track of person 3."""
    draw(root, *TRAIN, *(f"bbox_test/{name}" for name in TEST))
    (root / "info").mkdir()
    (root / "info" / "test_name.txt").write_text("\n".join(Path(name).name for name in TEST))
    tracks = [[1, 2, 3, 1], [3, 3, 3, 2], [4, 5, 3, 2], [6, 6, 5, 1], [7, 7, 0, 1], [8, 8, -1, 1]]
    savemat(root / "info" / "tracks_test_info.mat", {"track_test_info": tracks})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": [[1]]})
    return root


def test_tracklets_are_read_by_marss_own_lists(tmp_path: Path) -> None:
    data = read_dataset("tracklets", mars(tmp_path))
    assert people(data, data.train) == [("1", "c1"), ("1", "c2")]
    assert [r.path.name for r in data.query] == ["0003C1T0001F001.png", "0003C1T0001F002.png"]
    assert people(data, data.gallery) == [("", "c1"), ("3", "c2"), ("3", "c2"), ("3", "c2"), ("5", "c1")]
    assert len({r.track for r in data.gallery}) == 4
    assert "tracklets: query: 2 images in 1 track of 1 person (2 to 2 each) by 1 camera" in in_lines(
        summarise(data)
    )


def test_tracklets_that_ask_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    draw(tmp_path, *TRAIN, *(f"bbox_test/{name}" for name in TEST))
    with pytest.raises(DatasetError, match=r"which tracks of .*bbox_test are queries"):
        read_dataset("tracklets", tmp_path)
    draw(tmp_path, *(f"query/{name}" for name in TEST[:3]))
    data = read_dataset("tracklets", tmp_path)
    # person 3's own tracks are in the gallery too, where the rule of the same camera leaves them out
    assert (len(data.query), len(data.gallery), count_matchless(data)) == (3, 7, 0)
    draw(tmp_path, "query/0003/holiday.png")
    with pytest.raises(DatasetError, match=r"holiday\.png is not named like 0001C1T0001F001"):
        read_dataset("tracklets", tmp_path)


def embed(crops: np.ndarray) -> np.ndarray:
    """Mean colours as unit vectors."""
    means = crops.astype(np.float32).mean((1, 2)) - 127.5 + np.arange(3)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_a_track_is_ranked_as_the_mean_of_its_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_dataset("tracklets", mars(tmp_path))
    whole = embed_dataset(embed, data, (16, 8))
    assert (whole.query.shape, whole.gallery.shape) == ((1, 3), (4, 3))
    assert [list(labels) for labels in whole.labels] == [[2], [0, 2, 2, 3], [0], [0, 1, 1, 0]]
    assert np.allclose(np.linalg.norm(whole.gallery, axis=1), 1)
    scores = score(whole)
    assert (scores.queries, scores.skipped) == (1, 0)
    monkeypatch.setattr("training.evaluate._TRACK_CROPS", 2)  # tracks across chunks are the same
    assert np.allclose(embed_dataset(embed, data, (16, 8)).gallery, whole.gallery, atol=1e-6)
    alone = [r._replace(track=-1) for r in data.query]
    single = embed_dataset(embed, type(data)("x", [], alone, data.gallery), (16, 8))
    mean = single.query.mean(0)
    assert np.allclose(whole.query[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_list_may_name_tracks(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(5)]
    draw(tmp_path, *names)
    rows = ["path,person,camera,part,track", "0.png,a,1,query,7", "1.png,a,1,query,7", "2.png,a,2,gallery,7"]
    (tmp_path / "x.csv").write_text("\n".join([*rows, "3.png,a,2,gallery,", "4.png,b,2,gallery,7"]))
    whole = embed_dataset(embed, read_dataset("list:x.csv", tmp_path), (16, 8))
    assert (len(whole.query), len(whole.gallery)) == (1, 3)
