"""The page's files, read once, and the cookie that comes with it.

    page = PageFiles.of(FOLDER, visitors, catalogue="main")
    response = page.answer(request)             # "/", "/page.css", ...

`/page.json` says which catalogue is shown. Nothing but what lies in the folder is there.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from pocketlens.errors import NotFound, ServerError
from pocketlens_server.web import answers
from pocketlens_server.web.visitors import Visitors

FOLDER = Path(__file__).parent / "page"
INDEX, FACTS = "index.html", "page.json"

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
# It may use the camera, and talk to nobody but this server; nobody may put it into a frame.
_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            "img-src 'self' data: blob:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
)


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    media_type: str
    etag: str


class PageFiles:
    """What is shown to whoever opens the page."""

    def __init__(self, files: Mapping[str, bytes], visitors: Visitors) -> None:
        """Shows these.

        Args:
            files: By name; each of a kind that is known.
            visitors: Who makes the cookies.
        """
        self._visitors = visitors
        self._files = {name: _file(name, data) for name, data in files.items()}

    @classmethod
    def of(cls, folder: Path, visitors: Visitors, *, catalogue: str) -> PageFiles:
        """The files of a folder, on a catalogue.

        Raises:
            ServerError: It has no page.
        """
        shown = (each for each in sorted(folder.glob("*")) if each.suffix in _TYPES)
        files = {each.name: each.read_bytes() for each in shown}
        if INDEX not in files:
            raise ServerError(f"Expected a page in {folder}. Is PocketLens installed whole?")
        return cls({**files, FACTS: json.dumps({"catalogue": catalogue}).encode()}, visitors)

    def answer(self, request: Request) -> Response:
        """The file that is asked for; the page itself with a cookie.

        Raises:
            NotFound: There is none of that name.
        """
        name = request.path_params.get("file", INDEX)
        found = self._files.get(name)
        if found is None:
            raise NotFound("There is nothing of that name.")
        headers = {**_HEADERS, "ETag": found.etag}
        if name == INDEX:
            is_secure = request.url.scheme == "https"
            headers["Set-Cookie"] = self._visitors.cookie(is_secure=is_secure)
        is_known = request.headers.get("if-none-match") == found.etag
        if is_known:
            return answers.answer(
                b"", found.media_type, status=HTTPStatus.NOT_MODIFIED, headers=headers
            )
        return answers.answer(found.data, found.media_type, headers=headers)


def _file(name: str, data: bytes) -> _File:
    return _File(data, _TYPES[Path(name).suffix], f'"{hashlib.sha256(data).hexdigest()}"')
