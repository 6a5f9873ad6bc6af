"""The gallery over any history: enrolls, repeated enrolls, erasures, swaps of the network and restarts in any
order, after each of which it must answer like a plain list of what is enrolled."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reid.bundle import Bundle
from reid.profile import Profile
from server.auth import Auth
from server.fields import iso
from server.gallery.records import NewItem
from server.http.app import create_app
from server.service import Service
from tests.test_filters import lets_through
from tests.tiny import embedding_of, make_tiny_bundle, open_tiny, picture, site_profile

SITES = ("north", "south")
CAMERAS, IDENTITIES = (None, "door", "hall"), (None, "anna", "bob")
TIMES = (None, 0.0, 10.5, 1_700_000_000.0)
METADATA: tuple[dict[str, Any], ...] = (
    {},
    {"colour": "red"},
    {"colour": "blue", "track": 12},
    {"track": "12", "ok": True},
    {"track": 12.5, "ok": 1},
    {"colour": None, "ok": False},
)

crops = st.fixed_dictionaries(
    {
        "picture": st.integers(0, 7),
        "camera": st.sampled_from(CAMERAS),
        "identity": st.sampled_from(IDENTITIES),
        "captured_at": st.sampled_from(TIMES),
        "metadata": st.sampled_from(METADATA),
    }
)
labels = st.sampled_from(["door", "anna", "nobody", None, ["hall", "bob"], ["anna", "door", None]])
times = st.sampled_from([None, 10.5, {"gte": 0, "lt": 10.5}, {"gt": 10}, {"lte": 10.5}, {"not": None}])
values = st.sampled_from(
    ["red", 12, "12", True, 0, None, ["red", 12.5, False], {"not": None}, {"gt": 11}, {"not": ["red", True]}]
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "camera": labels | labels.map(lambda inner: {"not": inner}),
        "identity": labels | labels.map(lambda inner: {"not": inner}),
        "captured_at": times,
        "metadata": st.dictionaries(st.sampled_from(["colour", "track", "ok"]), values, max_size=2),
    },
)
Crop = dict[str, Any]


@dataclasses.dataclass
class Enrolled:
    """An item that the gallery must hold."""

    id: str
    crop: Crop

    def meets(self, where: dict[str, Any]) -> bool:
        """Whether a filter lets it through."""
        record = NewItem(**{name: value for name, value in self.crop.items() if name != "picture"})
        return lets_through(record, where)


@dataclasses.dataclass
class Site:
    """What a site must be: its items in order of enrolling, and for every version its network and parent."""

    items: list[Enrolled] = dataclasses.field(default_factory=list)
    versions: list[tuple[Profile | None, int | None]] = dataclasses.field(
        default_factory=lambda: [(None, None)]
    )

    @property
    def profile(self) -> Profile | None:
        """The live network's BatchNorm values; None stands for the bundle's."""
        return self.versions[-1][0]


class History(RuleBasedStateMachine):
    """One service with some settings, opened again and again over one folder, beside the list."""

    def __init__(self, bundle: Bundle, app: FastAPI, folder: Path, **settings: object) -> None:
        super().__init__()
        self.bundle, self.app, self.folder, self.settings = bundle, app, folder, settings
        self.sites: dict[str, Site] = {}
        self.requests: dict[str, tuple[str, list[Crop], list[str]]] = {}  # by key: site, crops, ids
        self.erased: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.open()

    def open(self) -> None:
        """Starts the service as a server would."""
        self.service: Service = open_tiny(self.bundle, self.folder, **self.settings)
        self.app.state.service = self.service
        self.app.state.auth = Auth(self.service.store, required=False)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request."""
        return self.loop.run_until_complete(self.client.request(method, path, **options))

    def teardown(self) -> None:
        """Ends the service."""
        self.service.close()
        self.loop.close()

    # what happens to a gallery

    @rule(site=st.sampled_from(SITES), new=st.lists(crops, min_size=1, max_size=4))
    def enroll(self, site: str, new: list[Crop]) -> None:
        """Crops with labels."""
        self.keep(site, new, self.send(site, new).json())

    @rule(site=st.sampled_from(SITES), new=st.lists(crops, min_size=1, max_size=3))
    def enroll_under_a_key(self, site: str, new: list[Crop]) -> None:
        """Crops in a request that may be repeated."""
        key = f"key-{len(self.requests)}"
        ids = self.keep(site, new, self.send(site, new, key).json())
        self.requests[key] = (site, new, ids)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def repeat_a_request(self, data: st.DataObject) -> None:
        """Sent again, as a client does that missed the answer: nothing is enrolled twice."""
        key = data.draw(st.sampled_from(sorted(self.requests)))
        site, crops, ids = self.requests[key]
        left = [item for item in ids if item not in self.erased]
        again = self.send(site, crops, key)
        if not left:  # a repetition that comes late does not enroll again what was erased
            assert again.status_code == 409, again.text
            return
        assert again.status_code == 201, again.text
        assert [item["id"] for item in again.json()["items"]] == left

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def use_a_key_for_something_else(self, data: st.DataObject) -> None:
        """Refused, and nothing is enrolled."""
        key = data.draw(st.sampled_from(sorted(self.requests)))
        site, crops, _ = self.requests[key]
        assert self.send(site, [*crops, crops[0]], key).status_code == 409

    @precondition(lambda self: any(site.items for site in self.sites.values()))
    @rule(data=st.data())
    def erase_an_item(self, data: st.DataObject) -> None:
        """By its id."""
        item = data.draw(st.sampled_from([i.id for site in self.sites.values() for i in site.items]))
        assert self.call("DELETE", f"/gallery/{item}").json()["erased"] == 1
        for site in self.sites.values():
            site.items = [other for other in site.items if other.id != item]
        self.erased.append(item)

    @precondition(lambda self: self.sites)
    @rule(data=st.data(), identity=st.sampled_from(["anna", "bob", "carol"]))
    def erase_a_person(self, data: st.DataObject, identity: str) -> None:
        """Every item of an identity at one site."""
        name = data.draw(st.sampled_from(sorted(self.sites)))
        site = self.sites[name]
        gone = [item.id for item in site.items if item.crop["identity"] == identity]
        answer = self.call("DELETE", "/gallery", params={"site": name, "identity": identity})
        self.check_erasure(answer, site, gone)

    @precondition(lambda self: self.sites)
    @rule(data=st.data(), where=filters)
    def erase_by_a_filter(self, data: st.DataObject, where: dict[str, Any]) -> None:
        """Everything that it lets through; a filter without a condition erases nothing."""
        name = data.draw(st.sampled_from(sorted(self.sites)))
        site = self.sites[name]
        answer = self.call("DELETE", "/gallery", params={"site": name, "filter": json.dumps(where)})
        if not where.get("metadata") and set(where) <= {"metadata"}:
            assert answer.status_code == 400, answer.text
            return
        self.check_erasure(answer, site, [item.id for item in site.items if item.meets(where)])

    @precondition(lambda self: self.sites)
    @rule(data=st.data(), seed=st.integers(1, 3))
    def swap_the_network(self, data: st.DataObject, seed: int) -> None:
        """What an adaptation ends with: another profile, everything re-embedded."""
        name = data.draw(st.sampled_from(sorted(self.sites)))
        site, profile = self.sites[name], site_profile(self.bundle, seed)
        self.service.store.versions.save_profile(profile)
        live = len(site.versions)
        made = self.service.rebuilder.run(self.service.sites.get(name), profile.id, "adapt", live)
        assert made.version == live + 1
        site.versions.append((profile, live))

    @precondition(lambda self: any(site.items for site in self.sites.values()))
    @rule(data=st.data())
    def return_to_the_bundles_network(self, data: st.DataObject) -> None:
        """An adaptation of tier `none`."""
        name = data.draw(st.sampled_from([name for name in sorted(self.sites) if self.sites[name].items]))
        site = self.sites[name]
        changes = site.profile is not None
        answer = self.call("POST", "/adapt", json={"site": name, "tier": "none"})
        self.finish(answer, "succeeded" if changes else "declined")
        if changes:
            site.versions.append((None, len(site.versions)))

    @precondition(lambda self: self.sites)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """To the live version's parent, where there is one."""
        name = data.draw(st.sampled_from(sorted(self.sites)))
        site = self.sites[name]
        answer, parent = self.call("POST", f"/sites/{name}/rollback"), site.versions[-1][1]
        if parent is None:
            assert answer.status_code == 409, answer.text
            return
        self.finish(answer)
        site.versions.append(site.versions[parent - 1])

    @precondition(lambda self: self.sites)
    @rule()
    def restart(self) -> None:
        """Close and open."""
        self.service.close()
        self.open()

    # what a gallery is asked

    @precondition(lambda self: self.sites)
    @rule(data=st.data(), seed=st.integers(0, 9), top_k=st.integers(1, 30), where=filters)
    def query_by_a_crop(self, data: st.DataObject, seed: int, top_k: int, where: dict[str, Any]) -> None:
        """The ranking of a list."""
        name = data.draw(st.sampled_from(sorted(self.sites)))
        camera = data.draw(st.sampled_from(CAMERAS))
        fields = {"site": name, "top_k": top_k, "filter": json.dumps(where)}
        if camera is not None:
            fields |= {"query_camera": camera, "exclude_same_camera": "true"}
        answer = self.call("POST", "/query", data=fields, files={"images": picture(seed)})
        vector = embedding_of(picture(seed), self.sites[name].profile)
        self.compare(name, answer, vector, top_k, where, camera)

    @precondition(lambda self: any(site.items for site in self.sites.values()))
    @rule(data=st.data(), top_k=st.integers(1, 30), where=filters)
    def query_by_an_item(self, data: st.DataObject, top_k: int, where: dict[str, Any]) -> None:
        """The same with a stored embedding; the item itself is left out."""
        name = data.draw(st.sampled_from([name for name in sorted(self.sites) if self.sites[name].items]))
        item = data.draw(st.sampled_from(self.sites[name].items))
        fields = {"site": name, "item_id": item.id, "top_k": top_k, "filter": json.dumps(where)}
        answer = self.call("POST", "/query", data=fields)
        self.compare(name, answer, self.stored(name, item), top_k, where, None, item.id)

    @precondition(lambda self: self.erased)
    @rule(data=st.data())
    def ask_for_an_erased_item(self, data: st.DataObject) -> None:
        """Gone, whatever happened since."""
        item = data.draw(st.sampled_from(self.erased))
        assert self.call("GET", f"/gallery/{item}").status_code == 404
        assert self.call("GET", f"/gallery/{item}/image").status_code == 404

    @precondition(lambda self: self.sites)
    @rule(data=st.data(), where=filters, limit=st.integers(1, 5))
    def list_in_pages(self, data: st.DataObject, where: dict[str, Any], limit: int) -> None:
        """Every item that the filter lets through, once, in order of enrolling, with its labels."""
        name = data.draw(st.sampled_from(sorted(self.sites)))
        listed, cursor = [], None
        while True:
            params = {"site": name, "limit": limit, "filter": json.dumps(where)}
            params |= {"cursor": cursor} if cursor else {}
            page = self.call("GET", "/gallery", params=params).json()
            listed += page["items"]
            cursor = page["cursor"]
            if cursor is None:
                break
        expected = [item for item in self.sites[name].items if item.meets(where)]
        assert [item["id"] for item in listed] == [item.id for item in expected]
        for item, kept in zip(listed, expected, strict=True):
            assert_same_labels(item, kept.crop)

    @precondition(lambda self: any(site.items for site in self.sites.values()))
    @rule(data=st.data())
    def read_an_item(self, data: st.DataObject) -> None:
        """Labels and the very bytes."""
        item = data.draw(st.sampled_from([i for site in self.sites.values() for i in site.items]))
        assert_same_labels(self.call("GET", f"/gallery/{item.id}").json(), item.crop)
        assert self.call("GET", f"/gallery/{item.id}/image").content == picture(item.crop["picture"])

    @invariant()
    def every_site_has_its_items_and_its_version(self) -> None:
        """As the server reports them, and as the store counts them."""
        reported = {site["site"]: site for site in self.call("GET", "/sites").json()}
        assert set(reported) == set(self.sites)
        for name, site in self.sites.items():
            assert reported[name]["items"] == len(site.items) == self.service.store.items.count(name)
            assert reported[name]["version"] == len(site.versions)
            assert reported[name]["can_roll_back"] == (site.versions[-1][1] is not None)

    # helpers

    def send(self, site: str, crops: list[Crop], key: str | None = None) -> httpx.Response:
        """An enroll."""
        records = [{k: v for k, v in crop.items() if k != "picture"} for crop in crops]
        files = [("images", (f"{i}.png", picture(crop["picture"]))) for i, crop in enumerate(crops)]
        headers = {"Idempotency-Key": key} if key else {}
        data = {"site": site, "records": json.dumps(records)}
        return self.call("POST", "/gallery", data=data, files=files, headers=headers)

    def keep(self, site: str, crops: list[Crop], answer: dict[str, Any]) -> list[str]:
        """Adds what was acknowledged to the list."""
        ids = [item["id"] for item in answer["items"]]
        assert len(ids) == len(crops)
        held = self.sites.setdefault(site, Site())
        held.items += [Enrolled(item, crop) for item, crop in zip(ids, crops, strict=True)]
        return ids

    def check_erasure(self, answer: httpx.Response, site: Site, gone: list[str]) -> None:
        """Takes what had to be erased off the list."""
        assert answer.status_code == 200, answer.text
        assert answer.json()["erased"] == len(gone)
        site.items = [item for item in site.items if item.id not in gone]
        self.erased += gone

    def finish(self, answer: httpx.Response, state: str = "succeeded") -> None:
        """Waits for a job."""
        assert answer.status_code == 202, answer.text
        job, until = answer.json(), time.monotonic() + 30
        while job["state"] in ("queued", "running") and time.monotonic() < until:
            time.sleep(0.002)
            job = self.call("GET", f"/adapt/{job['job']}").json()
        assert job["state"] == state, job

    def stored(self, name: str, item: Enrolled) -> np.ndarray:
        """float32 [24] out of the store, which must be what the live network makes of the picture."""
        stored = self.service.store.items.get(item.id)
        assert stored is not None
        space = self.service.sites.get(name).state.version.raw_space_id
        vector = self.service.store.embeddings.get(stored.seq, space)
        assert vector is not None
        computed = embedding_of(picture(item.crop["picture"]), self.sites[name].profile)
        assert vector == pytest.approx(computed, abs=1e-3)
        return vector

    def compare(
        self,
        name: str,
        answer: httpx.Response,
        vector: np.ndarray,
        top_k: int,
        where: dict[str, Any],
        excluded: str | None,
        query_item: str | None = None,
    ) -> None:
        """A ranking against one computed from every stored embedding, without that of a queried item."""
        assert answer.status_code == 200, answer.text
        body, site = answer.json(), self.sites[name]
        assert body["version"] == len(site.versions)
        expected = {}
        for item in site.items:
            is_left_out = item.id == query_item or (excluded is not None and item.crop["camera"] == excluded)
            if item.meets(where) and not is_left_out:
                expected[item.id] = min(1.0, float(self.stored(name, item) @ vector))
        matches = body["matches"]
        scores = [match["score"] for match in matches]
        assert len(matches) == min(top_k, len(expected))
        assert [match["rank"] for match in matches] == list(range(1, len(matches) + 1))
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([expected[match["id"]] for match in matches], abs=2e-6)
        left_out = [score for item, score in expected.items() if item not in {m["id"] for m in matches}]
        assert max(left_out, default=-math.inf) <= min(scores, default=math.inf) + 2e-6
        order = {item.id: place for place, item in enumerate(site.items)}
        crop = {item.id: item.crop for item in site.items}
        for better, worse in itertools.pairwise(matches):
            # the vectors of one picture can differ in their last digit, when batches of other sizes made them
            if better["score"] == worse["score"]:
                assert order[better["id"]] < order[worse["id"]]  # equal scores by order of enrolling
        for match in matches:
            assert_same_labels(match, crop[match["id"]])


def assert_same_labels(answered: dict[str, Any], crop: Crop) -> None:
    """What was sent with the crop comes back."""
    assert answered["camera"] == crop["camera"]
    assert answered["identity"] == crop["identity"]
    assert answered["captured_at"] == iso(crop["captured_at"])
    assert answered["metadata"] == crop["metadata"]


def run(make: Callable[[], History], histories: int, steps: int) -> None:
    """The same histories every time."""
    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_happened_the_gallery_answers_like_a_list(tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    first = open_tiny(bundle, tmp_path_factory.mktemp("unused"))
    app = create_app(first, Auth(first.store, required=False))  # once: building it takes longer than opening
    run(lambda: History(bundle, app, tmp_path_factory.mktemp("history")), histories=9, steps=40)
    first.close()
