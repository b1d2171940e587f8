// The unmodified npm SDK against an edge with a node: `node nodes.mjs SCENARIO TOKEN CHANNEL`.
import { assert, client, collect, cut, event, hear, run, say } from "./lib.mjs";

const [, , , token, channel] = process.argv;

const said = ({ data }) => data.body;

await run({
  async follows_the_channels_of_its_user_through_lost_connections() {
    const tab = client(null, { token });
    const heard = collect(tab, "publication");
    const subscribed = event(tab, "subscribed", (context) => context.channel === channel);
    tab.connect();
    assert.ok((await subscribed).recoverable);
    await tab.publish(channel, { body: "from the SDK" });
    assert.deepEqual((await heard.until(1)).map(said), ["from the SDK"]);
    const { data } = await tab.rpc("publish", { channel, data: { body: "once" }, idempotency_key: "k" });
    const again = await tab.rpc("publish", { channel, data: { body: "once" }, idempotency_key: "k" });
    assert.deepEqual([data.offset, again.data.offset, again.data.duplicate], [2, 2, true]);
    await heard.until(2);
    for (const word of ["wire", "relay"]) {
      const back = event(tab, "subscribed", (context) => context.channel === channel);
      if (word === "wire") cut();
      say(word);
      await hear("posted");
      // A session outlives its relay; a cut wire does not outlive itself.
      if (word === "wire") assert.ok((await back).recovered, "what was missed comes from the store");
      else back.catch(() => {});
    }
    const all = await heard.until(6);
    assert.deepEqual(all.map(said).slice(2), ["wire 1", "wire 2", "relay 1", "relay 2"]);
    assert.deepEqual(all.map(({ offset }) => offset), [1, 2, 3, 4, 5, 6]);
    const gone = event(tab, "unsubscribed", (context) => context.channel === channel);
    say("member");
    await gone;
    say("gone");
    await hear("posted");
    await assert.rejects(tab.publish(channel, { body: "no more" }), ({ code }) => code === 103);
    const here = heard.found.filter((context) => context.channel === channel);
    assert.equal(here.length, 6, "silence");
  },
});
