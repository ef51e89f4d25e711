// SPDX-License-Identifier: Apache-2.0
/** Answers to the cases of golden files (tests/conformance/CLIENT.md). */
import { applied } from "./applying.js";
import { readCodebook } from "./codebook.js";
import { readDelta } from "./delta.js";
import { Refused, UnknownCase, UpdateRequired } from "./errors.js";
import { search } from "./matching.js";
import { floats, readManifest } from "./manifest.js";
import { relisted } from "./relisting.js";
import { emptyState, stateHash } from "./state.js";
import { judge } from "./verdict.js";
/** What a golden file asks, by the name of the command that answers. */
export const COMMANDS = {
    apply: (golden, name) => applyCase(golden, name),
    relist: (golden, name) => relistCase(golden, name),
    search: (golden, name) => searchCase(golden, name),
    manifest: (golden, name) => manifestCase(golden, name),
};
/** The answer to each case of a golden file, by its name; where there is none, why. */
export function allCases(command, golden) {
    const { cases } = golden;
    return Object.fromEntries(Object.keys(cases).map((name) => [name, answer(command, golden, name)]));
}
function answer(command, golden, name) {
    try {
        return named(COMMANDS, command)(golden, name);
    }
    catch (error) {
        if (error instanceof Refused)
            return { refused: "refused" };
        if (error instanceof UpdateRequired)
            return { refused: "newer" };
        throw error;
    }
}
/** The state that the streams of a case lead to, one after the other, from an empty store. */
function applyCase(golden, name) {
    return told(afterStreams(golden, name));
}
/** The state that streams, another codebook and a delta lead to. */
function relistCase(golden, name) {
    const asked = named(golden.cases, name);
    const stream = named(golden.relists, asked.relist);
    const relist = readDelta(bytes(stream.bytes), stream.inflated_size);
    const codebook = bytes(named(golden.codebooks, asked.codebook));
    const { state, elsewhere } = relisted(afterStreams(golden, name), relist, codebook);
    return told(advanced(state, named(golden.streams, asked.delta), elsewhere));
}
function afterStreams(golden, name) {
    let state = opened(golden.store);
    for (const stream of named(golden.cases, name).streams) {
        state = advanced(state, named(golden.streams, stream));
    }
    return state;
}
function told(state) {
    const lists = Array.from({ length: state.lists }, () => []);
    for (const [key, list] of [...state.placements].sort(([one], [other]) => one - other)) {
        lists[list]?.push(key);
    }
    return {
        version: Number(state.version),
        images: state.images.size,
        products: state.products.size,
        lists,
        state_hash: stateHash(state).toString("hex"),
    };
}
/** Matches and verdict of a query. */
function searchCase(golden, name) {
    const asked = named(golden.cases, name);
    const state = advanced(opened(golden.store), golden.snapshot);
    const space = {
        codebook: readCodebook(bytes(golden.codebook)),
        scale: floats(bytes(golden.scale)),
        probes: asked.probes,
        duplicateCosine: golden.duplicate_cosine,
    };
    const found = search(state, space, floats(bytes(asked.query)), asked.k, asked.filter);
    const calibration = asked.calibrated ? golden.calibration : null;
    return {
        matches: found.matches.map(described),
        matches_in_filter: found.matchingProducts,
        ...judge(found.best, state.products.size, calibration),
    };
}
/** What a manifest says. */
function manifestCase(golden, name) {
    const read = readManifest(bytes(named(golden.cases, name).bytes));
    return {
        catalogue: read.catalogue,
        generation: hex(read.generation),
        version: Number(read.version),
        state_hash: hex(read.stateHash),
        images: Number(read.images),
        products: Number(read.products),
        scale: [...read.scale],
        bundle: hex(read.bundle.sha256),
        codebook: hex(read.codebook.sha256),
        probes: read.probes,
        snapshot: Number(read.snapshot.head),
        deltas: read.deltas.map(({ base }) => Number(base)),
    };
}
function opened(store) {
    const identity = {
        catalogue: store.catalogue,
        generation: bytes(store.generation),
        codebookSha256: bytes(store.codebook_sha256),
    };
    return emptyState(identity, store.dim, store.lists);
}
function advanced(state, stream, elsewhere) {
    const delta = readDelta(bytes(stream.bytes), stream.inflated_size);
    return applied(state, delta, bytes(stream.state_hash), elsewhere);
}
function described(match) {
    return {
        product: match.productKey,
        alternatives: match.alternatives,
        image: match.imageKey,
        similarity: match.similarity,
    };
}
function named(cases, name) {
    const found = cases[name];
    if (found === undefined) {
        throw new UnknownCase(`Expected one of ${Object.keys(cases).join(", ")}. Received ${name}.`);
    }
    return found;
}
function bytes(text) {
    return Buffer.from(text, "hex");
}
function hex(some) {
    return Buffer.from(some).toString("hex");
}
