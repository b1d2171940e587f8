"""An independent WebSocket implementation (PyPI `websockets`) against a real edge: `python frames.py SCENARIO`."""

import asyncio
import json
import os
import ssl
import sys

import jwt_hs256
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.asyncio.client import connect

URL = os.environ["HEADLAND_URL"]
WITHIN = 60


def options(**more):
    context = ssl.create_default_context(cafile=os.environ["HEADLAND_CA"]) if URL.startswith("wss:") else None
    return {"ssl": context, "proxy": None, "ping_interval": None, "max_size": None, **more}


def connect_command(number=1):
    return json.dumps({"id": number, "connect": {"token": jwt_hs256.token({"sub": "ann"})}})


async def replies(socket, count):
    """The next so many replies and pushes; pings are answered."""
    found = []
    while len(found) < count:
        frame = await asyncio.wait_for(socket.recv(), WITHIN)
        assert isinstance(frame, str), "JSON comes in text frames"
        for line in frame.split("\n"):
            message = json.loads(line)
            if message == {}:
                await socket.send("{}")
            else:
                found.append(message)
    return found


async def closed(socket):
    try:
        while True:
            await asyncio.wait_for(socket.recv(), WITHIN)
    except websockets.ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 1006


async def fragments_and_control_frames_in_between():
    async with connect(URL, **options()) as socket:
        command = connect_command()

        async def pieces():
            for start in range(0, len(command), 7):
                yield command[start : start + 7]
                await (await socket.ping(b"in between"))

        await socket.send(pieces())
        (reply,) = await replies(socket, 1)
        assert reply["connect"]["client"], reply
        await socket.close(1000, "bye")
        assert socket.close_code == 1000, socket.close_code


async def a_ping_of_125_bytes_comes_back():
    async with connect(URL, **options()) as socket:
        await asyncio.wait_for(await socket.ping(b"p" * 125), WITHIN)


async def no_extension_is_agreed_when_one_is_offered():
    async with connect(URL, **options(compression="deflate")) as socket:
        assert not socket.protocol.extensions, socket.protocol.extensions
        await socket.send(connect_command())
        await replies(socket, 1)


async def published(socket):
    while "push" not in (message := (await replies(socket, 1))[0]):
        assert "error" not in message, message
    return message["push"]["pub"]["data"]


async def compression_is_agreed_without_context_takeover_and_works_both_ways():
    async with connect(URL, **options()) as deflating, connect(URL, **options(compression=None)) as plain:
        (extension,) = deflating.protocol.extensions
        assert extension.name == "permessage-deflate", extension
        assert extension.remote_no_context_takeover and extension.local_no_context_takeover, extension
        assert not plain.protocol.extensions, plain.protocol.extensions
        for socket in (deflating, plain):
            await socket.send(connect_command())
            await socket.send(json.dumps({"id": 2, "subscribe": {"channel": "news"}}))
            await replies(socket, 2)
        for number in range(50):
            data = {"n": number, "text": "Größe ☕ " * number * 10}
            command = json.dumps({"id": 3 + number, "publish": {"channel": "news", "data": data}})
            await (deflating, plain)[number % 2].send(command if number % 3 else [command[:9], command[9:]])
            for socket in (deflating, plain):
                assert await published(socket) == data


async def a_bomb_ends_with_1009():
    async with connect(URL, **options()) as socket:
        assert socket.protocol.extensions
        await socket.send(" " * 20_000_000)
        assert await closed(socket) == 1009


async def a_window_that_cannot_be_promised_is_declined():
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=10)
    async with connect(URL, **options(compression=None, extensions=[factory])) as socket:
        assert not socket.protocol.extensions, socket.protocol.extensions
        await socket.send(connect_command())
        await replies(socket, 1)


async def the_json_subprotocol_is_agreed():
    async with connect(URL, **options(subprotocols=["unknown", "centrifuge-json"])) as socket:
        assert socket.subprotocol == "centrifuge-json", socket.subprotocol
        await socket.send(connect_command())
        await replies(socket, 1)


async def many_commands_in_one_frame_are_answered_in_order():
    async with connect(URL, **options()) as socket:
        subscribes = [{"id": i, "subscribe": {"channel": f"news-{i}"}} for i in range(2, 102)]
        await socket.send("\n".join([connect_command(), *map(json.dumps, subscribes)]))
        got = await replies(socket, 101)
        assert sorted(reply["id"] for reply in got) == list(range(1, 102)), got
        assert not any("error" in reply for reply in got), got


async def binary_frames_are_refused_by_the_protocols_code():
    async with connect(URL, **options()) as socket:
        await socket.send(b"\x00")
        assert await closed(socket) in (1003, 3501, 3506)


async def text_that_is_not_utf8_ends_with_1007():
    async with connect(URL, **options()) as socket:
        await socket.send(b"\xff\xfe", text=True)
        assert await closed(socket) == 1007


asyncio.run(globals()[sys.argv[1]]())
