"""The unmodified PyPI `cent` against a real edge, one scenario per run: `python api.py SCENARIO sync|async`.

Both of its clients are driven by the same scenarios: calls of the synchronous one are made in a thread.
"""

import asyncio
import base64
import json
import os
import sys
import time

import cent

URL, KEY = os.environ["HEADLAND_URL"], "a key of backends"


class Backend:
    """One of the library's clients: `await backend.publish(channel=..)` makes the request of that name and sends it."""

    def __init__(self, kind, key=KEY, **options):
        self.asynchronous = kind == "async"
        self.client = (cent.AsyncClient if self.asynchronous else cent.Client)(URL, key, **options)

    def __getattr__(self, method):
        name = "".join(part.capitalize() for part in method.split("_")) + "Request"
        return lambda **fields: self.send(method, getattr(cent, name)(**fields))

    async def send(self, method, request):
        call = getattr(self.client, method)
        return await call(request) if self.asynchronous else await asyncio.to_thread(call, request)

    async def refused(self, code, call):
        try:
            await call
        except cent.CentApiResponseError as error:
            assert error.code == code, error
        else:
            raise AssertionError(f"wanted error {code}")


def say(word):
    print(word, flush=True)


async def hear():
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def publishes(backend):
    first = await backend.publish(channel="chat:api", data={"n": 1}, tags={"t": "1"}, idempotency_key="k")
    again = await backend.publish(channel="chat:api", data={"n": 1}, tags={"t": "1"}, idempotency_key="k")
    assert (first.offset, again.offset) == (1, 1) and first.epoch == again.epoch != "", (first, again)
    binary = base64.b64encode(b'{"n":2}').decode()
    assert (await backend.publish(channel="chat:api", data={}, b64data=binary)).offset == 2
    assert (await backend.publish(channel="chat:api", data={"n": 3}, skip_history=True)).offset == 0
    many = await backend.broadcast(channels=["chat:api", "news", "nowhere:x"], data={"n": 4})
    assert many.responses[0].result.offset == 3 and many.responses[1].result.offset == 0, many
    assert many.responses[2].error.code == 102, many
    history = await backend.history(channel="chat:api", limit=10)
    assert [(p.offset, p.data) for p in history.publications] == [(1, {"n": 1}), (2, {"n": 2}), (3, {"n": 4})], history
    assert history.publications[0].tags == {"t": "1"} and history.epoch == first.epoch, history
    since = cent.StreamPosition(offset=1, epoch=first.epoch)
    later = await backend.history(channel="chat:api", limit=1, since=since)
    assert [p.offset for p in later.publications] == [2], later
    back = await backend.history(channel="chat:api", limit=1, reverse=True)
    assert [p.offset for p in back.publications] == [3], back
    await backend.history_remove(channel="chat:api")
    empty = await backend.history(channel="chat:api", limit=10)
    assert (empty.publications, empty.offset, empty.epoch) == ([], 3, first.epoch), empty
    for code, call in [
        (102, backend.publish(channel="nowhere:x", data={})),
        (107, backend.publish(channel="", data={})),
        (106, backend.publish(channel="x" * 300, data={})),
        (108, backend.history(channel="news")),
        (108, backend.presence(channel="news")),
        (108, backend.history_remove(channel="news")),
        (107, backend.broadcast(channels=[], data={})),
        (112, backend.history(channel="chat:api", limit=1, since=cent.StreamPosition(offset=9, epoch="AAAAAAAA"))),
    ]:
        await backend.refused(code, call)


async def asks_what_there_is(backend):
    # Ann (twice) and Bob are in chat:who, Ann in chat:other too.
    presence = (await backend.presence(channel="chat:who")).presence
    assert sorted(info.user for info in presence.values()) == ["ann", "ann", "bob"], presence
    assert all(client == info.client for client, info in presence.items()), presence
    stats = await backend.presence_stats(channel="chat:who")
    assert (stats.num_clients, stats.num_users) == (3, 2), stats
    channels = {name: info.num_clients for name, info in (await backend.channels()).channels.items()}
    assert channels == {"chat:who": 3, "chat:other": 1}, channels
    assert list((await backend.channels(pattern="*:w?o")).channels) == ["chat:who"]
    (node,) = (await backend.info()).nodes
    assert (node.num_clients, node.num_users, node.num_subs, node.num_channels) == (3, 2, 4, 2), node
    assert node.uid and node.name and node.version and node.metrics.items["publications"] >= 0, node


async def commands(backend):
    # What the test is told to do next, until it has no more.
    while (line := await hear()) != "end":
        method, fields = line.split(" ", 1)
        await getattr(backend, method)(**json.loads(fields))
        say("done")


async def batches(backend):
    requests = [
        cent.PublishRequest(channel="short:batch", data={"n": 1}),
        cent.BroadcastRequest(channels=["short:batch", "news"], data={"n": 2}),
        cent.HistoryRequest(channel="short:batch", limit=10),
        cent.PresenceStatsRequest(channel="chat:x"),
        cent.ChannelsRequest(),
        cent.InfoRequest(),
        cent.DisconnectRequest(user="nobody"),
    ]
    replies = (await backend.batch(requests=requests)).replies
    assert replies[0].offset == 1 and replies[1].responses[0].result.offset == 2, replies
    assert [p.data for p in replies[2].publications] == [{"n": 1}, {"n": 2}], replies
    assert replies[3].num_clients == 0 and replies[4].channels == {} and len(replies[5].nodes) == 1, replies
    many = [cent.PublishRequest(channel=f"short:{n}", data=n) for n in range(500)]
    replies = (await backend.batch(requests=many, parallel=True)).replies
    assert [reply.offset for reply in replies] == [1] * 500, replies


async def is_refused_without_the_key(kind):
    for key in ["", "another key"]:
        backend = Backend(kind, key)
        try:
            await backend.info()
        except cent.CentUnauthorizedError:
            continue
        raise AssertionError("wanted a refusal")


async def main(scenario, kind):
    if scenario == "is_refused_without_the_key":
        return await is_refused_without_the_key(kind)
    backend = Backend(kind)
    await globals()[scenario](backend)
    if backend.asynchronous:
        await backend.client.close()


asyncio.run(main(*sys.argv[1:]))
