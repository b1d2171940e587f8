// The unmodified npm SDK and what channels can do beyond chatting, one scenario per run: `node features.mjs SCENARIO`.
import { assert, collect, connected, cut, event, run, subscribed } from "./lib.mjs";

const data = ({ data }) => data;

/** The state of a match after `n` changes: most of it stays as it is. */
const score = (n) => ({
  home: n,
  away: Math.floor(n / 3),
  players: Array.from({ length: 11 }, (_, i) => ({ name: `Größe ☕ ${i}`, goals: i === n % 11 ? n : 0 })),
});
const upTo = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

await run({
  async publishes_once() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const room = await subscribed(bob, "short:once");
    const heard = collect(room, "publication");
    const call = (n, key) => ann.rpc("publish", { channel: "short:once", data: { n }, idempotency_key: key }).then(data);
    const answers = await Promise.all([call(1, "a"), call(1, "a"), call(2, "b"), call(1, "a")]);
    assert.deepEqual(answers.map(({ offset }) => offset), [1, 1, 2, 1]);
    assert.deepEqual(answers.map(({ duplicate }) => duplicate), [false, true, false, true]);
    assert.match(answers[0].epoch, /^[A-Za-z]{8}$/);
    assert.deepEqual((await heard.until(2)).map(data), [{ n: 1 }, { n: 2 }]);
  },

  async a_cache_gives_the_last_publication() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    for (let n = 1; n <= 3; n += 1) await ann.publish("cache:npm", n);
    const room = bob.newSubscription("cache:npm");
    const heard = collect(room, "publication");
    room.subscribe();
    await room.ready();
    assert.deepEqual((await heard.until(1)).map(data), [3]);
    bob.disconnect();
    for (let n = 4; n <= 50; n += 1) await ann.publish("cache:npm", n);
    bob.connect();
    await room.ready();
    assert.deepEqual((await heard.until(2)).map(data), [3, 50]);
    await ann.publish("cache:npm", 51);
    assert.deepEqual((await heard.until(3)).map(data), [3, 50, 51]);
  },

  async differences_make_the_publications_in_both_encodings() {
    const tabs = await Promise.all([connected("ann"), connected("bob"), connected("eve", { protobuf: true })]);
    const channel = "match:delta";
    // Ann and Eve take differences, Bob does not; Eve's payloads are bytes.
    const rooms = [await subscribed(tabs[0], channel, { delta: "fossil" }), await subscribed(tabs[1], channel)];
    rooms.push(await subscribed(tabs[2], channel, { delta: "fossil" }));
    const heard = rooms.map((room) => collect(room, "publication"));
    for (let n = 1; n <= 20; n += 1) await tabs[1].publish(channel, score(n));
    const wanted = upTo(1, 20).map(score);
    assert.deepEqual((await heard[0].until(20)).map(data), wanted);
    assert.deepEqual((await heard[1].until(20)).map(data), wanted);
    const bytes = (await heard[2].until(20)).map(({ data }) => JSON.parse(new TextDecoder().decode(data)));
    assert.deepEqual(bytes, wanted);
    for (const room of [rooms[0], rooms[2]]) {
      const stats = room.deltaStats();
      assert.deepEqual([stats.numFullPayloads, stats.numDeltaPayloads], [1, 19]);
      assert.ok(stats.compressionRatio > 0.7, JSON.stringify(stats));
    }
    // Who comes later gets the first one whole.
    const late = await subscribed(await connected("zoe"), channel, { delta: "fossil" });
    const hers = collect(late, "publication");
    for (let n = 21; n <= 23; n += 1) await tabs[1].publish(channel, score(n));
    assert.deepEqual((await hers.until(3)).map(data), upTo(21, 23).map(score));
    assert.equal(late.deltaStats().numFullPayloads, 1);
  },

  async differences_go_on_after_a_recovery() {
    const channel = "match:again";
    const [ann, bob] = await Promise.all([connected("ann", { minReconnectDelay: 300 }), connected("bob")]);
    const room = await subscribed(ann, channel, { delta: "fossil" });
    const heard = collect(room, "publication");
    for (let n = 1; n <= 3; n += 1) await bob.publish(channel, score(n));
    await heard.until(3);
    ann.disconnect();
    for (let n = 4; n <= 12; n += 1) await bob.publish(channel, score(n));
    const back = event(room, "subscribed");
    ann.connect();
    assert.ok((await back).recovered);
    for (let n = 13; n <= 15; n += 1) await bob.publish(channel, score(n));
    assert.deepEqual((await heard.until(15)).map(data), upTo(1, 15).map(score));
    const stats = room.deltaStats();
    // The first of each session is whole, and what was recovered is a chain.
    assert.deepEqual([stats.numFullPayloads, stats.numDeltaPayloads], [2, 13]);
  },

  async only_publications_that_pass_the_filter_arrive() {
    const channel = "match:tags";
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const tagsFilter = {
      op: "and",
      nodes: [{ key: "ticker", cmp: "in", vals: ["A", "B"] }, { key: "price", cmp: "gte", val: "10.5" }],
    };
    const [some, all] = [await subscribed(ann, channel, { tagsFilter }), await subscribed(bob, channel)];
    const [few, every] = [collect(some, "publication"), collect(all, "publication")];
    const publish = (n, tags) => bob.rpc("publish", { channel, data: n, tags });
    await publish(1, { ticker: "A", price: "10.5" });
    await publish(2, { ticker: "A", price: "9.99" });
    await publish(3, { ticker: "C", price: "11" });
    await publish(4, {});
    await publish(5, { ticker: "B", price: "100" });
    assert.deepEqual((await every.until(5)).map(data), [1, 2, 3, 4, 5]);
    assert.deepEqual((await few.until(2)).map(data), [1, 5]);
    assert.deepEqual(few.found[1].tags, { ticker: "B", price: "100" });
    // What was missed is filtered too.
    ann.disconnect();
    await publish(6, { ticker: "C" });
    await publish(7, { ticker: "B", price: "20" });
    const back = event(some, "subscribed");
    ann.connect();
    assert.ok((await back).recovered);
    await publish(8, { ticker: "A", price: "0" });
    await publish(9, { ticker: "A", price: "30" });
    assert.deepEqual((await few.until(4)).map(data), [1, 5, 7, 9]);
  },

  async a_filter_that_makes_no_sense_is_refused() {
    const ann = await connected("ann");
    for (const [channel, tagsFilter] of [
      ["match:x", { key: "a", cmp: "like", val: "b" }],
      ["match:y", { op: "not", nodes: [] }],
      ["short:x", { key: "a", cmp: "eq", val: "b" }],
    ]) {
      const room = ann.newSubscription(channel, { tagsFilter });
      const end = event(room, "unsubscribed");
      room.subscribe();
      assert.equal((await end).code, 107);
    }
  },

  async everything_arrives_in_channels_with_numbers() {
    // The SDK always offers numbers; here the namespace takes them. (Its Protobuf build cannot take them in Node, where it compares
    // numbers of 64 bits as objects.)
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const rooms = [await subscribed(ann, "number:one"), await subscribed(ann, "number:two", { delta: "fossil" })];
    const heard = rooms.map((room) => collect(room, "publication"));
    const joined = event(rooms[0], "join", ({ info }) => info.user === "bob");
    const his = await subscribed(bob, "number:one");
    await joined;
    for (let n = 1; n <= 5; n += 1) {
      await bob.publish("number:one", score(n));
      await bob.publish("number:two", score(n + 10));
    }
    assert.deepEqual((await heard[0].until(5)).map(data), upTo(1, 5).map(score));
    assert.deepEqual((await heard[1].until(5)).map(data), upTo(11, 15).map(score));
    const left = event(rooms[0], "leave", ({ info }) => info.user === "bob");
    his.unsubscribe();
    await left;
    const [gone, back] = [event(ann, "connecting"), event(rooms[1], "subscribed")];
    cut();
    await gone;
    await back;
    await bob.ready();
    await bob.publish("number:two", score(20));
    assert.deepEqual((await heard[1].until(6)).map(data)[5], score(20));
  },
});
