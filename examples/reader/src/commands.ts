// SPDX-License-Identifier: Apache-2.0
/** Answers to the cases of golden files (tests/conformance/CLIENT.md). */

import { applied } from "./applying.ts";
import { readCodebook } from "./codebook.ts";
import { readDelta } from "./delta.ts";
import { Refused, UnknownCase, UpdateRequired } from "./errors.ts";
import type { Filter } from "./filtering.ts";
import type { Match } from "./matching.ts";
import { search } from "./matching.ts";
import { floats, readManifest } from "./manifest.ts";
import { relisted } from "./relisting.ts";
import type { State } from "./state.ts";
import { emptyState, stateHash } from "./state.ts";
import type { Calibration } from "./verdict.ts";
import { judge } from "./verdict.ts";

type Store = {
  catalogue: string;
  generation: string;
  codebook_sha256: string;
  dim: number;
  lists: number;
};

type Stream = { inflated_size: number; state_hash: string; bytes: string };

type Deltas = {
  store: Store;
  streams: Record<string, Stream>;
  cases: Record<string, { streams: string[] }>;
};

type Relists = Deltas & {
  codebooks: Record<string, string>;
  relists: Record<string, { inflated_size: number; bytes: string }>;
  cases: Record<string, { codebook: string; relist: string; delta: string }>;
};

type Matches = {
  store: Store;
  snapshot: Stream;
  codebook: string;
  scale: string;
  duplicate_cosine: number;
  calibration: Calibration;
  cases: Record<
    string,
    { query: string; k: number; probes: number; filter: Filter | null; calibrated: boolean }
  >;
};

type Manifests = { cases: Record<string, { bytes: string }> };

/** What a golden file asks, by the name of the command that answers. */
export const COMMANDS: Record<string, (golden: unknown, name: string) => object> = {
  apply: (golden, name) => applyCase(golden as Deltas, name),
  relist: (golden, name) => relistCase(golden as Relists, name),
  search: (golden, name) => searchCase(golden as Matches, name),
  manifest: (golden, name) => manifestCase(golden as Manifests, name),
};

/** The answer to each case of a golden file, by its name; where there is none, why. */
export function allCases(command: string, golden: unknown): object {
  const { cases } = golden as { cases: object };
  return Object.fromEntries(Object.keys(cases).map((name) => [name, answer(command, golden, name)]));
}

function answer(command: string, golden: unknown, name: string): object {
  try {
    return named(COMMANDS, command)(golden, name);
  } catch (error) {
    if (error instanceof Refused) return { refused: "refused" };
    if (error instanceof UpdateRequired) return { refused: "newer" };
    throw error;
  }
}

/** The state that the streams of a case lead to, one after the other, from an empty store. */
function applyCase(golden: Deltas, name: string): object {
  return told(afterStreams(golden, name));
}

/** The state that streams, another codebook and a delta lead to. */
function relistCase(golden: Relists, name: string): object {
  const asked = named(golden.cases, name);
  const stream = named(golden.relists, asked.relist);
  const relist = readDelta(bytes(stream.bytes), stream.inflated_size);
  const codebook = bytes(named(golden.codebooks, asked.codebook));
  const { state, elsewhere } = relisted(afterStreams(golden, name), relist, codebook);
  return told(advanced(state, named(golden.streams, asked.delta), elsewhere));
}

function afterStreams(golden: Deltas, name: string): State {
  let state = opened(golden.store);
  for (const stream of named(golden.cases, name).streams) {
    state = advanced(state, named(golden.streams, stream));
  }
  return state;
}

function told(state: State): object {
  const lists: number[][] = Array.from({ length: state.lists }, () => []);
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
function searchCase(golden: Matches, name: string): object {
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
function manifestCase(golden: Manifests, name: string): object {
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

function opened(store: Store): State {
  const identity = {
    catalogue: store.catalogue,
    generation: bytes(store.generation),
    codebookSha256: bytes(store.codebook_sha256),
  };
  return emptyState(identity, store.dim, store.lists);
}

function advanced(state: State, stream: Stream, elsewhere?: Map<number, number>): State {
  const delta = readDelta(bytes(stream.bytes), stream.inflated_size);
  return applied(state, delta, bytes(stream.state_hash), elsewhere);
}

function described(match: Match): object {
  return {
    product: match.productKey,
    alternatives: match.alternatives,
    image: match.imageKey,
    similarity: match.similarity,
  };
}

function named<Value>(cases: Record<string, Value>, name: string): Value {
  const found = cases[name];
  if (found === undefined) {
    throw new UnknownCase(`Expected one of ${Object.keys(cases).join(", ")}. Received ${name}.`);
  }
  return found;
}

function bytes(text: string): Buffer {
  return Buffer.from(text, "hex");
}

function hex(some: Uint8Array): string {
  return Buffer.from(some).toString("hex");
}
