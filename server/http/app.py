"""The FastAPI application around a service."""

from __future__ import annotations

from fastapi import FastAPI

from server.auth import Auth
from server.http import adapt, gallery, query, system
from server.http.middleware import BodyLimits, Metrics
from server.http.problems import RESPONSES, install
from server.service import Service

VERSION = "0.1.0"
ROUTERS = (gallery.router, query.router, adapt.router, system.router)


def create_app(service: Service, auth: Auth) -> FastAPI:
    """Routes, errors and limits over a service."""
    app = FastAPI(
        title="Resight",
        version=VERSION,
        summary="Person re-identification that adapts to its site",
        responses=RESPONSES,
    )
    app.state.service, app.state.auth = service, auth
    for router in ROUTERS:
        app.include_router(router)
    install(app)
    settings = service.settings
    app.add_middleware(
        BodyLimits, max_bytes=settings.max_request_bytes, max_inflight=settings.max_inflight_bytes
    )
    app.add_middleware(Metrics, telemetry=service.telemetry)
    return app
