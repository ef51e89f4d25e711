// SPDX-License-Identifier: Apache-2.0
/** What can be wrong, and checks that say so. */
/** The bytes are not what the specification allows, or do not lead to the state they should. */
export class Refused extends Error {
    name = "Refused";
}
/** The bytes are of a format that came after this reader. */
export class UpdateRequired extends Error {
    name = "UpdateRequired";
}
/** A golden file has no case of that name. */
export class UnknownCase extends Error {
    name = "UnknownCase";
}
/** Refuses, with `reason`, what does not hold. */
export function require(holds, reason) {
    if (!holds)
        throw new Refused(reason);
}
/** Refuses a format above the only one there is. */
export function requireFormat(what, format) {
    if (format > 1) {
        throw new UpdateRequired(`Expected format 1 of the ${what}. Received ${format}. Update the reader.`);
    }
    require(format === 1, `Expected format 1 of the ${what}. Received ${format}.`);
}
/** Refuses a time, in microseconds since 1970, that is not in the years 1 to 9999. */
export function requireTime(microseconds) {
    require(FIRST_TIME <= microseconds && microseconds <= LAST_TIME, `There is no time ${microseconds}.`);
}
/** Refuses what cannot be the name of a catalogue. */
export function requireName(name) {
    require(/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name), `No catalogue is called ${JSON.stringify(name)}.`);
}
const FIRST_TIME = -62135596800000000n;
const LAST_TIME = 253402300800000000n - 1n;
