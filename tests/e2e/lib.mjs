// What the scripts share: the unmodified SDK from the build folder, tokens, waits with a deadline, and talk with the test that
// started the script (one word per line on stdin and stdout).
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const load = createRequire(join(process.env.HEADLAND_CLIENTS, "node", "from-here.js"));
export const { Centrifuge, UnauthorizedError } = load("centrifuge");
const { Centrifuge: ProtobufCentrifuge } = load("centrifuge/build/protobuf");
export const WebSocket = load("ws");
const { EventSource } = load("eventsource");
export { assert };

export const URL = process.env.HEADLAND_URL;
/** How the SDK is told to connect: by the URL's path. */
export const transport = URL.split("/").pop();
const WITHIN_MS = 60_000;
/** `node FILE SCENARIO protobuf`: clients use the SDK's Protobuf build. Scenarios still speak of values. */
const PROTOBUF = process.argv[3] === "protobuf";

/** The value of a promise, or an error that names what did not come. */
export function within(what, promise, ms = WITHIN_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The context of the next event of a kind (for which `wanted` holds). */
export function event(emitter, name, wanted = () => true) {
  const come = new Promise((resolve) => {
    const listen = (context) => {
      const given = read(context);
      if (wanted(given)) {
        emitter.removeListener(name, listen);
        resolve(given);
      }
    };
    emitter.on(name, listen);
  });
  return within(`the event ${name}`, come);
}

/** Collects the contexts of all events of a kind from now on; `until(count)` waits for so many. */
export function collect(emitter, name) {
  const found = [];
  const waiting = [];
  emitter.on(name, (context) => {
    found.push(read(context));
    waiting.filter(({ count }) => found.length >= count).forEach(({ resolve }) => resolve(found));
  });
  const until = (count) =>
    found.length >= count
      ? Promise.resolve(found)
      : within(`${count} × ${name} (${found.length} now)`, new Promise((resolve) => waiting.push({ count, resolve })));
  return { found, until };
}

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token with these claims, signed with the shared secret. */
export function token(claims) {
  const text = `${base64url({ alg: "HS256", typ: "JWT" })}.${base64url(claims)}`;
  return `${text}.${createHmac("sha256", process.env.HEADLAND_SECRET).update(text).digest("base64url")}`;
}

export const seconds = (from) => Math.floor(Date.now() / 1000) + from;

const open = [];
const sockets = new Set();

/** Node's WebSocket, remembered so that a test can cut the wire. */
class Wire extends WebSocket {
  constructor(...args) {
    super(...args);
    sockets.add(this);
    this.on("close", () => sockets.delete(this));
  }
}

let wires = new AbortController();

/** Node's fetch, whose connections a test can cut. */
const wire = (url, options = {}) =>
  fetch(url, { ...options, signal: AbortSignal.any([wires.signal, options.signal].filter(Boolean)) });

class Source extends EventSource {
  constructor(url, options) {
    super(url, { ...options, fetch: wire });
  }
}

/** Cuts every connection of this process without a word, as a lost network does. */
export function cut() {
  for (const socket of sockets) socket.terminate();
  // Not an AbortError: nobody here has hung up.
  wires.abort(new TypeError("the wire was cut"));
  wires = new AbortController();
}

/** Where the SDK connects, and with what. */
function ways() {
  if (transport === "websocket") return [URL, { websocket: Wire }];
  const emulationEndpoint = URL.replace(/connection\/.*/, "emulation");
  // The SDK does not look at the answers to its commands; here none may be a refusal, unless the session has just ended.
  const asking = async (url, options) => {
    const answer = await wire(url, options).catch(() => new Response());
    if (url === emulationEndpoint) assert.ok([200, 204, 404].includes(answer.status), `status ${answer.status}`);
    return answer;
  };
  return [[{ transport, endpoint: URL }], { emulationEndpoint, fetch: asking, eventsource: Source }];
}

// A subscription's call goes through its client's: what is bytes already stays.
const written = (value) =>
  value === undefined || value instanceof Uint8Array ? value : Buffer.from(JSON.stringify(value));

/** What an SDK gave, its payloads read if they are bytes of JSON; offsets as numbers (its Protobuf build has a type of its own). */
function read(given) {
  if (!PROTOBUF || given === null || typeof given !== "object") return given;
  if (given instanceof Uint8Array) return given.length > 0 ? JSON.parse(Buffer.from(given)) : undefined;
  if (given.unsigned !== undefined) return Number(given.toString());
  if (Array.isArray(given)) return given.map(read);
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, read(value)]));
}

/** In Protobuf payloads are bytes: lets calls of a client or subscription take and give values, as in JSON. */
function values(of) {
  const wrap = (name, write) => {
    const call = of[name]?.bind(of);
    if (call) of[name] = (...args) => call(...write(args)).then(read);
  };
  const last = (args) => [...args.slice(0, -1), written(args.at(-1))];
  for (const name of ["publish", "rpc", "send"]) wrap(name, last);
  for (const name of ["history", "presence"]) wrap(name, (args) => args);
  const subscription = of.newSubscription?.bind(of);
  if (subscription) of.newSubscription = (...args) => values(subscription(...args));
  return of;
}

/** An SDK client of a user; stopped when the scenario ends. With `protobuf`, of that build, and payloads are bytes. */
export function client(user, { protobuf = PROTOBUF, ...options } = {}) {
  const [where, how] = ways();
  const made = new (protobuf ? ProtobufCentrifuge : Centrifuge)(where, {
    ...how,
    token: user === null ? undefined : token({ sub: user, info: { name: user } }),
    minReconnectDelay: 50,
    maxReconnectDelay: 500,
    ...options,
  });
  made.on("error", () => {});
  open.push(made);
  return PROTOBUF ? values(made) : made;
}

/** A connected client. */
export async function connected(user, options) {
  const made = client(user, options);
  made.connect();
  await made.ready();
  return made;
}

/** A subscription that is in place. */
export async function subscribed(of, channel, options) {
  const made = of.newSubscription(channel, options);
  made.on("error", () => {});
  made.subscribe();
  await made.ready();
  return made;
}

const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Tells the test one word. */
export const say = (word) => console.log(word);

/** Waits for a word of the test. */
export async function hear(word) {
  const { value } = await within(`the word ${word}`, words.next(), 60_000);
  assert.equal(value, word);
}

/** The next word of the test, whatever it is. */
export async function listen() {
  const { value } = await within("a word", words.next(), 60_000);
  return value;
}

/** Runs the scenario that the command line names; its failure is the exit code. */
export async function run(scenarios) {
  const name = process.argv[2];
  try {
    assert.ok(scenarios[name], `no scenario ${name}`);
    await scenarios[name]();
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
  open.forEach((each) => each.disconnect());
  process.stdin.destroy();
  process.exit();
}
