"""Sessions that a backend decides on, with the unmodified PyPI SDK, one scenario per run: `python proxy.py SCENARIO`."""

import asyncio
import os
import ssl
import sys

from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler
from lib import PROTOBUF, URL, payload, soon, value


class Told(ClientEventHandler):
    def __init__(self):
        self.connected, self.disconnected = asyncio.Queue(), asyncio.Queue()

    async def on_connected(self, ctx):
        await self.connected.put(ctx)

    async def on_disconnected(self, ctx):
        await self.disconnected.put(ctx)


class Heard(SubscriptionEventHandler):
    def __init__(self):
        self.publications, self.unsubscribed = asyncio.Queue(), asyncio.Queue()

    async def on_publication(self, ctx):
        await self.publications.put(value(ctx.pub.data))

    async def on_unsubscribed(self, ctx):
        await self.unsubscribed.put(ctx)


async def client(who):
    context = ssl.create_default_context(cafile=os.environ["HEADLAND_CA"])
    told = Told()
    options = {"min_reconnect_delay": 0.05, "proxy": None, "use_protobuf": PROTOBUF, "events": told}
    made = Client(URL, ssl_context=context, data=payload(who), **options)
    await made.connect()
    return made, told


async def a_whole_session():
    ann, told = await client({"user": "ann"})
    await soon(ann.ready())
    assert value((await soon(told.connected.get())).data)["hello"] == "ann"
    heard = Heard()
    room = ann.new_subscription("rooms:open", events=heard)
    await room.subscribe()
    await soon(room.ready())
    await soon(room.publish(payload("hi")))
    assert await soon(heard.publications.get()) == {"said": "hi", "by": "ann"}
    try:
        await soon(room.publish(payload("spam")))
        raise AssertionError("spam was published")
    except ReplyError as error:
        assert error.code == 1001, error
    assert value((await soon(ann.rpc("echo", payload({"a": 1})))).data) == {"a": 1}
    assert value((await soon(ann.rpc("whoami", payload(None)))).data)["meta"] == {"plan": "ann's"}
    await ann.disconnect()
    bob, _ = await client({"user": "bob"})
    await soon(bob.ready())
    heard = Heard()
    room = bob.new_subscription("rooms:secret", events=heard)
    await room.subscribe()
    assert (await soon(heard.unsubscribed.get())).code == 403
    await bob.disconnect()


async def nobody_is_refused():
    _, told = await client({})
    end = await soon(told.disconnected.get())
    assert end.code == 1000 and end.reason == "who are you?", end


asyncio.run(globals()[sys.argv[1]]())
