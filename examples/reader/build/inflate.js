// SPDX-License-Identifier: Apache-2.0
/** One zlib stream of messages, each behind its length (docs/formats.md, "Delta"). */
import { inflateSync } from "node:zlib";
import { Refused, require } from "./errors.js";
const MESSAGE_BYTES = 4 * 1024 * 1024;
/** The messages of a stream that is `inflatedSize` bytes long before compression, no more, no less. */
export function messagesOf(stream, inflatedSize) {
    const bytes = inflated(stream, inflatedSize);
    const messages = [];
    for (let at = 0; at < bytes.length;) {
        require(at + 4 <= bytes.length, `The stream ends within a length, at byte ${at}.`);
        const length = bytes.readUInt32LE(at);
        require(length <= MESSAGE_BYTES, `A message has ${length} bytes, more than ${MESSAGE_BYTES}.`);
        const end = at + 4 + length;
        require(end <= bytes.length, `The stream ends within a message, at byte ${at}.`);
        messages.push(bytes.subarray(at + 4, end));
        at = end;
    }
    return messages;
}
function inflated(stream, size) {
    let done;
    try {
        // One byte more than was signed, so that a longer stream is noticed and goes no further.
        done = inflateSync(stream, { maxOutputLength: size + 1, info: true });
    }
    catch (error) {
        throw new Refused(`The stream is no zlib stream of ${size} bytes: ${error.message}.`);
    }
    require(done.buffer.length === size, `Expected ${size} bytes inflated, not ${done.buffer.length}.`);
    require(done.engine.bytesWritten === stream.length, "Bytes follow the zlib stream.");
    return done.buffer;
}
