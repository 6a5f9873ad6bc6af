"""Where both protocols listen: addresses as they are bound and printed, and the certificate of TLS."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from server.errors import StartError
from server.settings import Settings

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - both mean every address of both families, as in gRPC


def joined(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """The socket of HTTP. Raises StartError where the port cannot be had.

    0.0.0.0 and :: listen on every address, of IPv4 and IPv6 where the machine has both: gRPC knows no other
    meaning of them.
    """
    try:
        listener = _socket(host, port)
    except (OSError, UnicodeError) as error:  # the latter: no name of a machine, like one of 300 letters
        why = error.strerror if isinstance(error, OSError) else "no address or name of a machine"
        what = f"port {port} on {host} cannot be had ({why})"
        raise StartError(f"{what}; choose another with --port, or another address with --host") from error
    # Accepted connections inherit it. Without it each answer waits 40 ms: asyncio sets it only where a socket
    # names its protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _socket(host: str, port: int) -> socket.socket:
    if host in _EVERYWHERE and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2048)
    families = {family for family, *_ in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    return socket.create_server((host, port), family=family, backlog=2048)


def require_certificate(settings: Settings) -> None:
    """Raises StartError where the files of TLS cannot be used, before anything else is begun."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    read_tls_file("--tls-cert", settings.tls_cert)
    read_tls_file("--tls-key", settings.tls_key)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")  # asks for none
    except (ssl.SSLError, ValueError) as error:
        raise StartError(
            f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key} cannot be used "
            f"({getattr(error, 'reason', None) or error}); give a certificate chain in PEM, and its key in "
            "PEM without a passphrase"
        ) from error


def read_tls_file(option: str, path: Path) -> bytes:
    """A file of TLS. Raises StartError naming the option where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{option} {path} cannot be read: {error.strerror}") from error
