"""What an operator may set of a catalogue: DIR/catalogues/NAME/settings.toml, if it is there.

    [gates]
    lost_share = 0.3
    canary_share = 0.2

Every setting has a default with its reason; a name that is none is refused, so that a misspelt one
does not leave a gate open. They are a catalogue's own, and read again each time that they count:
what is changed holds at once, for commands as for a server that runs.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from pocketlens.errors import ServerError
from pocketlens_server import config
from pocketlens_server.config import Setting, Source
from pocketlens_server.publishing.automatic import AutoPublish
from pocketlens_server.publishing.gate_limits import GateLimits
from pocketlens_server.publishing.keeping import Keeping
from pocketlens_server.publishing.picture_settings import Pictures

FILE_NAME = "settings.toml"
MOST = 1_000_000

Section = TypeVar("Section")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them.

    Attributes:
        gates: From where on a version is held.
        keeping: What stays, and how long.
        publishing: When the server publishes by itself.
        pictures: What devices get of pictures.
    """

    gates: GateLimits = field(default_factory=GateLimits)
    keeping: Keeping = field(default_factory=Keeping)
    publishing: AutoPublish = field(default_factory=AutoPublish)
    pictures: Pictures = field(default_factory=Pictures)


def read(folder: Path) -> Settings:
    """The settings of a catalogue; all defaults where there is no file.

    Args:
        folder: Of the catalogue.

    Raises:
        ServerError: The file is damaged, or sets what cannot be set.
    """
    return _settings(config.document(folder / FILE_NAME), folder / FILE_NAME)


def listed(folder: Path) -> tuple[Setting, ...]:
    """Every setting of a catalogue that counts, with where it came from, in order; see `read`."""
    found = config.document(folder / FILE_NAME)
    settings = _settings(found, folder / FILE_NAME)
    return tuple(
        Setting(
            section.name,
            each.name,
            getattr(getattr(settings, section.name), each.name),
            Source.FILE if each.name in found.get(section.name, {}) else Source.DEFAULT,
        )
        for section in fields(settings)
        for each in fields(getattr(settings, section.name))
    )


def _settings(found: Mapping[str, Any], path: Path) -> Settings:
    defaults = Settings()
    sections = {each.name: getattr(defaults, each.name) for each in fields(defaults)}
    for name in found:
        if name not in sections:
            known = ", ".join(sections)
            raise ServerError(f"Expected one of {known} in {path}. Received [{name}].")
        if not isinstance(found[name], dict):
            raise ServerError(f"Expected a section [{name}] in {path}. Received {found[name]!r}.")
    return Settings(
        **{name: _section(default, found.get(name, {}), path) for name, default in sections.items()}
    )


def _section(default: Section, found: Mapping[str, Any], path: Path) -> Section:
    """A section with what the file sets of it."""
    known = {each.name: getattr(default, each.name) for each in fields(default)}  # type: ignore[arg-type]  # a dataclass
    for name, value in found.items():
        if name not in known:
            raise ServerError(f"Expected one of {', '.join(known)} in {path}. Received {name}.")
        wanted, most = type(known[name]), 1 if name.endswith("_share") else MOST
        if type(value) not in (wanted, int) or not 0 <= value <= most:
            raise ServerError(
                f"Expected {name} to be a number from 0 to {most:,}, {wanted.__name__}, in {path}. "
                f"Received {value!r}."
            )
        known[name] = wanted(value)
    return type(default)(**known)
