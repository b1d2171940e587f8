// Pages of two sites in headless Chromium, with the unmodified SDK, at an edge of another origin: `node origins.mjs SCENARIO`.
// The edge lets in pages of example.com.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { browser } from "./chromium.mjs";
import { assert, run, token, URL, within } from "./lib.mjs";

const SDK = join(process.env.HEADLAND_CLIENTS, "node/node_modules/centrifuge/dist");
const CERTIFICATE = join(dirname(process.env.HEADLAND_CA), "server.pem");
const EDGE = URL.replace(/\/connection\/.*/, "");
const OURS = "http://app.example.com";
const THEIRS = "http://app.example.org";
/** A way in, and the SDK's build that takes it. */
const WAYS = [
  ["http_stream", "centrifuge.js"],
  ["http_stream", "centrifuge.protobuf.js"],
  ["sse", "centrifuge.js"],
  ["websocket", "centrifuge.js"],
];

/** Serves `/BUILD` with a page that has loaded the build; every site's name leads here. */
async function sites() {
  const server = createServer((request, response) => {
    const [, build, script] = request.url.match(/^\/([a-z.]+\.js)(\/script)?$/) ?? [];
    if (!build) return response.writeHead(204).end();
    response.setHeader("Content-Type", script ? "text/javascript" : "text/html");
    response.end(script ? readFileSync(join(SDK, build)) : `<!doctype html><script src="/${build}/script"></script>`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Runs `visit` with a way to open a site's page; `answers` are the edge's, `complaints` the console's. */
async function visiting(visit) {
  const server = await sites();
  const here = `127.0.0.1:${server.address().port}`;
  const rules = `MAP *.example.com:80 ${here}, MAP *.example.org:80 ${here}`;
  const opened = await browser(CERTIFICATE, `--host-resolver-rules=${rules}`);
  const open = async (site, build) => {
    const page = await (await opened.newContext()).newPage();
    const seen = { page, answers: [], complaints: [] };
    page.on("response", (answer) => {
      if (answer.url().startsWith(EDGE)) seen.answers.push([answer.request().method(), answer.status()]);
    });
    page.on("console", (said) => said.type() === "error" && seen.complaints.push(said.text()));
    await page.goto(`${site}/${build}`);
    return seen;
  };
  try {
    await visit(open);
  } finally {
    await opened.close();
    server.close();
  }
}

/** In the page: subscribes and publishes to itself. What it heard, or the errors after which it gave up. */
const chat = async ({ edge, way, token, bytes }) => {
  const websocket = way === "websocket";
  const endpoint = `${edge}/connection/${way}`;
  const client = new globalThis.Centrifuge(
    websocket ? endpoint.replace(/^http/, "ws") : [{ transport: way, endpoint }],
    { token, emulationEndpoint: `${edge}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 50 },
  );
  const errors = [];
  const refused = new Promise((resolve) => {
    client.on("error", ({ error }) => errors.push(error.message) >= 3 && resolve({ errors }));
  });
  const entered = new Promise((resolve) => client.on("connected", () => resolve()));
  const room = client.newSubscription("news");
  const heard = new Promise((resolve) => room.on("publication", ({ data }) => resolve(data)));
  room.subscribe();
  client.connect();
  const chatting = async () => {
    await entered;
    await room.ready();
    const words = { from: location.origin };
    await room.publish(bytes ? new TextEncoder().encode(JSON.stringify(words)) : words);
    const data = await heard;
    return { heard: bytes ? JSON.parse(new TextDecoder().decode(data)) : data };
  };
  const outcome = await Promise.race([chatting(), refused]);
  client.disconnect();
  return outcome;
};

const tried = (page, way, build) => {
  const asked = { edge: EDGE, way, token: token({ sub: "ann" }), bytes: build.includes("protobuf") };
  return within(`an outcome over ${way}`, page.evaluate(chat, asked), 30_000);
};

await run({
  pages_of_an_allowed_site_chat_whatever_the_transport: () =>
    visiting(async (open) => {
      for (const [way, build] of WAYS) {
        const { page, answers, complaints } = await open(OURS, build);
        assert.deepEqual(await tried(page, way, build), { heard: { from: OURS } }, `${way} ${build}`);
        assert.deepEqual(complaints, []);
        if (way === "websocket") continue;
        // The session itself, and commands that a page may not send to another origin unasked.
        assert.deepEqual(answers[0].at(-1), 200);
        // The browser may say so only after the page has heard of what it did.
        const emulated = async () => {
          while (!answers.some(([method, status]) => method === "POST" && status === 204)) await page.waitForTimeout(20);
        };
        await within(`commands over ${way}`, emulated(), 10_000);
      }
    }),

  pages_of_other_sites_get_nowhere_whatever_the_transport: () =>
    visiting(async (open) => {
      for (const [way, build] of WAYS) {
        const { page, complaints } = await open(THEIRS, build);
        const { heard, errors } = await tried(page, way, build);
        assert.equal(heard, undefined, `${way} ${build}`);
        assert.ok(errors.length >= 3);
        const why = way === "websocket" ? "403" : "CORS";
        assert.ok(complaints.some((said) => said.includes(why)), `${way}: ${complaints}`);
      }
    }),

  what_other_sites_send_unasked_is_refused: () =>
    visiting(async (open) => {
      const { page, answers } = await open(THEIRS, "centrifuge.js");
      // A form's kind of request: browsers send it and only hide the answer.
      const post = async ([path, text]) => {
        const body = JSON.stringify(text);
        await fetch(path, { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body });
      };
      const connect = { id: 1, connect: { token: token({ sub: "ann" }) } };
      const call = { session: "0".repeat(48), node: "0".repeat(20), data: "{}" };
      const paths = [["connection/http_stream", connect], ["connection/sse", connect], ["emulation", call]];
      for (const [path, text] of paths) await page.evaluate(post, [`${EDGE}/${path}`, text]);
      assert.deepEqual(answers, paths.map(() => ["POST", 403]));
    }),
});
