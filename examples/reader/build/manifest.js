// SPDX-License-Identifier: Apache-2.0
/** What was signed of a generation's newest version (docs/formats.md, "Manifest"). */
import { require, requireFormat, requireName, requireTime } from "./errors.js";
import { Message } from "./protobuf.js";
const HASH_BYTES = 32;
const MANIFEST_BYTES = 256 * 1024;
const PIECE_BYTES = 2n ** 20n;
const BLOB_BYTES = 2n ** 40n;
const MAX_VERSION = 2n ** 63n - 1n;
const MAX_DELTAS = 64;
const MAX_LISTS = 65536n;
const WHOLE_ROLLOUT = 65_536;
export function readManifest(bytes) {
    require(bytes.length <= MANIFEST_BYTES, `A manifest has ${bytes.length} bytes.`);
    const message = new Message(bytes);
    requireFormat("manifest", message.uint32(1));
    for (const field of [5, 6, 19])
        requireTime(message.int64(field));
    const share = message.double(16);
    require(0 <= share && share <= 1, `The share of saturated components is ${share}.`);
    require(message.uint32(20) <= WHOLE_ROLLOUT, `The rollout is ${message.uint32(20)}.`);
    const read = {
        catalogue: message.text(2),
        generation: hash(message, 3),
        version: message.uint64(4),
        stateHash: hash(message, 7),
        images: message.uint64(8),
        products: message.uint64(9),
        scale: scale(message),
        bundle: blob(message.message(12)),
        codebook: blob(message.message(13)),
        probes: message.uint32(14),
        snapshot: changes(message.message(17)),
        deltas: message.messages(18).map(changes),
    };
    requireName(read.catalogue);
    const { version, probes, snapshot } = read;
    require(1n <= version && version <= MAX_VERSION, `The version is ${version}.`);
    require(1 <= probes && probes <= Number(MAX_LISTS), `A search cannot score ${probes} lists.`);
    require(snapshot.base === 0n && snapshot.head <= version, "The snapshot is no snapshot.");
    requireDeltas(read.deltas, version);
    requireCodebook(read.codebook.size, BigInt(read.scale.length));
    return read;
}
function requireDeltas(deltas, version) {
    require(deltas.length <= MAX_DELTAS, `There are ${deltas.length} deltas.`);
    require(deltas.every(({ head }) => head === version), "A delta does not end at the version.");
    const bases = deltas.map(({ base }) => base);
    require(!bases.includes(0n), "A delta begins at 0.");
    require(bases.every((base, index) => index === 0 || base < bases[index - 1]), "Bases of deltas do not fall.");
}
function requireCodebook(size, dim) {
    const row = 2n * dim;
    const lists = (size - 8n) / row;
    require(size === 8n + lists * row && 1n <= lists && lists <= MAX_LISTS, `The codebook cannot have ${size} bytes.`);
}
function scale(message) {
    const dim = message.uint32(10);
    const bytes = message.bytes(11);
    require(2 <= dim && dim <= 4_096 && bytes.length === 4 * dim, `There is no scale of ${dim} numbers.`);
    const values = floats(bytes);
    require(values.every((value) => Number.isFinite(value) && value > 0), "The scale is not above 0.");
    return values;
}
function changes(message) {
    const read = {
        base: message.uint64(1),
        head: message.uint64(2),
        inflatedSize: message.uint64(3),
        blob: blob(message.message(4)),
    };
    require(read.base < read.head && read.head <= MAX_VERSION, "Changes lead to no later version.");
    require(1n <= read.inflatedSize && read.inflatedSize <= BLOB_BYTES, "A stream has no such length.");
    return read;
}
function blob(message) {
    const read = { sha256: hash(message, 1), size: message.uint64(2), pieces: message.bytes(3) };
    require(1n <= read.size && read.size <= BLOB_BYTES, `A file cannot have ${read.size} bytes.`);
    const count = (read.size + PIECE_BYTES - 1n) / PIECE_BYTES;
    const hashes = count === 1n ? 0n : count;
    require(BigInt(read.pieces.length) === hashes * BigInt(HASH_BYTES), "A file has not one hash a piece.");
    return read;
}
function hash(message, field) {
    const bytes = message.bytes(field);
    require(bytes.length === HASH_BYTES, `A hash has ${bytes.length} bytes.`);
    return bytes;
}
/** f32 values, little endian. */
export function floats(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
}
