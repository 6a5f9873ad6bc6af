"""The console, an operator's page at `/`: static files that this server brings along, and nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import server

_MOUNT = "/console-files"
# No script or style stands in the page itself, nothing is loaded from elsewhere, no other page may frame it.
# blob: crops that the operator chose and that are shown before they are sent.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again by its ETag: a newer server brings a newer page
}


def console_files() -> Path:
    """Where the page's files are: inside the package of a wheel, otherwise beside it in the repository."""
    here = Path(server.__file__).parent
    installed = here / "console_files"
    return installed if installed.is_dir() else here.parent / "clients" / "console"


class _Files(StaticFiles):
    """Static files with the headers of the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def add_console(app: FastAPI) -> None:
    """Adds the page at `/` and its files."""
    folder = console_files()
    page = (folder / "index.html").read_text(encoding="utf-8")
    app.mount(_MOUNT, _Files(directory=folder))

    @app.get("/", include_in_schema=False)
    async def console(request: Request) -> HTMLResponse:
        """The page, with the path under which a proxy shows it."""
        base = escape(f"{request.scope.get('root_path', '')}/")
        return HTMLResponse(page.replace('<base href="/">', f'<base href="{base}">'), headers=_HEADERS)
