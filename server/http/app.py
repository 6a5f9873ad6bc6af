"""The FastAPI application around a service."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from server.auth import Auth
from server.http import (
    adapt,
    clusters,
    console_calls,
    corrections,
    gallery,
    query,
    review,
    session,
    system,
    vectors,
)
from server.http.access import KeyedRoute
from server.http.bodies import BodyLimits
from server.http.console import add_console
from server.http.documentation import add_documentation
from server.http.other_sites import OtherSites
from server.http.outcomes import Outcomes
from server.http.problems import RESPONSES, install
from server.http.schemas import ProblemModel
from server.inflight import Inflight
from server.service import Service
from server.sessions import Sessions

VERSION = "0.1.0"
ROUTERS = (
    gallery.router,
    query.router,
    vectors.router,
    corrections.router,
    clusters.router,
    review.router,
    adapt.router,
    system.router,
    system.open_router,
    session.router,
    console_calls.router,
)


KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


class Api(FastAPI):
    """FastAPI with a document that knows the schema of errors, and how keys are sent."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"].setdefault(ProblemModel.__name__, ProblemModel.model_json_schema())
        document["components"]["securitySchemes"] = KEYS
        auth: Auth = self.state.auth
        ways: list[dict[str, list[str]]] = [{name: []} for name in KEYS]
        for route in (route for router in ROUTERS for route in router.routes):
            if isinstance(route, KeyedRoute) and route.include_in_schema:
                for method in route.methods or ():
                    call = document["paths"][route.path_format][method.lower()]
                    call["security"] = ways if auth.required else [{}, *ways]
        return document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Its path begins with the root path also where the proxy has cut that off."""
        root = self.root_path
        if root and scope["type"] == "http" and not f"{scope['path']}/".startswith(f"{root}/"):
            scope["path"] = root + scope["path"]
        await super().__call__(scope, receive, send)


def create_app(service: Service, auth: Auth) -> FastAPI:
    """Routes, errors and limits over a service."""
    app = Api(
        title="Resight",
        version=VERSION,
        summary="Person re-identification that adapts to its site",
        responses=RESPONSES,
        root_path=service.settings.root_path,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service, app.state.auth, app.state.sessions = service, auth, Sessions(auth)
    for router in ROUTERS:
        app.include_router(router)
    add_documentation(app)
    add_console(app)
    install(app)
    app.add_middleware(OtherSites, origins=service.settings.cors_origins)
    inflight = Inflight(service.settings.max_inflight_bytes)
    service.telemetry.watch_inflight("http", inflight)
    app.add_middleware(BodyLimits, settings=service.settings, inflight=inflight)
    app.add_middleware(Outcomes, telemetry=service.telemetry)
    if service.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key"],
        )
    return app
