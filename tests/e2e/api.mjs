// The unmodified npm SDK while a backend commands what its session does, one scenario per run: `node api.mjs SCENARIO`.
import { assert, client, collect, connected, event, hear, run, say, subscribed } from "./lib.mjs";

await run({
  /** The backend subscribes, publishes, unsubscribes and ends; each word says that something has been heard. */
  async obeys() {
    const ann = client("ann");
    const heard = collect(ann, "publication");
    const subscribing = event(ann, "subscribed");
    ann.connect();
    await ann.ready();
    say("connected");
    const { channel, recoverable, streamPosition, data } = await subscribing;
    assert.deepEqual([channel, recoverable, data], ["chat:server", true, { welcome: "ann" }]);
    const top = Number(streamPosition.offset);
    assert.ok(top > 0);
    say("subscribed");
    const [first] = await heard.until(1);
    assert.deepEqual([first.channel, first.data, first.offset], ["chat:server", { n: 2 }, top + 1]);
    const ending = event(ann, "unsubscribed");
    say("published");
    assert.equal((await ending).channel, "chat:server");
    const room = await subscribed(ann, "chat:own");
    const left = event(room, "unsubscribed");
    say("unsubscribed");
    const { code, reason } = await left;
    assert.deepEqual([code, reason], [2000, "server unsubscribe"]);
    const gone = event(ann, "disconnected");
    say("left");
    const end = await gone;
    assert.deepEqual([end.code, end.reason], [4501, "no more of you"]);
    say("gone");
  },

  /** The backend says that the session has expired: the SDK comes back with its token. */
  async comes_back_when_it_is_expired() {
    const ann = await connected("ann");
    const gone = event(ann, "connecting");
    say("connected");
    assert.equal((await gone).code, 3005);
    await ann.ready();
    const again = event(ann, "connecting");
    say("back");
    // An expiry in the past and its grace.
    assert.equal((await again).code, 3005);
    say("expired");
  },

  /** Only one of two sessions is meant. */
  async one_of_two_is_meant() {
    const [ann, tab] = [client("ann"), client("ann")];
    const begun = [ann, tab].map((each) => event(each, "connected"));
    [ann, tab].forEach((each) => each.connect());
    const names = (await Promise.all(begun)).map(({ client }) => client);
    const gone = event(tab, "disconnected");
    say(names.join(" "));
    assert.equal((await gone).code, 3503);
    assert.equal(ann.state, "connected");
    say("gone");
    await hear("end");
    assert.equal(ann.state, "connected");
  },
});
