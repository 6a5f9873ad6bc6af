"""The gRPC server around a service: Gallery, Corrections, Adaptation, System, health and reflection."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from proto.resight.v1 import resight_pb2_grpc as rpc
from server.auth import Auth
from server.grpc.adaptation import Adaptation
from server.grpc.corrections import Corrections
from server.grpc.gallery import Gallery
from server.grpc.guard import Guard
from server.grpc.health import Health
from server.grpc.serving import GrpcServer, options
from server.grpc.system import System
from server.inflight import Inflight
from server.listening import read_tls_file
from server.service import Service
from server.settings import Settings

_GALLERY, _ADAPTATION, _SYSTEM = "resight.v1.Gallery", "resight.v1.Adaptation", "resight.v1.System"
_CORRECTIONS = "resight.v1.Corrections"
# The scope of the key that each method needs; None: no key.
SCOPES: dict[str, str | None] = {
    f"/{_GALLERY}/Enroll": "write",
    f"/{_GALLERY}/EnrollStream": "write",
    f"/{_GALLERY}/Query": "read",
    f"/{_GALLERY}/Embed": "read",
    f"/{_GALLERY}/List": "read",
    f"/{_GALLERY}/Erase": "write",
    f"/{_GALLERY}/GetItem": "read",
    f"/{_GALLERY}/GetImage": "read",
    f"/{_CORRECTIONS}/UpdateItem": "write",
    f"/{_CORRECTIONS}/UpdateItems": "write",
    f"/{_CORRECTIONS}/ListPeople": "read",
    f"/{_CORRECTIONS}/GetMap": "read",
    f"/{_CORRECTIONS}/Rename": "write",
    f"/{_CORRECTIONS}/Merge": "write",
    f"/{_CORRECTIONS}/Split": "write",
    f"/{_CORRECTIONS}/Hide": "write",
    f"/{_CORRECTIONS}/SetFeature": "write",
    f"/{_CORRECTIONS}/SetDifferent": "write",
    f"/{_CORRECTIONS}/ListClusters": "read",
    f"/{_CORRECTIONS}/GetCluster": "read",
    f"/{_CORRECTIONS}/NameCluster": "write",
    f"/{_CORRECTIONS}/ListReview": "read",
    f"/{_CORRECTIONS}/AnswerReview": "write",
    f"/{_CORRECTIONS}/ListJournal": "read",
    f"/{_CORRECTIONS}/GetEntry": "read",
    f"/{_CORRECTIONS}/Undo": "write",
    f"/{_ADAPTATION}/Adapt": "admin",
    f"/{_ADAPTATION}/RollBack": "admin",
    f"/{_ADAPTATION}/GetJob": "read",
    f"/{_ADAPTATION}/WatchJob": "read",
    f"/{_ADAPTATION}/CancelJob": "admin",
    f"/{_ADAPTATION}/SetAdaptAfter": "admin",
    f"/{_ADAPTATION}/Calibrate": "admin",
    f"/{_ADAPTATION}/ListSites": "read",
    f"/{_ADAPTATION}/GetSite": "read",
    f"/{_ADAPTATION}/DeleteSite": "admin",
    f"/{_SYSTEM}/GetInfo": "read",
    f"/{_SYSTEM}/Ready": None,
    f"/{health.SERVICE_NAME}/Check": None,
    f"/{health.SERVICE_NAME}/Watch": None,
    f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": None,
}


async def create_server(service: Service, auth: Auth, address: str) -> GrpcServer:
    """A server on `host:port`, not started. Raises OSError where the port cannot be had."""
    inflight = Inflight(service.settings.max_inflight_bytes)
    service.telemetry.watch_inflight("grpc", inflight)
    guard = Guard(SCOPES, auth, service.settings, inflight, service.telemetry, service.reembedding)
    server = grpc.aio.server(options=options(service.settings), interceptors=[guard])
    rpc.add_GalleryServicer_to_server(Gallery(service), server)
    rpc.add_CorrectionsServicer_to_server(Corrections(service), server)
    rpc.add_AdaptationServicer_to_server(Adaptation(service), server)
    rpc.add_SystemServicer_to_server(System(service), server)
    names = [_GALLERY, _CORRECTIONS, _ADAPTATION, _SYSTEM]
    health_service = Health(["", *names], serving=service.reembedding.ended.is_set())
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    _listen(server, address, service.settings)
    return GrpcServer(server, health_service)


def _listen(server: grpc.aio.Server, address: str, settings: Settings) -> None:
    if settings.tls_cert is None or settings.tls_key is None:
        server.add_insecure_port(address)
        return
    key, chain = (
        read_tls_file("--tls-key", settings.tls_key),
        read_tls_file("--tls-cert", settings.tls_cert),
    )
    server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
