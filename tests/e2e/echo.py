"""Two independent WebSocket implementations (PyPI `websockets` and `wsproto`) against a gateway that echoes: `python echo.py NAME`."""

import asyncio
import os
import socket
import ssl
import sys
import urllib.parse

from websockets.asyncio.client import connect
from wsproto import ConnectionType, WSConnection
from wsproto import events as said
from wsproto.extensions import PerMessageDeflate

URL = os.environ["HEADLAND_URL"]
WITHIN = 60
TEXTS = ["", "a", "κόσμε", "x" * 65535, "🦀" * 300_000]
BYTES = [b"", b"\x00\xff", bytes(range(256)) * 4096]
SECURE = ssl.create_default_context(cafile=os.environ["HEADLAND_CA"]) if URL.startswith("wss:") else None


async def by_websockets(compressed=False):
    async with connect(URL, ssl=SECURE, proxy=None, ping_interval=None, max_size=None) as peer:
        assert bool(peer.protocol.extensions) == compressed, peer.protocol.extensions
        for message in TEXTS + BYTES:
            await peer.send(message)
            assert await asyncio.wait_for(peer.recv(), WITHIN) == message, len(message)
        await peer.send(iter(["frag", "ments", "", " of ", "text"]))
        assert await asyncio.wait_for(peer.recv(), WITHIN) == "fragments of text"
        await peer.send(iter([b"\x00" * 100_000] * 20))
        assert await asyncio.wait_for(peer.recv(), WITHIN) == b"\x00" * 2_000_000
        await asyncio.wait_for(await peer.ping(b"p" * 125), WITHIN)
        # More at once than may wait for one that does not read: it is read from again as it reads.
        many = [f"{number} {'y' * 5000}" for number in range(500)]
        sending = asyncio.create_task(send_all(peer, many))
        for message in many:
            assert await asyncio.wait_for(peer.recv(), WITHIN) == message, message[:10]
        await sending
        await peer.close(4321, "over")
        assert peer.close_code == 4321, peer.close_code


async def deflate_by_websockets():
    await by_websockets(compressed=True)


async def send_all(peer, messages):
    for message in messages:
        await peer.send(message)


class Wsproto:
    def __init__(self):
        url = urllib.parse.urlsplit(URL)
        self.stream = socket.create_connection((url.hostname, url.port), timeout=WITHIN)
        if SECURE:
            self.stream = SECURE.wrap_socket(self.stream, server_hostname=url.hostname)
        self.peer = WSConnection(ConnectionType.CLIENT)
        self.heard = []
        self.say(said.Request(host=url.netloc, target=url.path, extensions=[PerMessageDeflate()]))
        accepted = self.hear()
        assert isinstance(accepted, said.AcceptConnection)
        self.compressed = bool(accepted.extensions)

    def say(self, event):
        self.stream.sendall(self.peer.send(event))

    def hear(self):
        while not self.heard:
            data = self.stream.recv(65536)
            self.peer.receive_data(data or None)
            self.heard.extend(self.peer.events())
        return self.heard.pop(0)

    def message(self):
        parts = [self.hear()]
        while not parts[-1].message_finished:
            parts.append(self.hear())
        assert len({type(part) for part in parts}) == 1, parts
        return parts[0].data[:0].join(part.data for part in parts)


async def by_wsproto(compressed=False):
    client = Wsproto()
    assert client.compressed == compressed
    for message in TEXTS + BYTES:
        client.say(said.Message(data=message) if isinstance(message, str) else said.BytesMessage(data=message))
        assert client.message() == message, len(message)
    for index, part in enumerate(["frag", "ments", "", " of ", "text"]):
        client.say(said.TextMessage(data=part, message_finished=index == 4))
        if index == 2:
            client.say(said.Ping(payload=b"in between"))
            assert client.hear() == said.Pong(payload=b"in between")
    assert client.message() == "fragments of text"
    client.say(said.CloseConnection(code=4321, reason="over"))
    end = client.hear()
    assert isinstance(end, said.CloseConnection) and end.code == 4321, end


async def deflate_by_wsproto():
    await by_wsproto(compressed=True)


asyncio.run(globals()[sys.argv[1]]())
