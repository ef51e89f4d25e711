"""`keys`: who signs, until when, and how that is changed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import (
    MAIN,
    AsJson,
    Catalog,
    Data,
    OfflineKeys,
    opened,
)

if TYPE_CHECKING:
    from pocketlens_server.publishing.rekeying import Rekeyed
    from pocketlens_server.publishing.signing import Signed


class OfflineRole(StrEnum):
    """Whose keys are kept apart from the server."""

    ROOT = "root"
    TARGETS = "targets"
    MODELS = "models"


class Role(StrEnum):
    """Who signs."""

    ROOT = "root"
    TARGETS = "targets"
    MODELS = "models"
    PUBLISHING = "publishing"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"


OneRole = Annotated[Role, typer.Argument(metavar="ROLE", help="Whose keys.")]
_EXAMPLES = {
    "status": "  pocketlens-server keys status --data shop-server",
    "rotate": """\
  pocketlens-server keys rotate publishing snapshot timestamp --data shop-server
  pocketlens-server keys rotate root --key 4f1c22 --data shop-server \\
      --offline-keys /media/safe --offline-keys /media/second-safe""",
    "add": """\
  pocketlens-server keys add root --into /media/second-safe --data shop-server
  pocketlens-server keys add models --data shop-server \\
      --uri gcpkms:projects/shop/... --public-key models.pub.pem""",
    "revoke": "  pocketlens-server keys revoke root 4f1c22 --data shop-server",
    "threshold": "  pocketlens-server keys threshold root 2 --data shop-server",
    "renew": "  pocketlens-server keys renew --data shop-server --offline-keys /media/safe",
}


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    keys = typer.Typer(help="Keys and what they signed.", no_args_is_help=True)
    keys.callback()(_keys)
    commands: dict[str, Callable[..., None]] = {
        "status": _status,
        "rotate": _rotate,
        "add": _add,
        "revoke": _revoke,
        "threshold": _threshold,
        "renew": _renew,
    }
    for name, command in commands.items():
        keys.command(name, epilog=f"\b\nExample:\n{_EXAMPLES[name]}")(command)
    app.add_typer(keys, name="keys")


def _keys() -> None:
    """Keys and what they signed."""


def _status(*, data: Data, catalog: Catalog = MAIN, as_json: AsJson = False) -> None:
    """Say what is signed by which keys, and when it expires; exit with 1 if anything has.

    What expires soon is warned of: 60 days before where only offline keys can sign again, and where
    the server should have signed again already.
    """
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import signing

    now = datetime.now(UTC)
    found = signing.status(ServerFolder(data).catalogue(catalog).public)
    urgent = [each for each in found if each.expires - now < signing.warned_before(each.role)]
    expired = [each for each in urgent if each.expires <= now]
    if as_json:
        output.show_json(
            [_as_json(each, urgent=each in urgent, expired=each in expired) for each in found]
        )
    else:
        output.show_table(
            ["role", "version", "expires", "days", "must sign", "keys"],
            [
                [
                    each.role,
                    str(each.version),
                    f"{each.expires:%Y-%m-%d}",
                    str((each.expires - now).days),
                    f"{each.threshold} of {len(each.keyids)}",
                    " ".join(keyid[:12] for keyid in each.keyids),
                ]
                for each in found
            ],
        )
    for each in urgent:
        when = "has expired" if each in expired else f"expires in {(each.expires - now).days} days"
        output.say(f"warning: {each.role} {when}; sign it again: {_remedy(each.role)}")
    if expired:
        raise typer.Exit(1)


def _rotate(
    roles: Annotated[
        list[Role], typer.Argument(metavar="ROLE...", help="Whose keys; several in one step.")
    ],
    *,
    data: Data,
    catalog: Catalog = MAIN,
    offline_keys: OfflineKeys = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEYID", help="Only this key, by the beginning of its id."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let new keys take the place of those that sign for some roles.

    Root and targets keys sign it, so bring the offline keys. Devices follow by themselves. Of what
    was stolen, rotate all at once: publishing snapshot timestamp.
    """
    from pocketlens_server.publishing import rekeying

    if key is not None and len(roles) > 1:
        output.usage_error("--key", "one role with --key", " ".join(roles))
    folder, offline = opened(data, catalog, offline_keys)
    changed = rekeying.rotate(
        folder,
        [role.value for role in roles],
        offline=offline,
        now=datetime.now(UTC),
        keyid=key,
    )
    _show(changed, as_json=as_json)


def _add(
    role: OneRole,
    *,
    data: Data,
    catalog: Catalog = MAIN,
    offline_keys: OfflineKeys = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="Place for the new key, such as another safe."),
    ] = None,
    uri: Annotated[
        str | None,
        typer.Option("--uri", metavar="URI", help="A key in a KMS, as securesystemslib names it."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="FILE", help="Its public half, PEM.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let one more key sign for a role."""
    from pocketlens_server.publishing import rekeying

    if (uri is None) != (public_key is None):
        output.usage_error("--uri", "--uri and --public-key together", str(uri))
    if public_key is not None and not public_key.is_file():
        output.usage_error("--public-key", "a file", str(public_key))
    folder, offline = opened(data, catalog, offline_keys)
    added = rekeying.add(
        folder,
        role.value,
        offline=offline,
        now=datetime.now(UTC),
        into=into / catalog if into else None,
        held=(uri, public_key.read_bytes()) if uri and public_key else None,
    )
    _show([added], as_json=as_json)


def _revoke(
    role: OneRole,
    key: Annotated[str, typer.Argument(metavar="KEYID", help="The beginning of the key's id.")],
    *,
    data: Data,
    catalog: Catalog = MAIN,
    offline_keys: OfflineKeys = None,
    as_json: AsJson = False,
) -> None:
    """Let a key sign for a role no more."""
    from pocketlens_server.publishing import rekeying

    folder, offline = opened(data, catalog, offline_keys)
    now = datetime.now(UTC)
    _show([rekeying.revoke(folder, role.value, key, offline=offline, now=now)], as_json=as_json)


def _threshold(
    role: OneRole,
    count: Annotated[int, typer.Argument(metavar="N", help="From 1 to as many as there are keys.")],
    *,
    data: Data,
    catalog: Catalog = MAIN,
    offline_keys: OfflineKeys = None,
    as_json: AsJson = False,
) -> None:
    """Change how many of a role's keys must sign."""
    from pocketlens_server.publishing import rekeying

    folder, offline = opened(data, catalog, offline_keys)
    now = datetime.now(UTC)
    changed = rekeying.set_threshold(folder, role.value, count, offline=offline, now=now)
    _show([changed], as_json=as_json)


def _renew(
    roles: Annotated[
        list[OfflineRole] | None,
        typer.Argument(metavar="[ROLE...]", help="Of root, targets, models; all if left."),
    ] = None,
    *,
    data: Data,
    catalog: Catalog = MAIN,
    offline_keys: OfflineKeys = None,
    as_json: AsJson = False,
) -> None:
    """Sign what only offline keys can again, for another two years.

    Once a year is early enough; `keys status` warns before it is late.
    """
    from pocketlens_server.publishing import rekeying, signing

    folder, offline = opened(data, catalog, offline_keys)
    renewed = [role.value for role in roles or OfflineRole]
    rekeying.renew(folder, renewed, offline=offline, now=datetime.now(UTC))
    found = [each for each in signing.status(folder.public) if each.role in renewed]
    if as_json:
        output.show_json([_as_json(each, urgent=False, expired=False) for each in found])
        return
    for each in found:
        output.show(f"{each.role} version {each.version}, until {each.expires:%Y-%m-%d}")


def _show(changed: list[Rekeyed], *, as_json: bool) -> None:
    if as_json:
        output.show_json(
            [
                {
                    "role": each.role,
                    "keyids": list(each.keyids),
                    "threshold": each.threshold,
                    "added": list(each.added),
                    "retired": list(each.retired),
                    "left": [str(path) for path in each.left],
                }
                for each in changed
            ]
        )
        return
    for each in changed:
        signers = " ".join(keyid[:12] for keyid in each.keyids)
        output.show(f"{each.role}: {each.threshold} of {len(each.keyids)} must sign: {signers}")
        for path in each.left:
            output.show(f"  retired, to be destroyed: {path}")


def _remedy(role: str) -> str:
    from pocketlens_server.publishing.keys import OFFLINE

    return (
        f"pocketlens-server keys renew {role}" if role in OFFLINE else "pocketlens-server publish"
    )


def _as_json(signed: Signed, *, urgent: bool, expired: bool) -> dict[str, object]:
    return {
        "role": signed.role,
        "version": signed.version,
        "expires": signed.expires.isoformat(),
        "keyids": list(signed.keyids),
        "threshold": signed.threshold,
        "urgent": urgent,
        "expired": expired,
    }
