"""The unmodified PyPI SDK against an edge with a node: `python nodes.py SCENARIO TOKEN CHANNEL`."""

import asyncio
import sys

from centrifuge import Client, SubscriptionEventHandler
from lib import URL, soon


class Heard(SubscriptionEventHandler):
    def __init__(self):
        self.publications, self.subscribed, self.unsubscribed = (asyncio.Queue() for _ in range(3))

    async def on_publication(self, ctx):
        await self.publications.put(ctx.pub)

    async def on_subscribed(self, ctx):
        await self.subscribed.put(ctx)

    async def on_unsubscribed(self, ctx):
        await self.unsubscribed.put(ctx)


def said(word):
    print(word, flush=True)


async def heard(word):
    line = await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline), 60)
    assert line.strip() == word, line


async def subscribes_by_itself_and_recovers_from_the_store(token, channel):
    client = Client(URL, token=token, min_reconnect_delay=0.05, proxy=None)
    await client.connect()
    await soon(client.ready())
    events = Heard()
    room = client.new_subscription(channel, events=events)
    await room.subscribe()
    await soon(room.ready())
    await soon(events.subscribed.get())
    await room.publish({"body": "from the SDK"})
    first = await soon(events.publications.get())
    assert (first.offset, first.data["body"]) == (1, "from the SDK"), first
    assert first.info.user.endswith(first.data["sender"]), first.info
    await client.disconnect()
    said("away")
    await heard("posted")
    await client.connect()
    back = await soon(events.subscribed.get())
    assert back.recovered and back.was_recovering, back
    for number in range(200):
        publication = await soon(events.publications.get())
        assert (publication.offset, publication.data["body"]) == (number + 2, f"m{number}"), publication
    page = await room.history(limit=3, reverse=True)
    assert [publication.offset for publication in page.publications] == [201, 200, 199], page
    said("member")
    await soon(events.unsubscribed.get())
    await client.disconnect()


asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
