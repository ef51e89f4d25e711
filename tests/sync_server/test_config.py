"""How a server is set: which of several values counts, and what cannot be set."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pocketlens.errors import ServerError
from pocketlens_server import config
from pocketlens_server.config import Listen, ServerConfig, Source, Tls, Value
from pocketlens_server.limits import Limits
from pocketlens_server.logs import LogSettings


def written(folder: Path, text: str) -> Path:
    (folder / "server.toml").write_text(text)
    return folder


def test_without_a_file_everything_is_as_the_code_has_it(tmp_path: Path) -> None:
    found = config.read(tmp_path, {"PATH": "/bin"})

    assert found.config == ServerConfig(Listen(), Tls(), Limits(), LogSettings())
    assert {each.source for each in found.settings} == {Source.DEFAULT}


def test_every_field_of_every_section_is_a_setting_in_order(tmp_path: Path) -> None:
    found = config.read(tmp_path, {})

    defaults = ServerConfig()
    assert [(each.section, each.name, each.value) for each in found.settings] == [
        (section.name, each.name, getattr(getattr(defaults, section.name), each.name))
        for section in fields(ServerConfig)
        for each in fields(getattr(defaults, section.name))
    ]


def test_options_count_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    written(tmp_path, "[listen]\nhost = 'file'\nport = 1\nhttp_port = 2\nmetrics_port = 3\n")
    environment = {
        "POCKETLENS_SERVER_LISTEN_PORT": "10",
        "POCKETLENS_SERVER_LISTEN_HTTP_PORT": "20",
        "POCKETLENS_SERVER_LISTEN_METRICS_PORT": "",
    }
    options: dict[tuple[str, str], Value] = {
        ("listen", "http_port"): 200,
        ("listen", "host"): None,
    }

    found = config.read(tmp_path, environment, options)

    assert found.config.listen == Listen("file", 10, 200, None)
    assert [(each.name, each.source) for each in found.settings[:4]] == [
        ("host", Source.FILE),
        ("port", Source.ENVIRONMENT),
        ("http_port", Source.OPTION),
        ("metrics_port", Source.ENVIRONMENT),
    ]


def test_each_kind_of_value_is_read_from_file_and_environment_alike(tmp_path: Path) -> None:
    written(
        tmp_path,
        "[limits]\ncalls = 7\nclient_rate = 2.5\nunary_seconds = 9\ndeadlines_required = false\n"
        "[logs]\nformat = 'text'\n[listen]\nhost = '::1'\nhttp_port = 0\n",
    )
    environment = {
        "POCKETLENS_SERVER_LIMITS_CALLS": "7",
        "POCKETLENS_SERVER_LIMITS_CLIENT_RATE": "2.5",
        "POCKETLENS_SERVER_LIMITS_UNARY_SECONDS": "9",
        "POCKETLENS_SERVER_LIMITS_DEADLINES_REQUIRED": "false",
        "POCKETLENS_SERVER_LOGS_FORMAT": "text",
        "POCKETLENS_SERVER_LISTEN_HOST": "::1",
        "POCKETLENS_SERVER_LISTEN_HTTP_PORT": "0",
    }

    found = config.read(tmp_path, {}).config

    assert found == ServerConfig(
        Listen("::1", http_port=0),
        limits=Limits(calls=7, client_rate=2.5, unary_seconds=9, deadlines_required=False),
        logs=LogSettings("text"),
    )
    assert config.read(tmp_path / "nothing", environment).config == found


def test_a_file_beside_the_settings_is_found_from_everywhere(tmp_path: Path) -> None:
    written(tmp_path, "[tls]\ncertificate = 'tls/a.pem'\nkey = '/etc/a.key'\n")
    environment = {"POCKETLENS_SERVER_TLS_CLIENT_CA": "ca.pem"}

    found = config.read(tmp_path, environment).config.tls

    assert found == Tls(tmp_path / "tls/a.pem", Path("/etc/a.key"), Path("ca.pem"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "port = 1",
            r"sections of \[listen\], \[tls\], \[limits\], \[logs\], \[query\] in .*server.toml",
        ),
        ("listen = 1", "Received 'listen'"),
        ("[listenn]", "Received 'listenn'"),
        ("[listen]\nprot = 1", "Expected one of host, port, .*Received 'prot'"),
        ("[listen]\nport = '1'", "listen.port in .*server.toml to be a whole number"),
        ("[listen]\nport = 1.0", "whole number"),
        ("[listen]\nport = true", "whole number"),
        ("[listen]\nport = -1", "whole number"),
        ("[listen]\nport = 65536", r"\[listen\]: Expected a port from 0 to 65,535"),
        ("[listen]\nhttp_port = 65536", "Expected a port"),
        ("[listen]\nhost = ''", "listen.host in .* to be a text"),
        ("[listen]\nhost = 1", "to be a text"),
        ("[tls]\nkey = ''", "to be the name of a file"),
        ("[tls]\nkey = 'a.key'", r"\[tls\]: Expected certificate and key together"),
        ("[tls]\nclient_ca = 'a.pem'", "certificate and key with client_ca"),
        ("[limits]\ncalls = 2147483648", "whole number from 0 to 2,147,483,647"),
        ("[limits]\ncalls = 0", r"\[limits\]: Expected calls above 0"),
        ("[limits]\nunary_seconds = nan", "a number from 0 to 1,000,000"),
        ("[limits]\nunary_seconds = inf", "a number"),
        ("[limits]\nunary_seconds = 1e7", "a number"),
        ("[limits]\nunary_seconds = true", "a number"),
        ("[limits]\ndeadlines_required = 1", "true or false"),
        ("[logs]\nformat = 'xml'", "json or text"),
        ("[logs]\nlevel = ['INFO']", "DEBUG or INFO"),
        ("[listen", "cannot be read"),
    ],
)
def test_what_cannot_be_set_in_the_file_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=told):
        config.read(written(tmp_path, text), {})


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("LISTEN_PROT", "1", "Received POCKETLENS_SERVER_LISTEN_PROT"),
        ("LISTEN_PORT", "x", "POCKETLENS_SERVER_LISTEN_PORT to be a whole number"),
        ("LISTEN_PORT", "", "whole number"),
        ("LISTEN_PORT", "1.5", "whole number"),
        ("LISTEN_HOST", "", "a text"),
        ("LIMITS_UNARY_SECONDS", "nan", "a number"),
        ("LIMITS_DEADLINES_REQUIRED", "no", "true or false"),
        ("LOGS_LEVEL", "info", "INFO"),
    ],
)
def test_what_cannot_be_set_in_the_environment_is_told(
    name: str, text: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ServerError, match=told):
        config.read(tmp_path, {f"POCKETLENS_SERVER_{name}": text})


def test_variables_that_kubernetes_makes_for_a_service_of_that_name_are_none_of_ours(
    tmp_path: Path,
) -> None:
    environment = {
        "POCKETLENS_SERVER_SERVICE_HOST": "10.0.0.1",
        "POCKETLENS_SERVER_SERVICE_PORT": "8443",
        "POCKETLENS_SERVER_PORT": "tcp://10.0.0.1:8443",
        "POCKETLENS_SERVER_PORT_8443_TCP_ADDR": "10.0.0.1",
    }

    assert config.read(tmp_path, environment).config == ServerConfig()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "server.toml").mkdir()
    with pytest.raises(ServerError, match="cannot be read"):
        config.read(tmp_path, {})
    (tmp_path / "server.toml").rmdir()
    (tmp_path / "server.toml").write_bytes(b"\xff")
    with pytest.raises(ServerError, match="cannot be read"):
        config.read(tmp_path, {})
