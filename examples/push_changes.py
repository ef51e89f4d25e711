"""A backend's worker: changes out of a queue into a catalogue, each applied once, then a version.

    python examples/push_changes.py --draw runs/changes
    python examples/push_changes.py runs/changes/changes.jsonl --server 127.0.0.1:8443 \
        --token-file backend.token

The queue is a file here, a change a line. Its lines are as a real queue brings them: some come
twice, some late. `--draw` draws a small shop and writes such a file.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from typing import Any

from pocketlens.errors import Conflict, PocketLensError
from pocketlens.products import Image, Price, Product
from pocketlens.testing import ShopSize, make_sample_shop
from pocketlens_server.client import (
    CatalogueClient,
    Credentials,
    DeleteProduct,
    OperationStream,
    Outcome,
    PatchProduct,
    PutImage,
    PutProduct,
    Refusal,
    Result,
)


def main() -> None:
    """Draws changes, or pushes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("changes", type=Path, nargs="?", help="file of changes, a line each")
    parser.add_argument("--server", metavar="HOST:PORT", default="127.0.0.1:8443")
    parser.add_argument("--catalog", metavar="NAME", default="main")
    parser.add_argument("--token-file", metavar="FILE", type=Path)
    parser.add_argument("--ca", metavar="FILE", type=Path, help="whom to trust, PEM")
    parser.add_argument("--draw", metavar="FOLDER", type=Path, help="draw a shop and its changes")
    arguments = parser.parse_args()
    if arguments.draw:
        print(draw(arguments.draw))
        return
    if not arguments.changes:
        parser.error("expected a file of changes, or --draw")
    credentials = Credentials.read(ca=arguments.ca, token_file=arguments.token_file)
    try:
        with CatalogueClient(arguments.server, arguments.catalog, credentials=credentials) as shop:
            sys.exit(0 if push(shop, arguments.changes) else 1)
    except PocketLensError as exc:  # run it again: what was applied is not applied twice
        sys.exit(f"{exc}")


def push(shop: CatalogueClient, path: Path) -> bool:
    """Pushes all changes and publishes them; False if any of them does not hold."""
    counts: Counter[str] = Counter()
    with shop.stream() as stream:
        for line, outcome in answered(stream, path):
            # It is on the server's disk: a worker takes it off its queue here.
            counts["repeated" if outcome.is_repeated else outcome.result.value] += 1
            if outcome.refusal is Refusal.NOT_THERE_YET:  # it would go back into the queue
                print(f"{line['id']}: {outcome.reason} Then send it again.")
            elif outcome.result is Result.REFUSED:  # it would be put aside for a person
                print(f"{line['id']}: {outcome.reason}")
    print(", ".join(f"{count} {result}" for result, count in counts.items()))

    job = shop.wait(stream.job.number)  # until its pictures are embedded
    print(
        f"job {job.number} is {job.state.value}: {job.counters.embedded} pictures embedded, "
        f"{job.counters.reused} known"
    )
    dead = [each for each in shop.dead_letters() if each.job == job.number]
    for letter in dead:
        print(f"{letter.image.id} is a dead letter: {letter.reason}")

    print(f"version {publish(shop)} has all that was applied")
    return not dead and not counts["refused"]


def answered(stream: OperationStream, path: Path) -> Iterator[tuple[Mapping[str, Any], Outcome]]:
    """Sends changes, as many at once as the stream lets, and yields each with its outcome."""
    sent: deque[tuple[Mapping[str, Any], Future[Outcome]]] = deque()
    with path.open(encoding="utf-8") as file:
        for line in map(json.loads, file):
            sent.append((line, send(stream, line, path.parent)))
            while sent and sent[0][1].done():
                first, future = sent.popleft()
                yield first, future.result()
    for line, future in sent:
        yield line, future.result()


def send(stream: OperationStream, line: Mapping[str, Any], folder: Path) -> Future[Outcome]:
    """One change on its way; its id names it for ever, its revision says how new it is."""
    told = {"revision": line["revision"], "request_id": line["id"]}
    match line["change"]:
        case "put product":
            product = Product(
                line["product"],
                title=line["title"],
                category=line["category"],
                price=price(line),
                stock=line["stock"],
            )
            return stream.send(PutProduct(product), **told)
        case "patch product":
            patch = PatchProduct(line["product"], price=price(line), stock=line.get("stock"))
            return stream.send(patch, **told)
        case "delete product":
            return stream.send(DeleteProduct(line["product"]), **told)
        case "put image":
            put = PutImage(Image(line["image"]), b"", [line["product"]])
            return stream.send(put, picture=folder / line["file"], **told)
        case other:
            sys.exit(f"Expected a change that is known here. Received {other!r}.")


def price(line: Mapping[str, Any]) -> Price | None:
    """The price of a line, if it has one."""
    amount = line.get("price")
    return None if amount is None else Price.from_decimal(Decimal(amount), line["currency"])


def publish(shop: CatalogueClient) -> int:
    """The version that has everything that was applied; made here, or by who was faster."""
    while True:
        seen = shop.status()
        try:
            return shop.publish(parent=seen.version).version
        except Conflict:  # another version since, or this one, whose answer was lost: look again
            continue


def draw(folder: Path) -> Path:
    """Draws a shop of six products and the changes that make it."""
    shop = make_sample_shop(folder, seed=7, size=ShopSize(6, 0, 0, 0, 0, 0, 0, 0))
    with shop.catalog.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    changes: list[dict[str, object]] = []
    for row in {each["product_id"]: each for each in reversed(rows)}.values():
        changes.append(
            {
                "change": "put product",
                "product": row["product_id"],
                **{name: row[name] for name in ("title", "category", "price", "currency")},
                "stock": int(row["stock"]),
            }
        )
    for row in rows:
        image = {"image": row["image"], "product": row["product_id"], "file": row["image"]}
        changes.append({"change": "put image", **image})
    cheaper = {"change": "patch product", "product": rows[-1]["product_id"], "currency": "EUR"}
    changes += [cheaper | {"price": price} for price in ("9.99", "4.20")]
    lines = [{"id": f"change-{n}", "revision": n, **each} for n, each in enumerate(changes, 1)]
    lines.insert(3, lines[0])  # delivered twice
    lines[-2:] = reversed(lines[-2:])  # delivered late
    path = folder / "changes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
