"""The synthetic world: factors that stay apart, bodies that bend, crops that come out the same again, folders
that continue."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from training.data import read_dataset, read_training
from training.data.records import DatasetError
from training.data.selection import Selection
from training.synthetic import factors, sensor, world
from training.synthetic.body import NAMES, SynthError, bend, make_body, rotation
from training.synthetic.factors import KINDS, group_of, make_camera, make_person, make_sample, make_site
from training.synthetic.gait import about, pose
from training.synthetic.scene import Scene, _posed
from training.synthetic.world import Crop, World, plan, render, sample

SMALL = World(identities=10, sites=2, cameras=2, images=2, seed=3, kinds=("plain", "monochrome"))


@pytest.fixture(scope="module")
def scene(egl: None) -> Scene:
    """A renderer."""
    return Scene(128, 64)


@pytest.fixture(scope="module")
def rendered(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SMALL on disk."""
    out = tmp_path_factory.mktemp("world") / "small"
    assert render(SMALL, out, workers=1) == sum(len(plan(SMALL, n).crops) for n in range(2))
    return out


def test_a_person_is_the_same_at_every_plain_site() -> None:
    for number in range(40):
        here, there = (make_person(0, number, site, "plain") for site in (0, 5))
        assert here == there
    assert len({make_person(0, n, 0, "plain") for n in range(200)}) == 200
    assert make_person(0, 1, 0, "plain") != make_person(1, 1, 0, "plain")


def test_a_fifth_wears_what_others_wear() -> None:
    groups = group_of(0, 0, 400)
    sizes = np.unique([f"{kind}{n}" for kind, n in groups.values()], return_counts=True)[1]
    assert 0.18 <= len(groups) / 400 <= 0.22 and sizes.min() >= 1
    uniform = [
        make_person(0, place, 0, "plain", group) for place, group in groups.items() if group[0] == "uniform"
    ]
    assert len(uniform) == 20 and len({(p.upper_cloth, p.lower_cloth) for p in uniform}) == 1
    assert len({p.skin for p in uniform}) == 20  # the people themselves are not alike
    pair = [place for place, group in groups.items() if group == ("alike", 1)]
    a, b = (make_person(0, place, 0, "plain", ("alike", 1)) for place in pair[:2])
    assert a.upper_cloth == b.upper_cloth or a.lower_cloth == b.lower_cloth
    assert set(group_of(0, 1, 400)) != set(groups)


def test_most_garments_are_dark_grey_white_or_beige() -> None:
    rng = np.random.default_rng(0)
    colours = np.array([factors.garment(rng) for _ in range(4000)])
    spread = colours.max(1) - colours.min(1)
    muted = (spread < 0.12) | (colours.max(1) < 0.26)
    assert 0.5 < muted.mean() < 0.72
    hues = colours[spread > 0.3].argmax(1)
    assert np.bincount(hues, minlength=3).min() > 50  # and the others have every hue


def test_severity_moves_a_site_away_from_neutral() -> None:
    neutral = make_site(0, 1, severity=0)
    assert all(dataclasses.replace(make_site(0, n, severity=0), number=1) == neutral for n in range(30))
    assert 5 < sum(make_site(0, n).indoor for n in range(30)) < 20
    assert neutral.gain == (1, 1, 1) and neutral.gamma == 1

    def distance(severity: float, kind: str = "plain") -> float:
        sites = [make_site(0, n, kind, severity) for n in range(30)]
        return float(
            np.mean(
                [np.abs(np.log(s.gain)).sum() + abs(np.log(s.gamma)) + abs(s.saturation - 1) for s in sites]
            )
        )

    steps = [distance(s) for s in range(6)]
    assert steps[0] == 0 and all(a < b for a, b in itertools.pairwise(steps))
    assert distance(4, "null") == 0 and 0 < distance(4, "between") < 0.6 * distance(4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_site_has_its_mark(kind: str) -> None:
    site = make_site(0, 0, kind)
    camera = make_camera(0, site, 0)
    samples = [make_sample(0, site, camera, p, 0, range(50)) for p in range(200)]
    people = [make_person(0, p, 0, kind) for p in range(60)]
    casts = np.std([np.log(s.cast) for s in samples])
    assert (casts > 0.2) == (kind == "cast")
    assert (np.mean([s.cut[3] for s in samples]) > 0.2) == (kind == "feet")
    assert (site.saturation == 0) == (kind == "monochrome")
    assert (len({p.upper_cloth for p in people}) <= 2) == (kind == "uniform")
    assert (all(p.upper == "coat" for p in people)) == (kind == "coats")
    assert (site.pixels < 80 and site.jitter > 0.1) == (kind == "hard")
    changed = [factors.wears_other_coat(0, p, kind, 0) for p in range(2000)]
    assert (np.mean(changed) > 0.06) == (kind == "hard")
    assert any(changed) == (kind not in ("uniform", "coats"))


def test_a_minority_changes_coats_and_nothing_else() -> None:
    cameras = [[factors.wears_other_coat(0, p, "plain", c) for c in range(6)] for p in range(2000)]
    share = np.mean([any(at) for at in cameras])
    assert 0.045 < share < 0.075
    both = [any(at) and not all(at) for at in cameras]
    assert np.mean(both) > 0.9 * share  # they are seen both ways, so that a match has another coat
    worn = {"upper", "upper_cloth", "inner", "sleeve", "hem", "is_open"}
    for number in range(40):
        usual = make_person(0, number, 0, "plain")
        other = factors.in_other_coat(0, usual)
        assert {
            f.name for f in dataclasses.fields(usual) if getattr(usual, f.name) != getattr(other, f.name)
        } <= worn
        assert (usual.upper in ("jacket", "coat")) != (other.upper in ("jacket", "coat"))


def test_a_changed_coat_is_drawn_and_marked() -> None:
    asked = World(identities=60, sites=1, cameras=4, images=2)
    planned = plan(asked, 0)
    changed = [c for c in planned.crops if factors.wears_other_coat(0, c.person, "plain", c.camera)]
    assert changed
    for crop in planned.crops:
        assert (world.worn(asked, crop) != world.person(asked, crop.person)) == (crop in changed)


def test_after_dark_it_is_darker_yellower_and_noisier() -> None:
    site = dataclasses.replace(make_site(0, 0), noise=0.0, motion=0.0)
    camera = make_camera(0, site, 0)
    moment = make_sample(0, site, camera, 0, 0, range(5))
    grey = np.full((128, 64, 3), 150, np.uint8)
    day, night = (
        sensor.expose(grey, site, camera, dataclasses.replace(moment, night=dark), 1.0, (128, 64)).astype(
            float
        )
        for dark in (0.0, 0.9)
    )
    assert night.mean() < 0.8 * day.mean()
    assert (night[..., 0] / night[..., 2]).mean() > 1.1 * (day[..., 0] / day[..., 2]).mean()
    assert night.std() > day.std() + 2


def test_riders_sit_on_bicycles_and_umbrellas_are_above_people(scene: Scene) -> None:
    planned = plan(SMALL, 0)
    person, camera = world.person(SMALL, planned.people[0]), planned.cameras[0]
    moment = sample(SMALL, planned, Crop("", planned.people[0], 0, 0))
    calm = dataclasses.replace(moment, occluder="none", passers=(), sun=0.0, night=0.0, cut=(0, 0, 0, 0))

    def drawn(stance: str, seed: int = 3) -> tuple[np.ndarray, float]:
        shown = dataclasses.replace(calm, stance=stance, yaw=80.0, seed=seed)
        return scene.clean(person, planned.site, camera, shown, lambda n: person)

    body = scene._person(person)
    seated = _posed(body, dataclasses.replace(calm, stance="ride"), np.eye(3, 4, dtype=np.float32))[:, 2]
    assert 0.0 < seated.min() < 0.35 and seated.max() > 1.4  # feet on pedals, not on the ground
    without, box = drawn("hold")
    above, higher = drawn("umbrella")
    assert higher > 1.1 * box  # this box takes the umbrella in
    assert np.abs(above[:20].astype(int) - without[:20]).max() > 40
    assert np.abs(drawn("ride")[0].astype(int) - without).mean() > 3


def test_a_moment_says_nothing_of_who_it_is() -> None:
    site = make_site(0, 0)
    camera = make_camera(0, site, 0)
    seen = [[make_sample(0, site, camera, p, shot, range(100)) for shot in range(60)] for p in range(30)]
    plates = np.array([np.bincount([s.plate for s in moments], minlength=factors.PLATES) for moments in seen])
    expected = plates.sum() / plates.size
    chi = ((plates - expected) ** 2 / expected).sum()
    assert chi < 290  # 99.9 % of a chi-square with 30 x 7 degrees of freedom
    shares = [np.mean([s.occluder != "none" for s in moments]) for moments in seen]
    assert 0.15 < np.mean(shares) < 0.35
    passers = {number for moments in seen for s in moments for number, *_ in s.passers}
    assert len(passers) == factors.PASSERS and min(passers) >= 900_000  # nobody who is searched for


def test_a_plan_is_market_style_and_complete() -> None:
    asked = World(identities=20, sites=1, cameras=3, images=2)
    planned = plan(asked, 0)
    assert len({crop.path for crop in planned.crops}) == len(planned.crops)
    cameras: dict[int, set[int]] = {}
    folders: dict[int, set[str]] = {}
    for crop in planned.crops:
        cameras.setdefault(crop.person, set()).add(crop.camera)
        folders.setdefault(crop.person, set()).add(crop.path.split("/")[0])
    known, strangers = planned.people[:20], planned.people[20:]
    assert all(len(cameras[n]) == 3 for n in known) and all(len(cameras[n]) == 1 for n in strangers)
    assert sum("bounding_box_train" in folders[n] for n in known) == 12 and len(strangers) == 2
    assert all(folders[n] in ({"bounding_box_train"}, {"query", "bounding_box_test"}) for n in known)
    assert all("/0000_" in crop.path for crop in planned.crops if crop.person in strangers)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kinds": ("plain", "rainy")}, "unknown kind of site 'rainy'"),
        ({"identities": 2}, "identities=2: needs at least 5"),
        ({"cameras": 1}, "cameras=1: needs at least 2"),
        ({"images": 1}, "images=1: one crop a camera"),
        ({"severity": 7.0}, "severity=7: from 0"),
        ({"height": 16}, "height=16: needs at least 32"),
        ({"identities": 10**22}, "identities=10000000000000000000000: at most 500000"),
        ({"sites": 10_000, "identities": 500_000}, "make it smaller"),
        ({"seed": -1}, "seed=-1: needs at least 0"),
        ({"severity": float("nan")}, "severity=nan: from 0"),
    ],
)
def test_a_world_that_cannot_be(wrong: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SynthError, match=sentence):
        render(World(**wrong), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_bending_keeps_bones_and_an_unbent_body_rests() -> None:
    body = make_body(make_person(0, 1, 0, "plain"))
    assert np.allclose(body.weights.sum(1), 1, atol=1e-5) and 1.4 < body.vertices[:, 2].max() < 2.1
    assert np.allclose(bend(body.joints, {}), np.eye(3, 4), atol=1e-6)
    site = make_site(0, 0)
    moment = make_sample(0, site, make_camera(0, site, 0), 1, 0, range(2))
    moves = bend(body.joints, pose(moment, body.joints))
    placed = np.einsum("jab,jb->ja", moves[:, :, :3], body.joints) + moves[:, :, 3]
    for bone, end in (("thigh_l", "calf_l"), ("calf_r", "foot_r"), ("upperarm_l", "lowerarm_l")):
        a, b = NAMES.index(bone), NAMES.index(end)
        before, after = (np.linalg.norm(points[a] - points[b]) for points in (body.joints, placed))
        assert after == pytest.approx(before, rel=1e-4)
    assert not np.allclose(placed, body.joints, atol=0.02)


@pytest.mark.parametrize("axis", "xyz")
def test_two_ways_to_turn(axis: str) -> None:
    assert np.allclose(rotation(axis, 33), about(np.eye(3)["xyz".index(axis)], 33), atol=1e-9)


def test_the_reader_takes_a_site_and_refuses_half_of_one(rendered: Path, tmp_path: Path) -> None:
    dataset = read_dataset("world:site-0", rendered)
    assert len(dataset.train) == 6 * 4 and len(dataset.query) == 4 * 2
    assert len(dataset.gallery) == 4 * 2 + 2 and {r.pid for r in dataset.gallery} & {0}
    joined = read_training("world:site-0+world:site-1", rendered, selection=Selection(all_images=True))
    assert joined.identities() == [10, 10]
    shutil.copytree(rendered / "site-0", tmp_path / "site-0")
    next((tmp_path / "site-0" / "query").glob("*.jpg")).unlink()
    with pytest.raises(DatasetError, match="query 7 instead of 8"):
        read_dataset("world:site-0", tmp_path)
    with pytest.raises(DatasetError, match=r"no factors\.json"):
        read_dataset("world", rendered)


def test_an_interrupted_world_ends_as_the_same_world(rendered: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(rendered, again)
    lost = sorted(again.rglob("*.jpg"))[::3]
    for path in lost:
        path.unlink()
    seen: list[tuple[int, int]] = []
    assert render(SMALL, again, workers=2, report=lambda done, whole: seen.append((done, whole))) == len(lost)
    assert seen[-1][0] == seen[-1][1] and seen[0][0] == seen[0][1] - len(lost)
    for path in sorted(rendered.rglob("*.jpg")):
        assert path.read_bytes() == (again / path.relative_to(rendered)).read_bytes(), path.name
    assert not list(again.rglob("*.partial"))
    assert render(SMALL, again) == 0


def test_a_folder_that_is_something_else(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SynthError, match="holds another world \\(seed=3, asked 4\\)"):
        render(dataclasses.replace(SMALL, seed=4), rendered)
    older = tmp_path / "older"
    older.mkdir()
    told = json.loads((rendered / "world.json").read_text())
    (older / "world.json").write_text(json.dumps(told | {"generator": told["generator"] - 1}))
    with pytest.raises(SynthError, match=r"rendered by another version of the world \(3, this one is 4\)"):
        render(SMALL, older)
    shutil.rmtree(older)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SynthError, match="is not empty"):
        render(SMALL, tmp_path)
    (tmp_path / "world.json").write_text("{")
    with pytest.raises(SynthError, match="is not JSON"):
        render(SMALL, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(SynthError, match="are needed under"):
        render(SMALL, tmp_path / "full")


def test_no_opengl_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import moderngl

    def none(**_: object) -> None:
        raise Exception("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(moderngl, "create_standalone_context", none)
    with pytest.raises(SynthError, match="install libegl1 and libgl1-mesa-dri"):
        Scene(128, 64)


def test_every_crop_can_be_made_again_from_its_factors(rendered: Path, scene: Scene) -> None:
    told = json.loads((rendered / "site-1" / "factors.json").read_text())
    path, crop = next((p, c) for p, c in told["crops"].items() if c["occluder"] == "none")
    planned = plan(SMALL, 1)
    moment = sample(SMALL, planned, next(c for c in planned.crops if c.path == path))
    assert json.loads(json.dumps(dataclasses.asdict(moment))) == {
        k: v for k, v in crop.items() if k not in ("person", "camera", "other_coat")
    }
    assert told["people"][0] == json.loads(
        json.dumps(dataclasses.asdict(world.person(SMALL, planned.people[0])))
    )


def test_backgrounds_are_behind_people_and_know_nobody(scene: Scene) -> None:
    asked = dataclasses.replace(SMALL, severity=0.0)
    planned = plan(asked, 0)
    site, camera = planned.site, planned.cameras[0]
    moment = dataclasses.replace(
        sample(asked, planned, Crop("", planned.people[0], 0, 0)), occluder="none", passers=()
    )
    who = [world.person(asked, planned.people[i]) for i in range(2)]
    empty = scene.background(site, camera, moment)
    assert np.array_equal(empty, scene.background(site, camera, moment))
    crops = [scene.clean(person, site, camera, moment, lambda n: who[n])[0] for person in who]
    swapped = scene.clean(who[0], site, camera, moment, lambda n: who[n], plates_of=planned.cameras[1])[0]
    kept = (crops[0] == swapped).all(-1)
    assert 0.15 < kept.mean() < 0.7  # the person, pixel for pixel; the rest is the other background
    corner = np.s_[:20, :20]
    assert np.array_equal(crops[0][corner], crops[1][corner])
    assert np.abs(crops[0].astype(int) - crops[1]).max() > 60


def test_in_the_sun_a_person_throws_one_shadow(scene: Scene) -> None:
    planned = plan(SMALL, 0)
    site, person = planned.site, world.person(SMALL, planned.people[0])
    camera = dataclasses.replace(planned.cameras[0], light=(0.48, -0.6, 0.64))
    moment = dataclasses.replace(
        sample(SMALL, planned, Crop("", planned.people[0], 0, 0)), occluder="none", passers=(), pitch=25.0
    )

    def drawn(sun: float, plates: int = 0) -> np.ndarray:
        lit = dataclasses.replace(moment, sun=sun)
        return scene.clean(person, site, camera, lit, lambda n: person, plates_of=planned.cameras[plates])[0]

    shade = drawn(0.0)
    ground = (shade != drawn(0.0, plates=1)).any(-1) & (shade.min(-1) > 60)
    left = drawn(1.0)[ground].mean(-1) / shade[ground].mean(-1)
    assert 0.01 < (left < 0.6).mean() < 0.4  # half the light, where the shadow falls
    assert left.min() > 0.45  # an arm before the chest does not darken the ground twice


def test_a_monochrome_site_has_no_colour(rendered: Path) -> None:
    from PIL import Image

    for site, grey in ((0, False), (1, True)):
        differences = []
        for path in (rendered / f"site-{site}" / "query").glob("*.jpg"):
            pixels = np.asarray(Image.open(path).resize((8, 16)), int)
            differences.append(np.abs(pixels[..., 0] - pixels[..., 2]).mean())
        assert (max(differences) < 6) == grey
