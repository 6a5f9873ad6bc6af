"""`/info`, `/health`, `/ready`, `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from server.http.access import KeyedRoute, Reader, ServiceDep
from server.http.declared import DeclaredRoute
from server.http.schemas import ReadyModel
from server.reports import ServerReport

router = APIRouter(tags=["system"], route_class=KeyedRoute)
open_router = APIRouter(tags=["system"], route_class=DeclaredRoute)  # without a key


@router.get("/info")
async def info(service: ServiceDep, actor: Reader) -> ServerReport:
    """What really runs: bundle, engine, provider, precision, device."""
    return service.status.server()


@open_router.head("/health", include_in_schema=False)
@open_router.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "alive"}


@open_router.head("/ready", include_in_schema=False)
@open_router.get("/ready")
async def ready(service: ServiceDep) -> ReadyModel:
    """A canary crop went through the engine and the store can be written; 503 otherwise, also while galleries
    are re-embedded."""
    service.reembedding.require_ended()
    return ReadyModel(purged=await service.status.ready())


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(service: ServiceDep, actor: Reader) -> Response:
    """Prometheus metrics."""
    return Response(service.telemetry.text(), media_type="text/plain; version=0.0.4")
