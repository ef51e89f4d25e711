"""`pocketlens-server config`, as an operator types it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pocketlens_server.cli import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "server.json").write_text(json.dumps({"format": 1, "offline_keys": "/nowhere"}))
    for name in ("main", "outlet"):
        (tmp_path / "catalogues" / name).mkdir(parents=True)
    (tmp_path / "catalogues" / "outlet" / "settings.toml").write_text(
        "[gates]\nlost_share = 0.5\n[publishing]\nafter_operations = 500\n"
    )
    (tmp_path / "server.toml").write_text(
        "[tls]\ncertificate = 'a.pem'\nkey = 'a.key'\n[limits]\ndeadlines_required = false\n"
    )
    return tmp_path


def test_each_value_is_shown_with_where_it_came_from(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POCKETLENS_SERVER_LISTEN_PORT", "9443")

    assert main(["config", "show", "--data", str(data)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert main(["config", "show", "--data", str(data), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)

    assert lines[0] == ["setting", "value", "from"]
    for line in (
        ["listen.port", "9443", "environment"],
        ["listen.http_port", "none", "default"],
        ["tls.key", str(data / "a.key"), "file"],
        ["limits.deadlines_required", "false", "file"],
        ["main/gates.lost_share", "0.2", "default"],
        ["outlet/gates.lost_share", "0.5", "file"],
        ["outlet/publishing.after_operations", "500", "file"],
        ["outlet/keeping.versions", "1000", "default"],
    ):
        assert line in lines
    assert len(shown) == len(lines) - 1
    by_name = {
        f"{each['section']}.{each['name']}": each for each in shown if each["catalogue"] is None
    }
    assert by_name["listen.port"]["value"] == 9443
    assert by_name["listen.http_port"]["value"] is None
    assert by_name["tls.key"] == {
        "catalogue": None,
        "section": "tls",
        "name": "key",
        "value": str(data / "a.key"),
        "source": "file",
    }
    assert {
        "catalogue": "outlet",
        "section": "gates",
        "name": "lost_share",
        "value": 0.5,
        "source": "file",
    } in shown


def test_a_setting_that_is_none_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "server.toml").write_text("[listen]\nprot = 1\n")

    assert main(["config", "show", "--data", str(data)]) == 1
    assert "Received 'prot'" in capsys.readouterr().err
    assert main(["serve", "--data", str(data)]) == 1
    assert "Received 'prot'" in capsys.readouterr().err
    assert main(["config", "show", "--data", str(data / "nowhere")]) == 1


@pytest.mark.parametrize(
    "text", ["[gatse]", "[gates]\nlost_shrae = 0.5", "[gates]\nlost_share = 5"]
)
def test_a_setting_of_a_catalogue_that_is_none_stops_a_server_before_it_serves(
    text: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = data / "catalogues" / "outlet" / "settings.toml"
    place.write_text(text)
    (data / "server.toml").unlink()

    for command in (["config", "show"], ["serve", "--insecure", "--port", "0"]):
        assert main([*command, "--data", str(data)]) == 1
        assert str(place) in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--help"]) == 0
    assert "  pocketlens-server config show --data shop-server" in capsys.readouterr().out
