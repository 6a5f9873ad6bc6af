"""What the page of another site, open in the operator's browser, may not do: change anything here."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import OtherSite
from server.http.problems import answer

_READS = ("GET", "HEAD", "OPTIONS")
_PORTS = {"http": 80, "https": 443}


class OtherSites:
    """Refuses with 403 what changes something and comes, by the browser's own word, from another site's page.

    A browser sends such a request without asking first where it looks like a form's, so CORS does not stop
    it; and a server without keys has nothing else to tell it by. Browsers say where a request comes from in
    `Sec-Fetch-Site`, or, at an address that is neither TLS nor loopback, in `Origin` alone. Neither can be
    written by a page's script. Programs send neither and are let through, and so are pages of `origins`.

    Args:
        origins: pages that may call all the same, like `https://example.org`; `*`: every page.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app, self.origins = app, frozenset(origin.lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] not in _READS:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            origin = headers.get(b"origin")
            if not self._allowed(origin) and _is_of_another_site(headers, origin):
                await answer(_refusal(origin).body())(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _allowed(self, origin: str | None) -> bool:
        return "*" in self.origins or (origin is not None and origin.lower() in self.origins)


def _is_of_another_site(headers: dict[bytes, str], origin: str | None) -> bool:
    # Another port of this host is "same-site": another server, so its pages are refused too.
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site.lower() not in ("same-origin", "none")
    return origin is not None and not _is_of_host(origin, headers.get(b"host", ""))


def _is_of_host(origin: str, host: str) -> bool:
    """Whether an origin is that of this Host; a port that is not written is that of the origin's scheme."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        usual = _PORTS.get(page.scheme)
        ports = page.port or usual, here.port or usual
    except ValueError:  # no port, or no address of IPv6
        return False
    return page.hostname is not None and page.hostname == here.hostname and ports[0] == ports[1]


def _refusal(origin: str | None) -> OtherSite:
    page = f"the page {origin[:80]!r}" if origin else "a page"
    return OtherSite(
        f"{page} of another site may not change anything at this server; "
        "if it should, start the server with its origin in --cors-origins"
    )
