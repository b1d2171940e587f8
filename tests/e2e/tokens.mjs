// Tokens and channels of the server's with the unmodified npm SDK, one scenario per run: `node tokens.mjs SCENARIO`.
import { readFileSync } from "node:fs";
import { constants, sign } from "node:crypto";
import { UnauthorizedError, assert, client, collect, connected, cut, event, listen, run, say, seconds, subscribed, token } from "./lib.mjs";

const data = ({ data }) => data;
const base64url = (value) => Buffer.from(value).toString("base64url");

/** A token signed with a private key in PEM form. */
function signed(alg, key, claims) {
  const text = `${base64url(JSON.stringify({ alg, typ: "JWT" }))}.${base64url(JSON.stringify(claims))}`;
  const digest = alg === "EdDSA" ? null : `sha${alg.slice(2)}`;
  const padding = alg.startsWith("PS") ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {};
  const signature = sign(digest, Buffer.from(text), { key, dsaEncoding: "ieee-p1363", ...padding });
  return `${text}.${signature.toString("base64url")}`;
}

/** A subscription token. */
const entry = (user, channel, more = {}) => token({ sub: user, channel, ...more });

await run({
  async the_servers_channels_are_heard_and_what_was_missed_in_them_is_recovered() {
    const subs = { "chat:news": { info: { seat: 1 }, data: { hello: "ann" } }, other: {} };
    const ann = client("ann", { token: token({ sub: "ann", subs }) });
    const begun = collect(ann, "subscribed");
    const heard = collect(ann, "publication");
    ann.connect();
    const [first] = (await begun.until(2)).filter(({ channel }) => channel === "chat:news");
    assert.ok(first.recoverable && first.positioned && !first.wasRecovering);
    assert.deepEqual(first.data, { hello: "ann" });
    const bob = await connected("bob");
    const his = await subscribed(bob, "chat:news");
    await his.publish(1);
    await heard.until(1);
    const { clients } = await his.presence();
    assert.deepEqual(Object.values(clients).find(({ user }) => user === "ann").chanInfo, { seat: 1 });
    ann.disconnect();
    for (const number of [2, 3, 4]) await his.publish(number);
    ann.connect();
    await heard.until(4);
    assert.deepEqual(heard.found.map(data), [1, 2, 3, 4]);
    const again = begun.found.filter(({ channel }) => channel === "chat:news").at(-1);
    assert.ok(again.wasRecovering && again.recovered);
    await bob.publish("other", "plain");
    await heard.until(5);
  },

  async the_servers_channels_survive_a_cut_wire() {
    const ann = await connected("ann", { token: token({ sub: "ann", channels: ["chat:cut"] }) });
    const heard = collect(ann, "publication");
    const bob = await connected("bob");
    const his = await subscribed(bob, "chat:cut");
    await his.publish(0);
    await heard.until(1);
    const lost = [event(ann, "connecting"), event(his, "subscribing")];
    cut();
    await Promise.all(lost);
    await Promise.all([ann.ready(), his.ready()]);
    for (let number = 1; number < 20; number += 1) await his.publish(number);
    await heard.until(20);
    assert.deepEqual(heard.found.map(data), Array.from({ length: 20 }, (_, number) => number));
  },

  async a_personal_channel_is_the_users_own() {
    const ann = client("ann");
    const begun = event(ann, "subscribed");
    ann.connect();
    assert.equal((await begun).channel, "own:#ann");
    const bob = await connected("bob");
    const theirs = bob.newSubscription("own:#ann");
    theirs.on("error", () => {});
    const refused = event(theirs, "unsubscribed");
    theirs.subscribe();
    assert.equal((await refused).code, 103);
    const heard = collect(ann, "publication");
    await bob.publish("own:#ann", { for: "ann" });
    assert.deepEqual((await heard.until(1))[0].channel, "own:#ann");
  },

  async a_new_tab_ends_the_one_before() {
    const first = await connected("ann");
    const end = event(first, "disconnected");
    const second = await connected("ann");
    assert.equal((await end).code, 3504);
    assert.equal(second.state, "connected");
  },

  async connections_too_many_are_refused() {
    await connected("ann");
    const second = await connected("ann");
    const third = client("ann");
    const end = event(third, "disconnected");
    third.connect();
    assert.equal((await end).code, 3504);
    second.disconnect();
    let left = false;
    for (let tries = 0; tries < 100 && !left; tries += 1) {
      const again = client("ann");
      const settled = Promise.race([event(again, "connected").then(() => true), event(again, "disconnected").then(() => false)]);
      again.connect();
      left = await settled;
    }
    assert.ok(left, "there is room again");
  },

  async a_private_channel_is_entered_with_a_token_from_a_callback() {
    const ann = await connected("ann");
    const refused = ann.newSubscription("$chat:room");
    refused.on("error", () => {});
    const no = event(refused, "unsubscribed");
    refused.subscribe();
    assert.equal((await no).code, 103);
    ann.removeSubscription(refused);
    let asked = 0;
    const getToken = async ({ channel }) => {
      asked += 1;
      return entry("ann", channel, { info: { seat: 7 }, exp: seconds(600) });
    };
    const room = await subscribed(ann, "$chat:room", { getToken });
    assert.equal(asked, 1);
    const heard = collect(room, "publication");
    await room.publish("hello");
    const [hello] = await heard.until(1);
    assert.deepEqual([hello.data, hello.info.chanInfo], ["hello", { seat: 7 }]);
  },

  async an_expired_subscription_token_is_replaced() {
    const ann = await connected("ann");
    let asked = 0;
    const getToken = async ({ channel }) => {
      asked += 1;
      return entry("ann", channel, { exp: seconds(600) });
    };
    await subscribed(ann, "$chat:old", { token: entry("ann", "$chat:old", { exp: seconds(-600) }), getToken });
    assert.equal(asked, 1);
  },

  async a_subscription_about_to_expire_is_refreshed_and_stays() {
    const ann = await connected("ann");
    let asked = 0;
    const again = [];
    const getToken = async ({ channel }) => {
      asked += 1;
      again.forEach((resolve) => resolve());
      return entry("ann", channel, { exp: seconds(600) });
    };
    const room = ann.newSubscription("$chat:stays", { token: entry("ann", "$chat:stays", { exp: seconds(3) }), getToken });
    const ends = collect(room, "subscribing");
    room.subscribe();
    await room.ready();
    await new Promise((resolve) => again.push(resolve));
    // Beyond the first token's life and grace.
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    await room.publish("still here");
    assert.deepEqual([asked, ends.found.length], [1, 1]);
  },

  async a_subscription_that_is_not_refreshed_ends() {
    const ann = await connected("ann");
    const getToken = async () => {
      throw new UnauthorizedError("");
    };
    const room = await subscribed(ann, "$chat:ends", { token: entry("ann", "$chat:ends", { exp: seconds(1) }), getToken });
    await event(room, "unsubscribed");
    assert.equal(ann.state, "connected");
  },

  async a_token_of_somebody_else_ends_the_session() {
    const ann = client("ann");
    const end = event(ann, "disconnected");
    ann.connect();
    await ann.ready();
    const room = ann.newSubscription("$chat:a", { token: entry("bob", "$chat:a") });
    room.subscribe();
    assert.equal((await end).code, 3500);
  },

  async connects_with_each_algorithm() {
    for (const word of process.argv.slice(4)) {
      const [alg, file] = word.split("=");
      const key = readFileSync(file);
      const tab = await connected("ann", { token: signed(alg, key, { sub: "ann" }) });
      const channel = `$chat:${alg}`;
      await subscribed(tab, channel, { token: signed(alg, key, { sub: "ann", channel }) });
    }
  },

  async a_token_with_a_new_key_is_asked_for_until_the_key_is_there() {
    const getToken = async () => {
      say("token");
      return listen();
    };
    const tab = client("ann", { token: "", getToken });
    tab.connect();
    await tab.ready();
    say("connected");
  },
});
