// The unmodified npm SDK and what channels can do beyond chatting, one scenario per run: `node features.mjs SCENARIO`.
import { assert, collect, connected, run, subscribed } from "./lib.mjs";

const data = ({ data }) => data;

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
});
