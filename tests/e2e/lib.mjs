// What the scripts share: the unmodified SDK from the build folder, tokens, waits with a deadline, and talk with the test that
// started the script (one word per line on stdin and stdout).
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const load = createRequire(join(process.env.HEADLAND_CLIENTS, "node", "from-here.js"));
export const { Centrifuge, UnauthorizedError } = load("centrifuge");
export const WebSocket = load("ws");
export { assert };

export const URL = process.env.HEADLAND_URL;
const WITHIN_MS = 15_000;

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
      if (wanted(context)) {
        emitter.removeListener(name, listen);
        resolve(context);
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
    found.push(context);
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

/** Cuts every connection of this process without a word, as a lost network does. */
export function cut() {
  for (const socket of sockets) socket.terminate();
}

/** An SDK client of a user; stopped when the scenario ends. */
export function client(user, options = {}) {
  const made = new Centrifuge(URL, {
    websocket: Wire,
    token: user === null ? undefined : token({ sub: user, info: { name: user } }),
    minReconnectDelay: 50,
    maxReconnectDelay: 500,
    ...options,
  });
  made.on("error", () => {});
  open.push(made);
  return made;
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
