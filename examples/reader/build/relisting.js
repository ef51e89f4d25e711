// SPDX-License-Identifier: Apache-2.0
/** Another codebook for a state: every image moves to its list (docs/formats.md, "Manifest"). */
import { createHash } from "node:crypto";
import { readCodebook } from "./codebook.js";
import { Refused, require } from "./errors.js";
import { copied } from "./state.js";
/**
 * The state with the codebook of these canonical bytes, `relist` placing every image. `before` stays
 * as it is. An image that `relist` does not place is in list 0 until the delta deletes it.
 */
export function relisted(before, relist, codebook) {
    const { header } = relist;
    const codebookSha256 = createHash("sha256").update(codebook).digest();
    const named = [
        [header.catalogue, before.identity.catalogue],
        [hex(header.generation), hex(before.identity.generation)],
        [hex(header.codebookSha256), hex(codebookSha256)],
        [header.dim, before.dim],
        [header.base, 0n],
    ];
    for (const [found, expected] of named) {
        require(found === expected, `The lists are of ${String(found)}, not ${String(expected)}.`);
    }
    const others = [
        relist.deletedProducts,
        relist.deletedImages,
        relist.products,
        relist.images,
        relist.offers,
    ];
    require(others.every((some) => some.length === 0), "The lists come with something else.");
    const lists = readCodebook(codebook).centroids.length;
    let last = 0;
    for (const [key, list] of relist.placements) {
        require(last < key, `Image ${key} is listed after image ${last}.`);
        if (list >= lists)
            throw new Refused(`Image ${key} is in list ${list} of ${lists}.`);
        last = key;
    }
    const elsewhere = new Map(relist.placements);
    const state = copied(before);
    state.identity = { ...before.identity, codebookSha256 };
    state.lists = lists;
    for (const key of state.images.keys()) {
        state.placements.set(key, elsewhere.get(key) ?? 0);
        elsewhere.delete(key);
    }
    return { state, elsewhere };
}
function hex(some) {
    return Buffer.from(some).toString("hex");
}
