"""How a server is set: defaults, DIR/server.toml, the environment, options; the later one counts.

    [listen]
    host = "0.0.0.0"
    [tls]
    certificate = "tls/server.pem"      # beside server.toml

    POCKETLENS_SERVER_LISTEN_PORT=9443

A name that is none is refused, in the file as in the environment, so that a misspelt limit does not
leave a server without one. Nothing that is set is a secret. Nothing of it opens a server to
everybody, which is an option of `serve` alone; the page, where it is set, opens one catalogue's
search.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from pocketlens.errors import ServerError
from pocketlens.sync.credentials import is_loopback
from pocketlens_server.limits import Limits
from pocketlens_server.logs import LogSettings
from pocketlens_server.query.settings import QuerySettings

FILE_NAME = "server.toml"
PREFIX = "POCKETLENS_SERVER_"
PAGE_PORT = 8090  # where the page is, if nothing else is said
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
MOST_INTEGER, MOST_NUMBER = 2**31 - 1, 1_000_000  # what gRPC takes; 1,000,000 s are eleven days

Value: TypeAlias = str | int | float | bool | Path | None


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens; a port 0 takes a free one, None is for not at all.

    Attributes:
        host: Of gRPC and HTTP. Beyond the loopback there must be TLS.
        port: Of gRPC.
        http_port: Of the public files over HTTP.
        metrics_port: Of what monitoring reads, which is open to whoever reaches it.
        metrics_host: Of that port alone; beyond the loopback there must be TLS too.
        reflection: Whether the server says over gRPC which methods it has, to a backend's token.
        rest_port: Of questions in JSON over HTTP.
        rest_origins: Of websites whose pages may ask there from a browser, with a token:
            "https://shop.example https://www.shop.example".
        page: Whether there is a page there to ask on, for whoever reaches the port.
        page_catalogue: That the page shows.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    http_port: int | None = None
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    reflection: bool = False
    rest_port: int | None = None
    rest_origins: str = ""
    page: bool = False
    page_catalogue: str = "main"

    def __post_init__(self) -> None:
        for each in (self.port, self.http_port, self.metrics_port, self.rest_port):
            if each is not None and not 0 <= each <= 65535:
                raise ServerError(f"Expected a port from 0 to 65,535. Received {each}.")
        for origin in self.rest_origins.split():
            if not _ORIGIN.fullmatch(origin):
                raise ServerError(
                    "Expected rest_origins as https://HOST, several with spaces between them. "
                    f"Received {origin!r}."
                )

    @property
    def web_port(self) -> int | None:
        """Where questions over HTTP are answered; None for nowhere."""
        return PAGE_PORT if self.rest_port is None and self.page else self.rest_port


def address(host: str, port: int) -> str:
    """A host with a port, as in an URL: "192.0.2.7:8443", "[::1]:8443"."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM, for gRPC and HTTP.

    A relative name that server.toml has is one beside it; one of a variable or an option is as seen
    from where the server starts.

    Attributes:
        certificate, key: Of the server, the certificate with those between it and its authority.
        client_ca: Whose certificates clients must show, besides their tokens; None where they show
            none.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ServerError("Expected certificate and key together. Received one of them.")
        if self.client_ca is not None and self.certificate is None:
            raise ServerError("Expected certificate and key with client_ca. Received none.")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything that can be set of a server, by section.

    Attributes:
        listen: Where it listens.
        tls: How that is encrypted.
        limits: What it gives to its clients.
        logs: What it logs.
        query: What it gives to questions.
    """

    listen: Listen = field(default_factory=Listen)
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)
    logs: LogSettings = field(default_factory=LogSettings)
    query: QuerySettings = field(default_factory=QuerySettings)

    @property
    def has_plain_metrics(self) -> bool:
        """Whether metrics are shown without TLS: a certificate is of no name of the loopback."""
        return self.tls.certificate is None or is_loopback(self.listen.metrics_host)


class Source(StrEnum):
    """Where a value came from."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, and where it came from.

    Attributes:
        section, name: As in server.toml.
        value: That counts.
        source: Of it.
    """

    section: str
    name: str
    value: Value
    source: Source


@dataclass(frozen=True, slots=True)
class Effective:
    """What counts, after everything was read.

    Attributes:
        config: The values.
        settings: Each with where it came from, in order.
    """

    config: ServerConfig
    settings: tuple[Setting, ...]


def read(
    folder: Path,
    environment: Mapping[str, str],
    options: Mapping[tuple[str, str], Value] | None = None,
) -> Effective:
    """Reads what is set.

    Args:
        folder: Of the server, with its server.toml or without.
        environment: Variables by name.
        options: Values of a command by section and name; None where one was not given.

    Raises:
        ServerError: The file is damaged, or something is set that cannot be.
    """
    found = {each: (value, Source.FILE) for each, value in _of_file(folder)}
    found |= {each: (value, Source.ENVIRONMENT) for each, value in _of_environment(environment)}
    given = (options or {}).items()
    found |= {each: (value, Source.OPTION) for each, value in given if value is not None}
    defaults = ServerConfig()
    sections, settings = {}, []
    for section in fields(ServerConfig):
        default = getattr(defaults, section.name)
        values: dict[str, Any] = {}
        for each in fields(default):
            value, source = found.get(
                (section.name, each.name), (getattr(default, each.name), Source.DEFAULT)
            )
            values[each.name] = value
            settings.append(Setting(section.name, each.name, value, source))
        try:
            sections[section.name] = type(default)(**values)
        except ServerError as exc:
            raise ServerError(f"[{section.name}]: {exc}") from exc
    return Effective(ServerConfig(**sections), tuple(settings))


def document(path: Path) -> dict[str, Any]:
    """What a TOML file says; nothing where there is none.

    Raises:
        ServerError: It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ServerError(f"The settings {path} cannot be read: {exc}.") from exc


def _kinds() -> dict[str, dict[str, Any]]:
    """The type of each setting, by section and name."""
    return {name: get_type_hints(kind) for name, kind in get_type_hints(ServerConfig).items()}


def _of_file(folder: Path) -> Iterator[tuple[tuple[str, str], Value]]:
    path, sections = folder / FILE_NAME, _kinds()
    found = document(path)
    for section, values in found.items():
        if section not in sections or not isinstance(values, dict):
            known = ", ".join(f"[{each}]" for each in sections)
            raise ServerError(f"Expected sections of {known} in {path}. Received {section!r}.")
        for name, value in values.items():
            if name not in sections[section]:
                known = ", ".join(sections[section])
                raise ServerError(f"Expected one of {known} in {path}. Received {name!r}.")
            checked = _checked(value, sections[section][name], f"{section}.{name} in {path}")
            # What an operator writes beside the file is found from wherever the server starts.
            yield (section, name), folder / checked if isinstance(checked, Path) else checked


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], Value]]:
    """Kubernetes has variables of its own below the prefix, but none below one of a section."""
    for section, kinds in _kinds().items():
        prefix = f"{PREFIX}{section.upper()}_"
        known = {prefix + name.upper(): name for name in kinds}
        for variable, text in environment.items():
            if variable in known:
                kind = kinds[known[variable]]
                yield (section, known[variable]), _checked(_parsed(text, kind), kind, variable)
            elif variable.startswith(prefix):
                raise ServerError(f"Expected one of {', '.join(known)}. Received {variable}.")


def _parsed(text: str, kind: Any) -> object:
    """A text as TOML would have it; as it is where it can be no such value."""
    kinds = _alternatives(kind)
    if text == "" and NoneType in kinds:
        return None
    if bool in kinds:
        return {"true": True, "false": False}.get(text, text)
    try:
        return int(text) if int in kinds else float(text) if float in kinds else text
    except ValueError:
        return text


def _checked(value: Any, kind: Any, where: str) -> Value:
    """A value of the kind that is wanted, inside what any setting may be."""
    wanted = _alternatives(kind)[0]
    if value is None and NoneType in _alternatives(kind):
        return None
    if get_origin(wanted) is Literal:
        fits, expected = value in get_args(wanted), " or ".join(get_args(wanted))
        wanted = str
    elif wanted is bool:
        fits, expected = type(value) is bool, "true or false"
    elif wanted is int:
        fits = type(value) is int and 0 <= value <= MOST_INTEGER
        expected = f"a whole number from 0 to {MOST_INTEGER:,}"
    elif wanted is float:
        fits = type(value) in (int, float) and 0 <= value <= MOST_NUMBER
        expected = f"a number from 0 to {MOST_NUMBER:,}"
    else:
        fits = type(value) is str and value != ""
        expected = "the name of a file" if wanted is Path else "a text"
    if not fits:
        raise ServerError(f"Expected {where} to be {expected}. Received {value!r}.")
    checked: Value = wanted(value)
    return checked


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """What `X | None` may be, X first."""
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)
