"""PyPI `websockets` as a client that only listens, against a real edge: `python uni.py SCENARIO`."""

import asyncio
import json
import os
import ssl
import sys
from urllib.parse import quote

import jwt_hs256
import websockets
from websockets.asyncio.client import connect

URL = os.environ["HEADLAND_URL"].replace("https:", "wss:")
WITHIN = 60


def options():
    context = ssl.create_default_context(cafile=os.environ["HEADLAND_CA"])
    return {"ssl": context, "proxy": None, "ping_interval": None}


heard = {}


async def message(socket):
    """The next message; one who also speaks may get several in a frame."""
    waiting = heard.setdefault(socket, [])
    if not waiting:
        frame = await asyncio.wait_for(socket.recv(), WITHIN)
        waiting.extend(json.loads(line) for line in frame.split("\n"))
    return waiting.pop(0)


async def a_listener_is_told_who_it_is_and_pinged():
    request = json.dumps({"token": jwt_hs256.token({"sub": "ann"}), "name": "uni"}, indent=1)
    for url, first in [(URL, request), (f"{URL}?cf_connect={quote(request)}", None)]:
        async with connect(url, **options()) as socket:
            if first:
                await socket.send(first)
            told = await message(socket)
            assert told["connect"]["client"] and told["connect"]["ping"] == 1, told
            assert "pong" not in told["connect"], told
            # The library answers the frames' pings by itself; the protocol's own need no answer.
            for _ in range(3):
                assert await message(socket) == {}
            await socket.send("this means nothing")
            assert await message(socket) == {}


async def a_listener_hears_the_channels_of_its_token():
    token = jwt_hs256.token({"sub": "ann", "channels": ["chat:uni"]})
    async with connect(URL, **options()) as listener, connect(URL.replace("uni_", ""), **options()) as socket:
        await listener.send(json.dumps({"token": token}))
        told = await message(listener)
        position = told["connect"]["subs"]["chat:uni"]
        assert position["recoverable"], told
        await socket.send(json.dumps({"id": 1, "connect": {"token": jwt_hs256.token({"sub": "bob"})}}))
        await socket.send(json.dumps({"id": 2, "subscribe": {"channel": "chat:uni"}}))
        assert (await pushed(socket))["id"] == 1
        while (await pushed(socket)).get("id") != 2:
            pass
        await socket.send(json.dumps({"id": 3, "publish": {"channel": "chat:uni", "data": "hello"}}))
        told = await pushed(listener)
        while "pub" not in told:
            assert told["channel"] == "chat:uni" and "join" in told, told
            told = await pushed(listener)
        assert told["channel"] == "chat:uni" and told["pub"]["data"] == "hello" and told["pub"]["offset"] == 1, told
    # Who comes again recovers from where it was.
    async with connect(URL, **options()) as listener:
        subs = {"chat:uni": {"recover": True, "epoch": position["epoch"], "offset": 0}}
        await listener.send(json.dumps({"token": token, "subs": subs}))
        again = (await message(listener))["connect"]["subs"]["chat:uni"]
        assert again["recovered"] and again["publications"][0]["data"] == "hello", again


async def pushed(socket):
    while (found := await message(socket)) == {}:
        pass
    return found


async def a_listener_with_a_wrong_token_is_told_and_closed():
    cases = [({"token": "nonsense"}, 3500), ({"token": jwt_hs256.token({"sub": "a", "exp": 1})}, 3005), ([], 3501)]
    for request, code in cases:
        async with connect(URL, **options()) as socket:
            await socket.send(json.dumps(request))
            told = await message(socket)
            assert told["disconnect"]["code"] == code, told
            try:
                await message(socket)
                raise AssertionError("the connection goes on")
            except websockets.ConnectionClosed as end:
                assert end.rcvd.code == code, end


asyncio.run(globals()[sys.argv[1]]())
