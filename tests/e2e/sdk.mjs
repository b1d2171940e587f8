// The unmodified npm SDK against a real edge, one scenario per run: `node sdk.mjs SCENARIO`.
import { UnauthorizedError, assert, client, collect, connected, cut, event, hear, run, say, seconds, subscribed, token, transport as way } from "./lib.mjs";

const data = ({ data }) => data;

await run({
  async connects_with_a_token() {
    const tab = client("ann");
    const context = event(tab, "connected");
    tab.connect();
    const { client: id, transport } = await context;
    assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.equal(transport, way);
    const left = event(tab, "disconnected");
    tab.disconnect();
    assert.equal((await left).code, 0);
  },

  async a_wrong_token_ends_the_session_for_good() {
    const tab = client("ann", { token: token({ sub: "ann" }).slice(0, -4) + "AAAA" });
    const end = event(tab, "disconnected");
    tab.connect();
    assert.equal((await end).code, 3500);
  },

  async an_expired_token_is_replaced() {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return token({ sub: "ann", exp: seconds(600) });
    };
    const tab = client("ann", { token: token({ sub: "ann", exp: seconds(-600) }), getToken });
    tab.connect();
    await tab.ready();
    assert.equal(asked, 1);
  },

  async a_token_about_to_expire_is_refreshed_in_the_same_session() {
    let asked = 0;
    const again = [];
    const getToken = async () => {
      asked += 1;
      again.forEach((resolve) => resolve());
      return token({ sub: "ann", exp: seconds(600) });
    };
    const tab = client("ann", { token: token({ sub: "ann", exp: seconds(3) }), getToken });
    const ends = collect(tab, "connecting");
    tab.connect();
    await tab.ready();
    await new Promise((resolve) => again.push(resolve));
    // Beyond the first token's life the session is still the same one.
    const room = await subscribed(tab, "news");
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await room.publish({ still: "here" });
    assert.equal(asked, 1);
    assert.equal(ends.found.length, 1, "it connected once");
  },

  async a_refused_refresh_ends_the_session() {
    const getToken = async () => {
      throw new UnauthorizedError();
    };
    const tab = client("ann", { token: token({ sub: "ann", exp: seconds(-600) }), getToken });
    const end = event(tab, "disconnected");
    tab.connect();
    assert.equal((await end).code, 1);
  },

  async nobody_without_a_token_where_that_is_off() {
    const tab = client(null);
    const end = event(tab, "disconnected");
    tab.connect();
    assert.ok([101, 3500, 3501].includes((await end).code));
  },

  async anybody_without_a_token_where_that_is_on() {
    const tab = await connected(null);
    const room = await subscribed(tab, "open:news");
    assert.equal(room.state, "subscribed");
  },

  async two_tabs_chat() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const rooms = [await subscribed(ann, "chat:lobby")];
    const joined = event(rooms[0], "join", ({ info }) => info.user === "bob");
    rooms.push(await subscribed(bob, "chat:lobby"));
    assert.deepEqual((await joined).info.connInfo, { name: "bob" });
    const heard = rooms.map((room) => collect(room, "publication"));
    for (let i = 0; i < 20; i += 1) await rooms[i % 2].publish({ text: `message ${i}`, "ünïcode": "☕\n\u2028" });
    for (const { until } of heard) {
      const found = await until(20);
      assert.deepEqual(found.map((p) => p.data.text), Array.from({ length: 20 }, (_, i) => `message ${i}`));
      assert.deepEqual(found.map((p) => p.offset), Array.from({ length: 20 }, (_, i) => i + 1));
      assert.equal(found[0].data["ünïcode"], "☕\n\u2028");
      assert.equal(found[1].info.user, "bob");
    }
    const { clients } = await rooms[0].presence();
    assert.deepEqual(Object.values(clients).map((info) => info.user).sort(), ["ann", "bob"]);
    assert.deepEqual(await rooms[1].presenceStats(), { numClients: 2, numUsers: 2 });
    const leaving = event(rooms[0], "leave", ({ info }) => info.user === "bob");
    bob.disconnect();
    await leaving;
    assert.deepEqual(await rooms[0].presenceStats(), { numClients: 1, numUsers: 1 });
  },

  async history_is_paged_forwards_and_backwards() {
    const tab = await connected("ann");
    const room = await subscribed(tab, "chat:pages");
    for (let i = 1; i <= 10; i += 1) await room.publish(i);
    const top = await room.history({ limit: 0 });
    assert.equal(top.offset, 10);
    assert.equal(top.publications.length, 0);
    const since = { offset: 3, epoch: top.epoch };
    assert.deepEqual((await room.history({ limit: 4, since })).publications.map(data), [4, 5, 6, 7]);
    assert.deepEqual((await room.history({ limit: 3, reverse: true })).publications.map(data), [10, 9, 8]);
    assert.deepEqual((await room.history({ limit: -1 })).publications.map(data).length, 10);
  },

  async what_was_missed_is_recovered_after_leaving() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const [hers, his] = [await subscribed(ann, "chat:missed"), await subscribed(bob, "chat:missed")];
    const heard = collect(hers, "publication");
    await his.publish(1);
    await heard.until(1);
    ann.disconnect();
    for (let i = 2; i <= 30; i += 1) await his.publish(i);
    const back = event(hers, "subscribed");
    ann.connect();
    const context = await back;
    assert.ok(context.wasRecovering && context.recovered, JSON.stringify(context));
    await his.publish(31);
    assert.deepEqual((await heard.until(31)).map(data), Array.from({ length: 31 }, (_, i) => i + 1));
  },

  async what_was_missed_is_recovered_after_the_wire_was_cut() {
    const ann = await connected("ann", { minReconnectDelay: 1_500, maxReconnectDelay: 2_000 });
    const hers = await subscribed(ann, "chat:cut");
    const heard = collect(hers, "publication");
    await hers.publish(1);
    await heard.until(1);
    const [gone, back] = [event(ann, "connecting"), event(hers, "subscribed", (c) => c.wasRecovering)];
    cut();
    await gone;
    // Bob comes while Ann waits for her next try.
    const bob = await connected("bob");
    const his = await subscribed(bob, "chat:cut");
    for (let i = 2; i <= 10; i += 1) await his.publish(i);
    assert.ok((await back).recovered);
    assert.deepEqual((await heard.until(10)).map(data), Array.from({ length: 10 }, (_, i) => i + 1));
  },

  async what_history_has_forgotten_is_told_and_not_recovered() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const hers = await subscribed(ann, "short:lost");
    const heard = collect(hers, "publication");
    await bob.publish("short:lost", 1);
    await heard.until(1);
    ann.disconnect();
    for (let i = 2; i <= 9; i += 1) await bob.publish("short:lost", i);
    const back = event(hers, "subscribed");
    ann.connect();
    const context = await back;
    assert.ok(context.wasRecovering && !context.recovered, JSON.stringify(context));
    await bob.publish("short:lost", 10);
    assert.deepEqual((await heard.until(2)).map(data), [1, 10]);
  },

  async unsubscribed_means_silence() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const hers = await subscribed(ann, "news");
    const heard = collect(hers, "publication");
    await bob.publish("news", "before");
    await heard.until(1);
    const gone = event(hers, "unsubscribed");
    hers.unsubscribe();
    assert.equal((await gone).code, 0);
    await ann.rpc("a round trip", {}).catch(() => {});
    await bob.publish("news", "after");
    hers.subscribe();
    await hers.ready();
    await bob.publish("news", "again");
    assert.deepEqual((await heard.until(2)).map(data), ["before", "again"]);
  },

  async rpc_is_not_available_and_send_is_silent() {
    const tab = await connected("ann");
    await assert.rejects(tab.rpc("anything", { x: 1 }), { code: 108 });
    await tab.send({ into: "the void" });
    await assert.rejects(tab.rpc("still there?", {}), { code: 108 });
  },

  async what_is_not_allowed_is_refused_for_good() {
    const tab = await connected("ann");
    const refused = tab.newSubscription("closed:room");
    const end = event(refused, "unsubscribed");
    refused.subscribe();
    assert.equal((await end).code, 103);
    const unknown = tab.newSubscription("nowhere:room");
    const gone = event(unknown, "unsubscribed");
    unknown.subscribe();
    assert.equal((await gone).code, 102);
    await assert.rejects(tab.publish("closed:room", {}), { code: 103 });
    await assert.rejects(tab.presence("news"), (error) => [103, 108].includes(error.code));
    await assert.rejects(tab.history("closed:room"), (error) => [103, 108].includes(error.code));
  },

  async many_commands_in_one_frame() {
    const tab = client("ann");
    const rooms = Array.from({ length: 100 }, (_, i) => tab.newSubscription(`chat:many-${i}`));
    rooms.forEach((room) => room.subscribe());
    tab.connect();
    await Promise.all(rooms.map((room) => room.ready()));
    const heard = rooms.map((room) => collect(room, "publication"));
    tab.startBatching();
    const sent = rooms.map((room, i) => room.publish(i));
    tab.stopBatching();
    await Promise.all(sent);
    for (const [i, { until }] of heard.entries()) assert.deepEqual((await until(1)).map(data), [i]);
    const all = await Promise.all(rooms.map((room) => room.presenceStats()));
    assert.ok(all.every(({ numClients }) => numClients === 1));
  },

  async a_subscription_too_many_is_refused() {
    const tab = await connected("ann");
    for (let i = 0; i < 128; i += 1) tab.newSubscription(`news-${i}`).subscribe();
    await Promise.all(Object.values(tab.subscriptions()).map((room) => room.ready()));
    const tooMany = tab.newSubscription("news-128");
    const end = event(tooMany, "unsubscribed");
    tooMany.subscribe();
    assert.equal((await end).code, 106);
  },

  async large_messages_pass_and_larger_ones_end_the_session() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const heard = collect(await subscribed(bob, "news"), "publication");
    const large = "x".repeat(60_000);
    await ann.publish("news", large);
    assert.equal((await heard.until(1))[0].data, large);
    const end = event(ann, "disconnected");
    ann.publish("news", "x".repeat(2_000_000)).catch(() => {});
    // The SDK has a code of its own for the close code 1009, after which it does not come back.
    assert.deepEqual({ ...(await end) }, { code: 3, reason: "message size limit exceeded" });
    await bob.publish("news", "unharmed");
    assert.equal((await heard.until(2))[1].data, "unharmed");
  },

  async order_holds_under_load() {
    const tabs = await Promise.all(Array.from({ length: 8 }, (_, i) => connected(`user-${i}`)));
    const rooms = await Promise.all(tabs.map((tab) => subscribed(tab, "news")));
    const heard = rooms.map((room) => collect(room, "publication"));
    const each = 100;
    await Promise.all(
      rooms.map((room, who) => Promise.all(Array.from({ length: each }, (_, i) => room.publish({ who, i })))),
    );
    const lists = await Promise.all(heard.map(({ until }) => until(each * tabs.length)));
    for (const list of lists) {
      assert.deepEqual(list.map(data), lists[0].map(data), "everybody sees one order");
      for (let who = 0; who < tabs.length; who += 1) {
        const own = list.map(data).filter((d) => d.who === who).map((d) => d.i);
        assert.deepEqual(own, Array.from({ length: each }, (_, i) => i));
      }
    }
  },

  async pings_are_answered_by_the_sdk() {
    const tab = await connected("ann");
    const changes = collect(tab, "connecting");
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    await assert.rejects(tab.rpc("still there?", {}), { code: 108 });
    assert.equal(changes.found.length, 0, "the session lived through several pings");
  },

  // The test kills the relay and starts it again at our words.
  async a_lost_relay_is_a_pause() {
    const [ann, bob] = await Promise.all([connected("ann"), connected("bob")]);
    const [hers, his] = [await subscribed(ann, "chat:loss"), await subscribed(bob, "chat:loss")];
    const heard = collect(hers, "publication");
    await his.publish("before");
    await heard.until(1);
    const ends = [collect(ann, "connecting"), collect(bob, "connecting")];
    say("kill");
    await hear("killed");
    await assert.rejects(his.publish("meanwhile"), (error) => error.temporary === true || error.code === 100);
    say("start");
    await hear("started");
    // What is published while Ann's subscription is being restored may pass her by: the relay's memory is gone.
    const again = setInterval(() => his.publish("after").catch((error) => assert.equal(error.code, 100)), 50);
    await heard.until(2);
    clearInterval(again);
    assert.deepEqual(heard.found.slice(0, 2).map(data), ["before", "after"]);
    assert.ok(ends.every(({ found }) => found.length === 0), "no client was disconnected");
    const { clients } = await hers.presence();
    assert.deepEqual(Object.values(clients).map((info) => info.user).sort(), ["ann", "bob"], "presence is restored");
  },

  // The test restarts the gateway, or closes clients, at our word.
  async a_lost_gateway_is_a_reconnect() {
    const ann = await connected("ann");
    const hers = await subscribed(ann, "chat:gateway");
    const heard = collect(hers, "publication");
    await hers.publish(1);
    await heard.until(1);
    const back = event(hers, "subscribed", (c) => c.wasRecovering);
    say("restart");
    await hear("restarted");
    assert.ok((await back).recovered);
    await hers.publish(2);
    assert.deepEqual((await heard.until(2)).map(data), [1, 2]);
  },
});
