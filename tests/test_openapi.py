"""The OpenAPI document against a real server: what it promises of every call is what the call does.

schemathesis writes requests out of the document, valid ones and damaged ones. Two in three of the valid ones
name sites, items, jobs and images that exist, so that every call also succeeds.
"""

from __future__ import annotations

import dataclasses
import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from resight_client import Client
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from benchmarks.serving import ServerProcess
from tests.tiny import make_tiny_bundle, picture

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
VALID, DAMAGED = 20, 10  # requests of each kind to each call
SITE = "lobby"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own: requests made at random may erase and adapt whatever they meet."""
    folder = tmp_path_factory.mktemp("openapi")
    bundle = make_tiny_bundle(folder)
    with ServerProcess(bundle.path, folder / "data", engine="onnxruntime", grpc_port=0) as running:
        yield running


class Seeds:
    """What exists on the server, replaced when a request may have erased or used it up."""

    def __init__(self, client: Client) -> None:
        self.client, self.random = client, random.Random(0)
        self.job = self._ended_job()
        self._enroll_labelled_people()

    def _ended_job(self) -> str:
        self._item()
        job = self.client.adapt(SITE, "none").job
        while not self.client.job(job).ended:
            pass
        return job

    def _enroll_labelled_people(self) -> None:
        """As many people, at two cameras each, as a calibration takes."""
        for camera in ("door", "hall"):
            records = [{"identity": f"person-{number}", "camera": camera} for number in range(40)]
            self.client.enroll("labelled", [picture(number) for number in range(40)], records=records)

    def _item(self) -> str:
        number = self.random.randrange(50)
        records = [{"identity": f"person-{number}", "camera": "door", "metadata": {"n": number}}]
        return self.client.enroll(SITE, [picture(number)], records=records).items[0].id

    def _clustered_item(self) -> str:
        """One of two items that look the same and have no name."""
        number = self.random.randrange(50)
        return self.client.enroll(SITE, [picture(number), picture(number)]).items[0].id

    def _case(self) -> str:
        """A doubtful case at site `doubtful`, where somebody is enrolled with and without a name."""
        number, site = self.random.getrandbits(32), "doubtful"
        self.client.enroll(site, [picture(number)], records=[{"identity": f"person-{number}"}])
        self.client.enroll(site, [picture(number)])
        return self.client.review(site, limit=1).cases[0].case

    def _adapted_site(self) -> str:
        name = f"site-{uuid.UUID(int=self.random.getrandbits(128)).hex[:12]}"
        self.client.enroll(name, [picture(number) for number in range(16)])
        self.client.wait(self.client.adapt(name, "0", gate=False).job)
        return name

    def _about_a_person(self, call: str) -> dict[str, Any]:
        item, name = self._item(), f"name-{self.random.getrandbits(64)}"
        self.client.update(item, {"identity": name})
        self.client.update(self._item(), {"identity": "other"})
        fields: dict[str, dict[str, Any]] = {
            "rename": {"to": f"{name}-new"},
            "merge": {"into": "other"},
            "split": {"items": [item], "to": f"{name}-new"},
            "feature": {"item": item},
            "different": {"item": item},
        }
        return {"site": SITE, "identity": name} | fields.get(call.rpartition("/")[2], {})

    def path(self, call: str, name: str) -> str:
        """A path parameter that the call succeeds with."""
        if call.endswith("/calibrate"):
            return "labelled"
        if "/review" in call:
            case = self._case()
            return case if name == "case" else "doubtful"
        if name == "site":
            own = call.endswith("rollback") or call.startswith("DELETE ")
            return self._adapted_site() if own else SITE
        if name == "entry":
            return str(self.client.update(self._item(), {"identity": "corrected"}).entry)
        if "/clusters/" in call:
            return self._clustered_item()
        return self.job if name == "job" else self._item()

    def query(self, call: str) -> dict[str, Any]:
        """Query parameters that the call succeeds with."""
        if call == "DELETE /gallery":
            self._item()
            return {"site": SITE, "identity": "person-1"}
        if call == "GET /clusters/{item}":
            return {"site": SITE}
        if call == "GET /people/map":
            who = (
                {"cluster": self._clustered_item()}
                if self.random.random() < 0.5
                else self._about_a_person("")
            )
            return {"site": SITE} | who
        if call == "GET /gallery" and self.random.random() < 0.5:
            return {"site": SITE, "with_vectors": True}
        if call == "GET /sites/{site}/review":
            return {"limit": self.random.randint(1, 5)}
        lists = ("GET /gallery", "GET /people", "GET /journal", "GET /clusters")
        return {"site": SITE, "limit": self.random.randint(1, 5)} if call in lists else {}

    def body(self, call: str) -> dict[str, Any]:
        """A body that the call succeeds with."""
        if call == "POST /adapt":
            return {"site": self._adapted_site(), "tier": "none"}
        if call.startswith("PUT "):
            return {"items": 500}
        if call == "POST /gallery/update":
            return {"site": SITE, "items": [self._item()], "values": {"identity": "corrected"}}
        if call.startswith("PATCH "):
            return {"identity": "corrected"}
        if "/review/" in call:
            return {"answer": self.random.choice(["same", "different", "skip"])}
        if call == "POST /clusters/name":
            return {"site": SITE, "item": self._clustered_item(), "identity": "corrected"}
        if call.startswith("POST /people/"):
            return self._about_a_person(call)
        if call in ("POST /query", "POST /gallery") and self.random.random() < 0.3:
            embedded = self.client.embed(SITE, [picture(self.random.randrange(50))])
            vector = json.dumps(embedded.vectors[0])
            return {"site": SITE, "vector": [vector], "raw_space_id": self.client.site(SITE).raw_space_id}
        if call == "POST /query" and self.random.random() < 0.5:
            return {"site": SITE, "item_id": self._item(), "top_k": 3}
        return {"site": SITE, "images": [picture(self.random.randrange(50))]}

    def put_into(self, case: schemathesis.Case, call: str, keep_others: bool) -> None:
        """Replaces what a request names by what exists; its other fields are kept or left out."""
        for name in case.path_parameters or {}:
            case.path_parameters[name] = self.path(call, name)
        case.query = (case.query if keep_others else {}) | self.query(call)
        if case.operation.body:
            case.body = (case.body if keep_others and isinstance(case.body, dict) else {}) | self.body(call)


@dataclasses.dataclass
class Tally:
    """Answers of every call, by status."""

    statuses: dict[str, Counter[int]] = dataclasses.field(default_factory=dict)

    def note(self, call: str, status: int) -> None:
        """One answer."""
        self.statuses.setdefault(call, Counter())[status] += 1


def attack(
    operation: APIOperation, mode: GenerationMode, count: int, seeds: Seeds, tally: Tally, base_url: str
) -> None:
    """Sends `count` requests to one call and checks each answer against the document."""
    call = f"{operation.method.upper()} {operation.path}"
    session = requests.Session()

    @given(operation.as_strategy(generation_mode=mode), st.sampled_from(["nothing", "named", "only"]))
    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: schemathesis.Case, existing: str) -> None:
        if existing != "nothing" and mode == GenerationMode.POSITIVE:
            seeds.put_into(case, call, keep_others=existing == "named")
        response = case.call(base_url=base_url, session=session, timeout=90)  # clusters compile once
        tally.note(call, response.status_code)
        case.validate_response(response, checks=CHECKS)

    one()


def test_every_call_does_what_the_document_says_and_succeeds_at_least_once(server: ServerProcess) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    tally = Tally()
    with Client(server.url) as client:
        seeds = Seeds(client)
        for operation in operations:
            attack(operation, GenerationMode.POSITIVE, VALID, seeds, tally, server.url)
            if operation.query or operation.body:  # a path parameter may be any text
                attack(operation, GenerationMode.NEGATIVE, DAMAGED, seeds, tally, server.url)
    document = httpx.get(f"{server.url}/openapi.json").json()
    calls = {f"{m.upper()} {path}" for path, methods in document["paths"].items() for m in methods}
    assert set(tally.statuses) == calls
    never = [call for call, statuses in tally.statuses.items() if not any(s < 300 for s in statuses)]
    assert not never, f"no request to {never} succeeded"
    assert b"Traceback" not in server.log.read_bytes()
