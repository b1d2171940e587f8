// JSON and Protobuf builds of the unmodified npm SDK in the same channels, one scenario per run: `node encodings.mjs SCENARIO`.
import { assert, collect, connected, cut, event, run, subscribed } from "./lib.mjs";

const bytes = (value) => Buffer.from(JSON.stringify(value));
// Offsets of the Protobuf build have a type of their own.
const offsets = (publications) => publications.map(({ offset }) => Number(offset.toString()));
const value = (data) => JSON.parse(Buffer.from(data));
const both = () => Promise.all([connected("ann"), connected("bob", { protobuf: true, minReconnectDelay: 1_500 })]);

await run({
  async json_and_protobuf_clients_share_a_channel() {
    const [ann, bob] = await both();
    const hers = await subscribed(ann, "chat:both");
    const joined = event(hers, "join", ({ info }) => info.user === "bob");
    const his = await subscribed(bob, "chat:both");
    assert.deepEqual((await joined).info.connInfo, { name: "bob" });
    const [she, he] = [collect(hers, "publication"), collect(his, "publication")];
    const said = (number) => ({ number, text: "☕\n" });
    for (let i = 1; i <= 20; i += 1) await (i % 2 ? hers.publish(said(i)) : his.publish(bytes(said(i))));
    const expected = Array.from({ length: 20 }, (_, i) => said(i + 1));
    assert.deepEqual((await she.until(20)).map(({ data }) => data), expected);
    assert.deepEqual((await he.until(20)).map(({ data }) => value(data)), expected);
    assert.deepEqual(offsets(she.found), offsets(he.found));
    assert.equal(he.found[0].info.user, "ann");
    assert.deepEqual(value(he.found[0].info.connInfo), { name: "ann" });
    const { clients } = await his.presence();
    assert.deepEqual(Object.values(clients).map(({ user }) => user).sort(), ["ann", "bob"]);
    assert.deepEqual(value(Object.values(clients)[0].connInfo).name, Object.values(clients)[0].user);
    assert.deepEqual(await his.presenceStats(), { numClients: 2, numUsers: 2 });
    const page = await his.history({ limit: 2, reverse: true });
    assert.deepEqual(page.publications.map(({ data }) => value(data).number), [20, 19]);
    assert.deepEqual(offsets([page]), [20]);
  },

  async each_recovers_what_the_other_said() {
    const [ann, bob] = await both();
    const [hers, his] = [await subscribed(ann, "chat:recovery"), await subscribed(bob, "chat:recovery")];
    const heard = collect(his, "publication");
    await hers.publish(1);
    await heard.until(1);
    const back = event(his, "subscribed", (c) => c.wasRecovering);
    const gone = [ann, bob].map((each) => event(each, "connecting"));
    cut();
    await Promise.all(gone);
    await ann.ready();
    await hers.ready();
    for (let i = 2; i <= 10; i += 1) await hers.publish(i);
    assert.ok((await back).recovered);
    assert.deepEqual((await heard.until(10)).map(({ data }) => value(data)), Array.from({ length: 10 }, (_, i) => i + 1));
  },

  async bytes_that_are_not_json_are_base64_to_json_clients() {
    const [ann, bob] = await both();
    const [hers, his] = [await subscribed(ann, "chat:bytes"), await subscribed(bob, "chat:bytes")];
    const [she, he] = [collect(hers, "publication"), collect(his, "publication")];
    const raw = Buffer.from([0, 10, 255, 254]);
    await his.publish(raw);
    await his.publish(bytes("after"));
    assert.deepEqual((await she.until(2)).map(({ data }) => data), [raw.toString("base64"), "after"]);
    assert.deepEqual(Buffer.from((await he.until(2))[0].data), raw);
    const page = await hers.history({ limit: 1 });
    assert.equal(page.publications[0].data, raw.toString("base64"));
  },

  async errors_and_ends_are_the_same() {
    const [, bob] = await both();
    await assert.rejects(bob.rpc("anything", bytes({})), { code: 108 });
    await assert.rejects(bob.publish("closed:room", bytes({})), { code: 103 });
    const unknown = bob.newSubscription("nowhere:room");
    const gone = event(unknown, "unsubscribed");
    unknown.subscribe();
    assert.equal((await gone).code, 102);
    const end = event(bob, "disconnected");
    bob.publish("news", Buffer.alloc(2_000_000)).catch(() => {});
    assert.equal((await end).code, 3);
  },
});
