"""The server itself over gRPC."""

from __future__ import annotations

from typing import Any

from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.grpc import messages
from server.service import Service


class System(rpc.SystemServicer):
    """See resight.proto."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.Info:
        """What really runs."""
        return messages.info(self.service.status.server())

    async def Ready(self, request: pb.ReadyRequest, context: Any) -> pb.ReadyResponse:
        """Whether the server can answer."""
        self.service.reembedding.require_ended()
        return pb.ReadyResponse(purged=await self.service.status.ready())
