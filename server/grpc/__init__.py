"""gRPC: the same service as HTTP, another skin."""
