"""docs/grpc.md names every call of both protocols, with the scope that it needs."""

from __future__ import annotations

from pathlib import Path

from proto.resight.v1 import resight_pb2 as pb
from server.grpc.app import SCOPES
from server.http.access import KeyedRoute, _scope_of
from server.http.app import ROUTERS

PAGE = (Path(__file__).parent.parent / "docs" / "grpc.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if "| `" in line]


def test_every_call_of_http_stands_beside_one_of_grpc_with_its_scope() -> None:
    page = {row[0].strip("`"): row[2] for row in ROWS}
    real: dict[str, str] = {}
    for route in (route for router in ROUTERS for route in router.routes):
        scope = _scope_of(route.dependant) if isinstance(route, KeyedRoute) else None
        if getattr(route, "include_in_schema", False):
            real |= {f"{method} {route.path}": scope or "no key" for method in route.methods}
    assert page == real


def test_every_method_of_grpc_stands_beside_calls_of_http_with_its_scope() -> None:
    page = {f"/resight.v1.{name.strip('` ')}": row[2] for row in ROWS for name in row[1].split(",")}
    for service in pb.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            name = f"/{service.full_name}/{method.name}"
            assert page[name] == (SCOPES[name] or "no key"), name
