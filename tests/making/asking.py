"""Who asks a server over HTTP, in the words of HTTP."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

BOUNDARY = "----what-is-in-no-photo"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: Of HTTP.
        headers: By name in small letters.
        data: The body.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and text of a refusal."""
        error = self.json["error"]
        return self.status, error["code"], error["message"]


@dataclass(frozen=True)
class Asker:
    """One of the callers of a server on the loopback.

    Attributes:
        port: Of the server.
        headers: Of every request.
        tls: Whom to trust; None for no TLS.
        host: That requests come from.
    """

    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        said: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Asks on a connection of its own."""
        if said:
            path += "?" + urlencode(said)
        source = (self.host, 0)
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=source)
            if self.tls is None
            else http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=30, context=self.tls, source_address=source
            )
        ) as connection:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())

    def get(self, path: str, **said: object) -> Answer:
        return self.ask("GET", path, said=said)

    def post(
        self, path: str, body: bytes, content_type: str = "image/jpeg", **said: object
    ) -> Answer:
        return self.ask("POST", path, body, said=said, headers={"Content-Type": content_type})

    def post_json(self, path: str, value: object) -> Answer:
        return self.post(path, json.dumps(value).encode(), "application/json")

    def post_form(self, path: str, photo: bytes, **fields: str) -> Answer:
        return self.post(path, form(photo, fields), FORM)


FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(photo: bytes, fields: Mapping[str, str]) -> bytes:
    """A form as browsers and curl send it."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in fields.items()
    ]
    head = 'Content-Disposition: form-data; name="photo"; filename="a photo.jpg"\r\n'
    parts.append(f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo)
    edge = f"--{BOUNDARY}".encode()
    return b"".join(edge + b"\r\n" + part + b"\r\n" for part in parts) + edge + b"--\r\n"
