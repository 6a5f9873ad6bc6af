"""The FastAPI application around a service."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from server.auth import Auth
from server.http import adapt, gallery, query, system
from server.http.bodies import BodyLimits
from server.http.outcomes import Outcomes
from server.http.problems import RESPONSES, install
from server.http.schemas import ProblemModel
from server.inflight import Inflight
from server.service import Service

VERSION = "0.1.0"
ROUTERS = (gallery.router, query.router, adapt.router, system.router, system.open_router)


class Api(FastAPI):
    """FastAPI with a document that knows the schema of errors."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"].setdefault(ProblemModel.__name__, ProblemModel.model_json_schema())
        return document


def create_app(service: Service, auth: Auth) -> FastAPI:
    """Routes, errors and limits over a service."""
    app = Api(
        title="Resight",
        version=VERSION,
        summary="Person re-identification that adapts to its site",
        responses=RESPONSES,
    )
    app.state.service, app.state.auth = service, auth
    for router in ROUTERS:
        app.include_router(router)
    install(app)
    inflight = Inflight(service.settings.max_inflight_bytes)
    service.telemetry.watch_inflight("http", inflight)
    app.add_middleware(BodyLimits, settings=service.settings, inflight=inflight)
    app.add_middleware(Outcomes, telemetry=service.telemetry)
    return app
