// Changes a catalogue from Node, with the .proto files alone: puts products with their pictures,
// patches a price, sends one request twice, publishes, and asks what a phone is told.
//
//   node push.js --server 127.0.0.1:8443 --token-file backend.token --device-token-file device.token \
//       --protos ../../protos [--catalog main] [--ca ca.pem] mug.png tea.jpg cup.webp
//
// What each message means is told in docs/ingest.md and in the .proto files themselves.
// SPDX-License-Identifier: Apache-2.0

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join, parse } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'
import protobuf from 'protobufjs'

const PART_BYTES = 256 * 1024 // of a picture; a message has 1 MiB at most
const text = { type: 'string' }
const { values: options, positionals: pictures } = parseArgs({
  allowPositionals: true,
  options: {
    server: text, protos: text, ca: text, catalog: { ...text, default: 'main' },
    'token-file': text, 'device-token-file': text,
  },
})

// Names stay as in the .proto files, and enums are words. Numbers of 64 bits become JavaScript's:
// those that are used here stay below 2^53. Larger revisions want `longs: String`.
const read = { keepCase: true, enums: String, longs: Number, defaults: true, oneofs: true }
const files = ['catalog_service', 'sync_service'].map((name) => `pocketlens_protos/v1/${name}.proto`)
const loaded = protoLoader.loadSync(files, { includeDirs: [options.protos], ...read })
const { CatalogService, SyncService } = grpc.loadPackageDefinition(loaded).pocketlens.v1

// Plain text on this machine only: elsewhere a token could be read on its way.
const isHere = /^(127\.0\.0\.1|localhost|\[::1\]):\d+$/.test(options.server)
const channel = options.ca || !isHere
  ? grpc.credentials.createSsl(options.ca ? readFileSync(options.ca) : null)
  : grpc.credentials.createInsecure()
const catalog = new CatalogService(options.server, channel)
const sync = new SyncService(options.server, channel)

/** What goes with a call: a token, and a deadline, without which a server refuses it. */
function shown(tokenFile, seconds) {
  const metadata = new grpc.Metadata()
  if (tokenFile) metadata.set('authorization', `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`)
  return [metadata, { deadline: Date.now() + seconds * 1000 }]
}

// Nobody is there, or the server wants to be spared. So it does where gRPC says CANCELLED by itself:
// that drops calls for a server which has too many waiting.
const { UNAVAILABLE, RESOURCE_EXHAUSTED, CANCELLED } = grpc.status
const again = new Set([UNAVAILABLE, RESOURCE_EXHAUSTED, CANCELLED])
const PATIENCE_MS = 60_000

/** The answer to one request, which may come twice; asked for again while that may help. */
async function ask(client, method, request, how = {}) {
  const until = Date.now() + PATIENCE_MS
  for (let longest = 200; ; longest = Math.min(2 * longest, 10_000)) {
    try {
      return await askOnce(client, method, request, how)
    } catch (error) {
      // Drawn anew each time, so that many clients do not come at once; not before the server says.
      const least = Number(error.metadata?.get('grpc-retry-pushback-ms')[0] ?? 0)
      const wait = Math.max(least, Math.random() * longest)
      if (!again.has(error.code) || Date.now() + wait > until) throw error
      await setTimeout(wait)
    }
  }
}

function askOnce(client, method, request, { tokenFile = options['token-file'], seconds = 30 }) {
  return new Promise((resolve, reject) => {
    const message = { catalogue: options.catalog, ...request }
    client[method](message, ...shown(tokenFile, seconds), (error, answer) =>
      error ? reject(error) : resolve(answer))
  })
}

/** A job of operations, each answered once it is on the server's disk, in their order. */
class Ingest {
  #call = catalog.Ingest(...shown(options['token-file'], 600))
  #waiting = []
  #outcomes = []

  /** The job. */
  async open(expected) {
    this.#call.on('data', (answer) => {
      // Before the end the job comes once more, when nobody waits for it.
      this.#waiting.shift()?.resolve(answer[answer.message])
    })
    // What was not answered holds or not. A program that is to outlive this opens another stream
    // with the job's number and sends the rest again, under the same request ids.
    this.#call.on('error', (error) => this.#waiting.splice(0).forEach(({ reject }) => reject(error)))
    const opened = this.#answer()
    await this.#write({ catalogue: options.catalog, open: { expected } })
    return opened
  }

  /** Sends an operation, and behind it what of a picture does not fit into its message. */
  async send(requestId, revision, change, picture = Buffer.alloc(0)) {
    const outcome = this.#answer()
    outcome.catch(() => {}) // `close` tells it
    this.#outcomes.push(outcome)
    if (picture.length) {
      change.put_image.picture_bytes = picture.length
      change.put_image.picture = picture.subarray(0, PART_BYTES)
    }
    await this.#write({ operation: { request_id: requestId, revision, ...change } })
    for (let at = PART_BYTES; at < picture.length; at += PART_BYTES) {
      await this.#write({ picture_part: picture.subarray(at, at + PART_BYTES) })
    }
  }

  /** All outcomes, once they are there; ends the job, of which nothing more comes then. */
  async close() {
    const outcomes = await Promise.all(this.#outcomes)
    const ended = once(this.#call, 'end')
    this.#call.end()
    await ended
    return outcomes
  }

  #answer() {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** Waits while the connection takes no more, so that memory does not fill with pictures. */
  async #write(message) {
    if (!this.#call.write(message)) await once(this.#call, 'drain')
  }
}

/** What a phone that has `have` is told: signed files, and the manifest of the newest version. */
async function poll(have) {
  const answer = await ask(sync, 'Poll', have, { tokenFile: options['device-token-file'] })
  const trusted = { ...have }
  for (const { name, data } of answer.files) {
    const role = /^metadata\/(?:\d+\.)?(\w+)\.json$/.exec(name)?.[1]
    if (role) trusted[role] = JSON.parse(data).signed.version // a phone checks who signed it
  }
  const signed = answer.files.find(({ name }) => name.startsWith('targets/manifest/'))
  return { files: answer.files.map(({ name }) => name), trusted, manifest: signed?.data }
}

async function main() {
  const before = await ask(catalog, 'GetCatalogue', {})
  const revision = Date.now() // yours grows with each change of an item, as the version of its row
  const ingest = new Ingest()
  const job = await ingest.open(2 * pictures.length + 2)
  for (const [number, path] of pictures.entries()) {
    const id = parse(path).name
    const product = { id, title: `Thing ${id}`, price: { minor_units: 1000 + number, currency: 'EUR' }, stock: 5 }
    await ingest.send(`${id} ${revision}`, revision, { put_product: { product } })
    const image = { image: { id: `${id}-front` }, product_ids: [id] }
    await ingest.send(`${id}-front ${revision}`, revision, { put_image: image }, readFileSync(path))
  }
  const price = { minor_units: 900, currency: 'EUR' }
  const cheaper = { patch_product: { product_id: parse(pictures[0]).name, price } }
  for (let time = 0; time < 2; time += 1) { // as from a queue that delivers twice
    await ingest.send(`cheaper ${revision}`, revision + 1, cheaper)
  }
  const outcomes = await ingest.close()

  let ended = job // its pictures are embedded after their operations were answered
  while (!['DONE', 'CANCELLED'].includes(ended.state)) {
    ended = (await ask(catalog, 'WaitForJob', { job: job.number, milliseconds: 20_000 })).job
  }
  const { letters } = await ask(catalog, 'ListDeadLetters', {})
  // Only if nobody has published since `before`: ABORTED says that somebody has.
  const published = await ask(catalog, 'Publish', { parent: before.version }, { seconds: 900 })

  const first = await poll({})
  const manifests = protobuf.loadSync(join(options.protos, 'pocketlens_protos/v1/manifest.proto'))
  const manifest = manifests.lookupType('pocketlens.v1.Manifest').decode(first.manifest)
  const { generation } = manifest
  const [version, products, images] = ['version', 'products', 'images'].map((name) => Number(manifest[name]))
  const later = await poll({ ...first.trusted, generation, version })
  return {
    // Of those that are REFUSED, NOT_THERE_YET may be sent again later; others are for a person.
    outcomes: outcomes.map(({ request_id, result, refusal, reason, is_repeated }) =>
      ({ request_id, result, refusal, reason, is_repeated })),
    job: ended,
    dead_letters: letters.map(({ image_id, reason }) => ({ image_id, reason })),
    published: { version: published.version, is_new: published.is_new },
    phone: { version, products, images, files: first.files.length, files_later: later.files.length },
  }
}

try {
  console.log(JSON.stringify(await main(), null, 2))
} catch (error) {
  console.error(error.details ?? error.message) // `error.code` is one of grpc.status
  process.exitCode = 1
} finally {
  catalog.close()
  sync.close()
}
