"""A catalogue as backends change it, as plain dicts: what the tables of a server are compared with.

    model = BackendModel(broken={sha256})
    job = model.open()
    assert model.take(arrived) == (outcome.result, outcome.is_repeated)
    assert contents_of(folder) == model.contents()

It is told in the words of docs/ingest.md, without any code of ours but values.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from pocketlens.products import Product
from pocketlens_server.catalogue.batches import Arrived
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.catalogue.results import Result
from tests.making.backend_contents import Contents, Shown

AT_ONCE = 256  # pictures that are looked at between two moments in which images begin to hold


class Refusal(Exception):
    """An operation cannot be."""


@dataclass
class Job:
    """What came for one job."""

    is_feed: bool = False
    state: str = "open"
    counted: Counter[str] = field(default_factory=Counter)
    named: set[tuple[str, str]] = field(default_factory=set)


class BackendModel:
    """Changes as `Ingest` and `settling` make them."""

    def __init__(self, *, broken: Collection[bytes] = (), embeds_at_once: bool = False) -> None:
        """Begins empty.

        Args:
            broken: Pictures that are none.
            embeds_at_once: Whether no image ever waits: what is there once nothing waits any more.
        """
        self.products: dict[str, Product] = {}
        self.images: dict[str, Shown] = {}
        self.waiting: dict[str, tuple[int, Shown]] = {}
        self.dead: dict[str, tuple[int, Shown]] = {}
        self.requests: dict[str, tuple[bytes, Result]] = {}
        self.jobs: dict[int, Job] = {}
        self._broken, self._embeds_at_once = frozenset(broken), embeds_at_once
        self._embedded: set[bytes] = set()
        self._asked: dict[str, str] = {}  # requests of images that wait, or are dead
        self._whole: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, str], int] = {}  # fields of products; attributes with "@"

    def adopt(self, contents: Contents) -> None:
        """Begins with what a catalogue holds where there are no revisions, and nothing waits."""
        self.products, self.images = dict(contents.products), dict(contents.images)
        self._embedded = {shown.picture for shown in self.images.values()}
        for number, (state, counted) in contents.jobs.items():
            self.jobs[number] = Job(state=state, counted=Counter(counted))

    def open(self, *, is_feed: bool = False) -> int:
        """A new job."""
        number = len(self.jobs) + 1
        self.jobs[number] = Job(is_feed)
        return number

    def take(self, arrived: Arrived) -> tuple[Result | None, bool]:
        """One operation; the result, and whether the request was answered so before.

        No result where the job takes no more.
        """
        job = self.jobs[arrived.job]
        if job.state != "open" and not self._is_known(arrived):
            return None, False
        try:
            result, is_repeated = self._answered(job, arrived)
        except Refusal:
            result, is_repeated = Result.REFUSED, False
        if result is not Result.PICTURE_NEEDED:
            job.counted["received"] += 1
            counted = "repeated" if is_repeated else result.value
            job.counted[counted] += counted != "waiting"
            job.named |= _named(arrived) if job.state == "open" else set()
        self._end_embedded()
        return result, is_repeated

    def _is_known(self, arrived: Arrived) -> bool:
        """Whether this very request was answered."""
        request = arrived.request
        return request is not None and self.requests.get(request.id, (b"",))[0] == request.body

    def _answered(self, job: Job, arrived: Arrived) -> tuple[Result, bool]:
        request = arrived.request
        known = self.requests.get(request.id) if request else None
        if known and not self._is_known(arrived):  # another operation
            raise Refusal
        if known:
            return known[1], True
        result = self._taken(arrived)
        if request and result is not Result.PICTURE_NEEDED:
            self.requests[request.id] = request.body, result
        return result, False

    def settle(self) -> None:
        """Pictures that have waited longest are looked at."""
        pictures = list(dict.fromkeys(shown.picture for _, shown in self.waiting.values()))
        for picture in pictures[:AT_ONCE]:
            its = {id_: each for id_, each in self.waiting.items() if each[1].picture == picture}
            for number, (id_, (job, shown)) in enumerate(its.items()):
                del self.waiting[id_]
                counted = self.jobs[job].counted
                if picture in self._broken:
                    self.dead[id_] = job, shown
                    counted["dead"] += 1
                    continue
                counted["applied" if self.images.get(id_) != shown else "unchanged"] += 1
                counted["embedded" if number == 0 else "reused"] += 1
                self.images[id_] = shown
                self._embedded.add(picture)
        self._end_embedded()

    def close(self, number: int) -> None:
        job = self.jobs[number]
        if not job.is_feed and job.state == "open":
            job.state = "embedding"
        self._end_embedded()

    def cancel(self, number: int) -> bool:
        """False where it is done already."""
        job = self.jobs[number]
        if job.state == "done":
            return False
        for id_ in [id_ for id_, (its, _) in self.waiting.items() if its == number]:
            self._supersede(id_)
            self._forget_request(id_)
        job.state = "cancelled"
        return True

    def retry(self) -> int:
        """All dead letters wait again, but those of which no product is there; how many."""
        retried = 0
        for id_, (job, shown) in list(self.dead.items()):
            there = shown.products & self.products.keys()
            if there:
                del self.dead[id_]
                self.waiting[id_] = job, replace(shown, products=there)
                self.jobs[job].counted["dead"] -= 1
                if self.jobs[job].state == "done":
                    self.jobs[job].state = "embedding"
                retried += 1
        return retried

    def purge(self) -> int:
        purged = len(self.dead)
        for id_ in self.dead:
            self._forget_request(id_)
        self.dead.clear()
        return purged

    def replace(self, number: int, *, revision: int, lost_share: float) -> tuple[int, int] | None:
        """Products and images that vanish; None where that is too much."""
        job = self.jobs[number]
        there = {
            "product": list(self.products),
            "image": list(dict.fromkeys([*self.images, *self.waiting, *self.dead])),
        }
        gone = {
            kind: [id_ for id_ in ids if self._is_unnamed(job, kind, id_, revision)]
            for kind, ids in there.items()
        }
        for kind, ids in there.items():
            if len(gone[kind]) > lost_share * len(ids):
                return None
        for id_ in gone["image"]:
            self._delete_image(id_)
            self._remember("image", id_, revision)
        for id_ in gone["product"]:
            self._delete_product(id_)
            self._remember("product", id_, revision)
        job.state = "embedding"
        self._end_embedded()
        return len(gone["product"]), len(gone["image"])

    def contents(self) -> Contents:
        """What the tables hold, if they are right."""
        return Contents(
            dict(self.products),
            dict(self.images),
            dict(self.waiting),
            dict(self.dead),
            {id_: result.value for id_, (_, result) in self.requests.items()},
            {number: (job.state, self._counters(number)) for number, job in self.jobs.items()},
        )

    def _counters(self, number: int) -> dict[str, int]:
        waiting = sum(its == number for its, _ in self.waiting.values())
        counted = Counter(self.jobs[number].counted)
        counted["waiting"] = waiting
        return {name: value for name, value in counted.items() if value}

    def _taken(self, arrived: Arrived) -> Result:
        operation, revision = arrived.operation, arrived.revision
        kind, id_ = _item(arrived)
        if isinstance(operation, KeepImage):
            if id_ not in self.images.keys() | self.waiting.keys() | self.dead.keys():
                raise Refusal
            return Result.UNCHANGED
        whole = self._whole.get((kind, id_), 0)
        match operation:
            case PatchProduct() if id_ in self.products:
                return self._patch(operation, revision)
            case _ if revision and revision < whole:
                return Result.SKIPPED
            case PutProduct(product):
                has_changed = self._put(product, revision)
            case PatchProduct():
                raise Refusal
            case DeleteProduct():
                has_changed = self._delete_product(id_)
            case DeleteImage():
                has_changed = self._delete_image(id_)
            case PutImage():
                result = self._put_image(operation, arrived)
                if result is not Result.PICTURE_NEEDED:
                    self._remember(kind, id_, revision)
                return result
        self._remember(kind, id_, revision)
        return Result.APPLIED if has_changed else Result.UNCHANGED

    def _put(self, product: Product, revision: int) -> bool:
        old, id_ = self.products.get(product.id), product.id
        if old is not None and revision:
            attributes = {
                name: text
                for name, text in product.attributes.items()
                if self._newest(id_, f"@{name}") <= revision
            }
            for name, text in old.attributes.items():
                if self._newest(id_, f"@{name}") > revision:
                    attributes[name] = text
            product = replace(
                product,
                attributes=attributes,
                price=old.price if self._newest(id_, "price") > revision else product.price,
                stock=old.stock if self._newest(id_, "stock") > revision else product.stock,
            )
        self.products[id_] = product
        return old != product

    def _patch(self, patch: PatchProduct, revision: int) -> Result:
        id_, old = patch.product_id, self.products[patch.product_id]
        said: dict[str, object] = {"price": patch.price, "stock": patch.stock}
        said = {name: value for name, value in said.items() if value is not None}
        said |= {f"@{name}": text for name, text in patch.attributes.items()}
        new = {name: value for name, value in said.items() if self._is_newest(id_, name, revision)}
        if said and not new:
            return Result.SKIPPED
        if isinstance(patch.stock, int) and patch.stock < 0 and "stock" in new:
            raise Refusal
        attributes = dict(old.attributes)
        for name in new:
            if name.startswith("@"):
                text = patch.attributes[name[1:]]
                attributes.pop(name[1:], None)
                attributes |= {} if text is None else {name[1:]: text}
            if revision:
                self._told[id_, name] = revision
        self.products[id_] = replace(
            old,
            price=patch.price if "price" in new else old.price,
            stock=patch.stock if "stock" in new else old.stock,
            attributes=attributes,
        )
        return Result.UNCHANGED if self.products[id_] == old else Result.APPLIED

    def _newest(self, id_: str, name: str) -> int:
        """The revision of a field."""
        return max(self._told.get((id_, name), 0), self._whole.get(("product", id_), 0))

    def _is_newest(self, id_: str, name: str, revision: int) -> bool:
        return not revision or revision >= self._newest(id_, name)

    def _put_image(self, put: PutImage, arrived: Arrived) -> Result:
        products = frozenset(put.product_ids)
        if not products or not products <= self.products.keys():
            raise Refusal
        shown, id_ = Shown(put.image.url, put.picture_sha256, products), put.image.id
        kept = {its.picture for _, its in (*self.waiting.values(), *self.dead.values())}
        is_embedded = shown.picture in self._embedded
        if not (arrived.has_picture or is_embedded or shown.picture in kept):
            return Result.PICTURE_NEEDED
        self._supersede(id_)
        self.dead.pop(id_, None)
        if not is_embedded and not self._embeds_at_once:
            self.waiting[id_] = arrived.job, shown
            self._asked[id_] = arrived.request_id
            return Result.WAITING
        has_changed = self.images.get(id_) != shown
        self.images[id_] = shown
        self._embedded.add(shown.picture)
        self.jobs[arrived.job].counted["reused"] += has_changed
        return Result.APPLIED if has_changed else Result.UNCHANGED

    def _delete_product(self, id_: str) -> bool:
        if self.products.pop(id_, None) is None:
            return False
        for name, (job, shown) in list(self.waiting.items()):
            if shown.products == {id_}:
                self._supersede(name)
                self.images.pop(name, None)
            elif id_ in shown.products:
                self.waiting[name] = job, replace(shown, products=shown.products - {id_})
        for name, shown in list(self.images.items()):
            if shown.products == {id_}:
                del self.images[name]
            elif id_ in shown.products:
                self.images[name] = replace(shown, products=shown.products - {id_})
        return True

    def _delete_image(self, id_: str) -> bool:
        self._supersede(id_)
        self.dead.pop(id_, None)
        return self.images.pop(id_, None) is not None

    def _supersede(self, image: str) -> None:
        if image in self.waiting:
            job, _ = self.waiting.pop(image)
            self.jobs[job].counted["skipped"] += 1

    def _forget_request(self, image: str) -> None:
        """What asked for an image that never will hold may come again."""
        self.requests.pop(self._asked[image], None)

    def _remember(self, kind: str, id_: str, revision: int) -> None:
        """The revision of a put, or of a delete, after which nothing of before is newer."""
        if not revision:
            return
        self._whole[kind, id_] = revision
        is_there = kind == "image" or id_ in self.products
        for key, told in list(self._told.items()):
            if kind == "product" and key[0] == id_ and (not is_there or told <= revision):
                del self._told[key]

    def _is_unnamed(self, job: Job, kind: str, id_: str, revision: int) -> bool:
        is_newer = revision and self._whole.get((kind, id_), 0) > revision
        return (kind, id_) not in job.named and not is_newer

    def _end_embedded(self) -> None:
        for number, job in self.jobs.items():
            if job.state == "embedding" and all(its != number for its, _ in self.waiting.values()):
                job.state = "done"


def _item(arrived: Arrived) -> tuple[str, str]:
    match arrived.operation:
        case PutProduct(product):
            return "product", product.id
        case PatchProduct(product_id=id_) | DeleteProduct(id_):
            return "product", id_
        case PutImage(image):
            return "image", image.id
        case DeleteImage(id_) | KeepImage(id_):
            return "image", id_


def _named(arrived: Arrived) -> set[tuple[str, str]]:
    operation = arrived.operation
    if isinstance(operation, DeleteImage | DeleteProduct):
        return set()
    shown = operation.product_ids if isinstance(operation, PutImage) else ()
    return {_item(arrived), *(("product", each) for each in shown)}
