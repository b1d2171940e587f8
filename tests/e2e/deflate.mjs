// npm `ws`, which offers permessage-deflate unless told otherwise: `node deflate.mjs SCENARIO`.
import { URL, WebSocket, assert, run, token, within } from "./lib.mjs";

/** A session subscribed to a channel: its socket, and its messages as they come. */
async function session(user, channel, options) {
  const socket = new WebSocket(URL, options);
  const heard = [];
  let wake = () => {};
  socket.on("message", (bytes) => {
    const messages = String(bytes).split("\n").map((line) => JSON.parse(line));
    heard.push(...messages.filter((message) => Object.keys(message).length > 0));
    wake();
  });
  await within("open", new Promise((resolve) => socket.on("open", resolve)));
  const next = async () => {
    while (heard.length === 0) await within("a message", new Promise((resolve) => (wake = resolve)));
    return heard.shift();
  };
  socket.send(JSON.stringify({ id: 1, connect: { token: token({ sub: user }) } }));
  socket.send(JSON.stringify({ id: 2, subscribe: { channel } }));
  assert.deepEqual([(await next()).id, (await next()).id], [1, 2]);
  const published = async () => {
    for (;;) {
      const { push, error } = await next();
      assert.equal(error, undefined);
      if (push) return push.pub.data;
    }
  };
  return { socket, published };
}

await run({
  async compression_is_agreed_and_works_both_ways() {
    const deflating = await session("ann", "news");
    const plain = await session("bob", "news", { perMessageDeflate: false });
    assert.equal(deflating.socket.extensions, "permessage-deflate");
    assert.equal(plain.socket.extensions, "");
    const bytes = [deflating, plain].map(({ socket }) => socket._socket.bytesRead);
    for (let n = 0; n < 20; n += 1) {
      const data = { n, text: `Größe ☕ ${n} `.repeat(n * 100) };
      const sender = n % 2 ? deflating : plain;
      sender.socket.send(JSON.stringify({ id: 3 + n, publish: { channel: "news", data } }));
      for (const { published } of [deflating, plain]) assert.deepEqual(await published(), data);
    }
    const [small, large] = [deflating, plain].map(({ socket }, i) => socket._socket.bytesRead - bytes[i]);
    assert.ok(small * 10 < large, `${small} and ${large} bytes`);
    for (const { socket } of [deflating, plain]) socket.close();
  },
});
