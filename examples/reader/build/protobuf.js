// SPDX-License-Identifier: Apache-2.0
/** Protocol Buffers' wire format, as much of it as the messages of PocketLens need. */
import { Refused, require } from "./errors.js";
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const NOTHING = new Uint8Array(0);
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** UTF-8 as text; refused where it is not UTF-8. */
export function utf8(bytes) {
    try {
        return UTF8.decode(bytes);
    }
    catch {
        throw new Refused("A text is not UTF-8.");
    }
}
/** A message: its fields by number. A field that is absent has its default. */
export class Message {
    #fields = new Map();
    constructor(bytes) {
        const cursor = new Cursor(bytes);
        while (!cursor.ended) {
            const tag = cursor.varint();
            const number = Number(tag >> 3n);
            require(number > 0, "A protobuf message has a field 0.");
            const values = this.#fields.get(number) ?? [];
            values.push(cursor.value(Number(tag & 7n)));
            this.#fields.set(number, values);
        }
    }
    uint32(field) {
        return Number(BigInt.asUintN(32, this.#integer(field)));
    }
    uint64(field) {
        return BigInt.asUintN(64, this.#integer(field));
    }
    int64(field) {
        return BigInt.asIntN(64, this.#integer(field));
    }
    bool(field) {
        return this.#integer(field) !== 0n;
    }
    double(field) {
        const bits = this.#last(field, FIXED64)?.integer ?? 0n;
        return new Float64Array(new BigUint64Array([bits]).buffer)[0] ?? 0;
    }
    bytes(field) {
        return this.#last(field, LENGTH_DELIMITED)?.bytes ?? NOTHING;
    }
    text(field) {
        return utf8(this.bytes(field));
    }
    /** A message within this one. One that comes in several pieces is all of them together. */
    message(field) {
        return new Message(Buffer.concat(this.#all(field, LENGTH_DELIMITED).map((value) => value.bytes)));
    }
    messages(field) {
        return this.#all(field, LENGTH_DELIMITED).map((value) => new Message(value.bytes));
    }
    has(field) {
        return this.#fields.has(field);
    }
    texts(field) {
        return this.#all(field, LENGTH_DELIMITED).map((value) => utf8(value.bytes));
    }
    uint32s(field) {
        return this.#integers(field).map((value) => Number(BigInt.asUintN(32, value)));
    }
    /** sint64: 0, -1, 1, -2, ... are written 0, 1, 2, 3, ... */
    sint64s(field) {
        return this.#integers(field).map((value) => BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n)));
    }
    #all(field, wire) {
        return (this.#fields.get(field) ?? []).filter((value) => value.wire === wire);
    }
    #last(field, wire) {
        return this.#all(field, wire).at(-1);
    }
    #integer(field) {
        return this.#last(field, VARINT)?.integer ?? 0n;
    }
    /** Integers of a repeated field, whether they stand one by one or packed. */
    #integers(field) {
        return (this.#fields.get(field) ?? []).flatMap((value) => {
            if (value.wire === VARINT)
                return [value.integer];
            return value.wire === LENGTH_DELIMITED ? unpacked(value.bytes) : [];
        });
    }
}
function unpacked(bytes) {
    const cursor = new Cursor(bytes);
    const integers = [];
    while (!cursor.ended)
        integers.push(cursor.varint());
    return integers;
}
class Cursor {
    #bytes;
    #at = 0;
    constructor(bytes) {
        this.#bytes = bytes;
    }
    get ended() {
        return this.#at === this.#bytes.length;
    }
    value(wire) {
        switch (wire) {
            case VARINT:
                return { wire, integer: this.varint(), bytes: NOTHING };
            case FIXED64:
                return { wire, integer: littleEndian(this.#take(8)), bytes: NOTHING };
            case FIXED32:
                return { wire, integer: littleEndian(this.#take(4)), bytes: NOTHING };
            case LENGTH_DELIMITED:
                return { wire, integer: 0n, bytes: this.#take(Number(this.varint())) };
            default:
                throw new Refused(`A protobuf message has wire type ${wire}.`);
        }
    }
    varint() {
        let value = 0n;
        for (let shift = 0n; shift < 70n; shift += 7n) {
            const byte = this.#take(1)[0] ?? 0;
            value |= BigInt(byte & 0x7f) << shift;
            if (byte < 0x80)
                return BigInt.asUintN(64, value);
        }
        throw new Refused("A protobuf integer has more than 10 bytes.");
    }
    #take(length) {
        const end = this.#at + length;
        require(end <= this.#bytes.length, "A protobuf message ends too early.");
        const taken = this.#bytes.subarray(this.#at, end);
        this.#at = end;
        return taken;
    }
}
/** An unsigned integer of any width, little endian. */
export function littleEndian(bytes) {
    let value = 0n;
    for (let index = bytes.length - 1; index >= 0; index -= 1) {
        value = (value << 8n) | BigInt(bytes[index] ?? 0);
    }
    return value;
}
