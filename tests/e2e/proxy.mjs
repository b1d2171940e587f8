// Sessions that a backend decides on, with the unmodified npm SDK, one scenario per run: `node proxy.mjs SCENARIO`.
import { WebSocket, assert, client, collect, event, run, subscribed, transport } from "./lib.mjs";

const PROTOBUF = process.argv[3] === "protobuf";
const data = ({ data }) => data;
const own = (value) => (PROTOBUF ? Buffer.from(JSON.stringify(value)) : value);

/** A connected client of a user that the backend knows by what the client says. */
async function connected(user, more = {}) {
  const made = client(null, { data: own({ user, ...more }) });
  made.connect();
  await made.ready();
  return made;
}

const refused = (promise, code) => assert.rejects(promise, (error) => error.code === code);

await run({
  async a_cookie_or_a_field_of_the_request_says_who_it_is() {
    for (const [name, value] of [["Cookie", "a=b; sid=ann"], ["X-User", "ann"]]) {
      const With = class extends WebSocket {
        constructor(url, protocols) {
          super(url, protocols, { headers: { [name]: value } });
        }
      };
      const ann = client(null, { websocket: With });
      const connected = event(ann, "connected");
      ann.connect();
      assert.deepEqual((await connected).data, { hello: "ann", by: "edge" });
      assert.deepEqual(await ann.rpc("whoami", null).then(data), { user: "ann", meta: { plan: "ann's" } });
    }
  },

  async a_client_says_who_it_is_and_gets_its_channels() {
    const ann = client(null, { data: own({ user: "ann", channels: ["rooms:news"] }) });
    const connected = event(ann, "connected");
    const begun = event(ann, "subscribed");
    const heard = collect(ann, "publication");
    ann.connect();
    assert.equal((await connected).data.hello, "ann");
    const { channel, data: topic } = await begun;
    assert.deepEqual([channel, topic], ["rooms:news", { topic: "rooms:news" }]);
    await ann.publish("rooms:news", "hi");
    assert.deepEqual((await heard.until(1)).map(data), [{ said: "hi", by: "ann" }]);
  },

  async who_is_refused_stays_away() {
    for (const [who, code, reason] of [[{}, 1000, "who are you?"], [{ user: "mallory" }, 4501, "banned"]]) {
      const nobody = client(null, { data: own(who) });
      const ended = event(nobody, "disconnected");
      nobody.connect();
      const end = await ended;
      // Over HTTP a refusal and the end of the response may be told in either order.
      assert.equal(end.code, code);
      if (transport === "websocket") assert.equal(end.reason, reason);
    }
  },

  async channels_open_to_whom_the_backend_lets_in() {
    const [ann, bob] = [await connected("ann"), await connected("bob")];
    const room = ann.newSubscription("rooms:secret", { data: own({ a: 1 }) });
    const begun = event(room, "subscribed");
    room.subscribe();
    assert.deepEqual((await begun).data, { room: "secret", asked: { a: 1 } });
    const { clients } = await room.presence();
    assert.deepEqual(Object.values(clients).map(({ user, chanInfo }) => [user, chanInfo]), [["ann", { plan: "ann's" }]]);
    const his = bob.newSubscription("rooms:secret");
    const ended = event(his, "unsubscribed");
    his.subscribe();
    const { code, reason } = await ended;
    assert.deepEqual([code, reason], [403, "not for you"]);
    const gone = event(bob, "disconnected");
    bob.newSubscription("rooms:kick").subscribe();
    // 4000 invites to come back, which the SDK does.
    const again = event(bob, "connecting", ({ code }) => code === 4000);
    assert.equal((await Promise.race([gone, again])).code, 4000);
  },

  async publications_are_what_the_backend_makes_of_them() {
    const ann = await connected("ann");
    const room = await subscribed(ann, "rooms:open");
    const heard = collect(room, "publication");
    await room.publish("hi");
    await room.publish("as it is");
    await refused(room.publish("spam"), 1001);
    assert.deepEqual((await heard.until(2)).map(data), [{ said: "hi", by: "ann" }, "as it is"]);
    assert.equal(heard.found[0].info.user, "ann");
    await room.publish("quiet");
    await heard.until(3);
    const { publications } = await room.history({ limit: 10 });
    assert.deepEqual(publications.map(data), [{ said: "hi", by: "ann" }, "as it is"], "the quiet one is not kept");
    await Promise.all(Array.from({ length: 20 }, (_, number) => room.publish(number)));
    const numbers = (await heard.until(23)).slice(3).map((pub) => pub.data.said);
    assert.deepEqual(numbers, Array.from({ length: 20 }, (_, number) => number), "in order");
  },

  async calls_are_answered_by_the_backend_and_publish_by_the_edge() {
    const ann = await connected("ann");
    assert.deepEqual(await ann.rpc("echo", { a: [1, "x"] }).then(data), { a: [1, "x"] });
    const many = await Promise.all(Array.from({ length: 20 }, (_, number) => ann.rpc("echo", number).then(data)));
    assert.deepEqual(many, Array.from({ length: 20 }, (_, number) => number));
    await refused(ann.rpc("nonsense", null), 1002);
    const room = await subscribed(ann, "rooms:open");
    const heard = collect(room, "publication");
    const key = `once ${Math.random()}`;
    const say = () => ann.rpc("publish", { channel: "rooms:open", data: "once", idempotency_key: key }).then(data);
    const [first, second] = [await say(), await say()];
    assert.equal(first.offset, second.offset);
    assert.ok(second.duplicate && !first.duplicate);
    assert.deepEqual((await heard.until(1)).map(data), [{ said: "once", by: "ann" }]);
  },

  async a_session_goes_on_as_long_as_the_backend_says() {
    const ann = client(null, { data: own({ user: "short" + Math.random() }) });
    const begun = Date.now();
    ann.connect();
    await ann.ready();
    const { code } = await event(ann, "connecting", ({ code }) => code === 3005);
    assert.equal(code, 3005);
    assert.ok(Date.now() - begun > 3000, "it was given more time once");
    await ann.ready();
  },

  async a_subscription_goes_on_as_long_as_the_backend_says() {
    const ann = await connected("ann" + Math.random());
    const room = ann.newSubscription("rooms:short");
    const lost = event(room, "subscribing", ({ code }) => code === 2501);
    const begun = Date.now();
    room.subscribe();
    await room.ready();
    await lost;
    assert.ok(Date.now() - begun > 3000, "it was given more time once");
    await room.ready();
  },

  async a_client_comes_back_by_itself_when_the_backend_does() {
    const ann = client(null, { data: own({ user: "ann" }), minReconnectDelay: 100, maxReconnectDelay: 300 });
    const failed = collect(ann, "error");
    const { say, hear } = await import("./lib.mjs");
    ann.connect();
    await failed.until(3);
    assert.ok(failed.found.every(({ error }) => error.code === 100 || error.code === 111), JSON.stringify(failed.found));
    say("refused");
    await hear("mended");
    await ann.ready();
    assert.deepEqual(await ann.rpc("echo", 1).then(data), 1);
  },
});
