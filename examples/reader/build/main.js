#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The command line: a golden file in, one line of JSON out. */
import { readFileSync } from "node:fs";
import { COMMANDS, allCases } from "./commands.js";
import { Refused, UnknownCase, UpdateRequired } from "./errors.js";
const USAGE = `Usage: main COMMAND FILE [CASE]

  Reads what PocketLens publishes, as golden files hold it: one case, or all of them.

Commands:
  apply     Apply the streams of a case of deltas.json; print the state.
  relist    Give the store of a case of relists.json another codebook and a delta; print the state.
  search    Answer a query of matches.json; print matches and verdict.
  manifest  Read a manifest of manifests.json; print its fields.

Examples:
  node build/main.js apply ../../tests/conformance/vectors/deltas.json deletions_first
  node build/main.js search ../../tests/conformance/vectors/matches.json near_duplicates

Exit codes: 0; 1 what was read is refused; 2 usage; 3 it is of a newer format.
`;
const [REFUSED, WRONG_USAGE, TOO_NEW] = [1, 2, 3];
function main(given) {
    if (given.includes("--help")) {
        process.stdout.write(USAGE);
        return 0;
    }
    const [name = "", file, asked, ...others] = given;
    const command = COMMANDS[name];
    if (command === undefined || file === undefined || others.length > 0) {
        process.stderr.write(USAGE);
        return WRONG_USAGE;
    }
    let golden;
    try {
        golden = JSON.parse(readFileSync(file, "utf-8"));
    }
    catch (error) {
        process.stderr.write(`Expected a JSON file. Received ${file}: ${error.message}\n`);
        return WRONG_USAGE;
    }
    try {
        const found = asked === undefined ? allCases(name, golden) : command(golden, asked);
        process.stdout.write(`${JSON.stringify(found)}\n`);
        return 0;
    }
    catch (error) {
        const code = exitCode(error);
        process.stderr.write(`${error.message}\n`);
        return code;
    }
}
/** Of an error that this program foresees; others are bugs and go on. */
function exitCode(error) {
    if (error instanceof UpdateRequired)
        return TOO_NEW;
    if (error instanceof Refused)
        return REFUSED;
    if (error instanceof UnknownCase)
        return WRONG_USAGE;
    throw error;
}
process.exitCode = main(process.argv.slice(2));
