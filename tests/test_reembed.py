"""A start with --reembed: refused at once where it cannot work, and meanwhile the ports are open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from grpc_health.v1 import health_pb2 as pb

from server.auth import Auth
from server.errors import Overloaded, StartError
from server.gallery.records import NewItem
from server.grpc.health import Health
from server.http.app import create_app
from server.service import Service
from tests.tiny import make_tiny_bundle, open_tiny, picture


def gallery_of_another_model(folder: Path, **settings: object) -> Path:
    """A data folder with 100 items at `door` and 3 at `yard`, made by the bundle `tiny`."""
    service = open_tiny(make_tiny_bundle(folder), folder / "data", **settings)
    for site, count in (("door", 100), ("yard", 3)):
        images = [picture(seed) for seed in range(count)]
        asyncio.run(service.enrolling.enroll(site, images, [NewItem()] * count))
    service.close()
    return folder / "data"


def ask(service: Service, *paths: str) -> list[httpx.Response]:
    """What the HTTP application answers."""

    async def get() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(service, Auth(service.store, required=False)))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(get())


def test_without_kept_images_it_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    data = gallery_of_another_model(tmp_path, keep_images=False)
    other = make_tiny_bundle(tmp_path, "other", spread=50.0)
    with pytest.raises(StartError, match="'door' cannot be re-embedded: the images of 100 of its items"):
        open_tiny(other, data, reembed=True)


def test_every_call_but_health_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gallery_of_another_model(tmp_path)
    service = open_tiny(make_tiny_bundle(tmp_path, "other", spread=50.0), data, reembed=True)
    reembedding = service.reembedding
    health, *refused = ask(service, "/health", "/ready", "/sites", "/gallery?site=door")
    assert health.status_code == 200
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert "being re-embedded" in answer.json()["detail"] and answer.headers["retry-after"] == "10"

    seen: list[str] = []
    keep = service.store.embeddings.add

    def watched(*words: Any) -> Any:
        with pytest.raises(Overloaded) as refusal:
            reembedding.require_ended()
        seen.append(str(refusal.value))
        if len(seen) == 2:
            reembedding.stop()  # as Ctrl-C does
        return keep(*words)

    monkeypatch.setattr(service.store.embeddings, "add", watched)
    assert reembedding.run() is False
    assert "site door (1 of 2), 0%" in seen[0] and "site door (1 of 2), 64%" in seen[1]

    monkeypatch.undo()
    reembedding.stopping.clear()
    assert reembedding.run() is True
    reembedding.ended.set()
    ready, sites = ask(service, "/ready", "/sites")
    assert ready.status_code == 200
    assert [(site["site"], site["items"], site["version"]) for site in sites.json()] == [
        ("door", 100, 2),
        ("yard", 3, 2),
    ]
    service.close()


def test_the_health_service_of_grpc_waits_too() -> None:
    async def watch() -> list[int]:
        health = Health([""], serving=False)
        context = SimpleNamespace()
        request = pb.HealthCheckRequest()
        seen = [(await health.Check(request, context)).status]
        async for answer in health.Watch(request, context):
            seen.append(answer.status)
            (health.serving if len(seen) == 2 else health.stopping).set()
        return seen

    off, on = pb.HealthCheckResponse.NOT_SERVING, pb.HealthCheckResponse.SERVING
    assert asyncio.run(watch()) == [off, off, on, off]
