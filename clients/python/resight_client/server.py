"""The server that a client talks to: its address, the key, and what an error says, which is never the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from resight_client.values import ResightError

Answer = TypeVar("Answer")
_HIDDEN = "***"
_SHORTEST = 4  # letters of a key; what is shorter is none, and stands in many a word


class Server:
    """Address and key of a server.

    Raises ResightError for a URL or a key that nothing can be sent with.
    """

    def __init__(self, url: str, api_key: str | None) -> None:
        self.url = url.rstrip("/")
        self.key = api_key.strip() if api_key else ""
        if not self.key.isascii() or not self.key.isprintable() or " " in self.key:
            raise ResightError(
                0, "no-key", "the API key holds letters that no header can hold; it is text like rk_..."
            )
        try:
            parts = urlsplit(self.url)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            whole = whole and not parts.query and not parts.fragment
        except ValueError:
            whole = False
        if not whole:
            raise ResightError(
                0,
                "no-url",
                f"{self.hide(url.split('?')[0])!r} is no URL of a server; it is like http://127.0.0.1:8000",
            )

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def hide(self, text: str) -> str:
        """The text without the key, and without user and password of the URL."""
        if len(self.key) >= _SHORTEST:
            text = text.replace(self.key, _HIDDEN)
        host = self.url.rpartition("://")[2].split("/")[0]
        user = host.rpartition("@")[0]
        return text.replace(f"{user}@", f"{_HIDDEN}@") if user else text

    def opened(self, kind: Callable[..., Answer], timeout_s: float) -> Answer:
        """A client of httpx. Raises ResightError where the environment (proxies, certificates) forbids it."""
        try:
            return kind(base_url=self.url, headers=self.headers, timeout=timeout_s)
        except (httpx.InvalidURL, ImportError, OSError, TypeError, ValueError) as error:
            raise ResightError(
                0, "no-client", f"no connection to {self.url_shown} can be made: {self.hide(str(error))}"
            ) from None

    @property
    def url_shown(self) -> str:
        """The URL in a message."""
        return self.hide(self.url)

    def read(self, response: httpx.Response, parse: Callable[[Any], Answer]) -> Answer:
        """The answer as `parse` reads its JSON. Raises ResightError for a problem document and for anything
        unexpected."""
        if response.status_code >= 300:
            raise self.failure(response.status_code, response.content)
        try:
            values = response.json()
        except ValueError as error:
            raise self.unexpected(response.status_code) from error
        return self.parsed(values, parse)

    def parsed(self, values: Any, parse: Callable[[Any], Answer]) -> Answer:
        """What the server said as `parse` reads it. Raises ResightError where that is something else."""
        try:
            return parse(values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.unexpected(200) from error

    def image(self, response: httpx.Response) -> bytes:
        """The bytes of an answer that is an image. Raises ResightError as `read` does."""
        if response.status_code >= 300:
            raise self.failure(response.status_code, response.content)
        if not response.headers.get("content-type", "").startswith("image/"):
            raise self.unexpected(response.status_code)
        return response.content

    def failure(self, status: int, content: bytes) -> ResightError:
        """The error of an answer."""
        try:
            body = json.loads(content)
            facts = {k: v for k, v in body.items() if k not in ("type", "title", "status", "code", "detail")}
            return ResightError(status, body["code"], self.hide(body["detail"]), facts)
        except (ValueError, KeyError, TypeError, AttributeError):
            return self.unexpected(status)

    def unexpected(self, status: int) -> ResightError:
        """The error of an answer that is none of Resight's."""
        what = "without a reason" if status >= 300 else "what this client cannot read"
        return ResightError(
            status, "unexpected", f"{self.url_shown} answered {status} {what}; is it a Resight server?"
        )

    def unreachable(self, error: Exception) -> ResightError:
        """The error of no answer."""
        reason = self.hide(str(error)) or type(error).__name__
        if isinstance(error, RuntimeError):  # of a client or an event loop that is closed
            return ResightError(0, "closed", f"nothing was sent to {self.url_shown}: {reason}")
        return ResightError(
            0,
            "unreachable",
            f"no answer from {self.url_shown}: {reason}; start a server with: resight serve --bundle B",
        )
