"""Long polling with nothing but Python's own HTTP client against a real edge: `python poll.py SCENARIO`."""

import http.client
import json
import os
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

import jwt_hs256

URL = urlsplit(os.environ["HEADLAND_URL"])
WITHIN = 60


def connection():
    context = ssl.create_default_context(cafile=os.environ["HEADLAND_CA"])
    return http.client.HTTPSConnection(URL.hostname, URL.port, timeout=WITHIN, context=context)


def poll(on, user, *commands, token=None):
    """One poll: the messages of its response."""
    connect = {"id": 1, "connect": {"token": token or jwt_hs256.token({"sub": user})}}
    numbered = [connect] + [{"id": i + 2, **command} for i, command in enumerate(commands)]
    on.request("POST", URL.path, "\n".join(map(json.dumps, numbered)), {"Content-Type": "application/json"})
    answer = on.getresponse()
    assert answer.status == 200, answer.status
    return [json.loads(line) for line in answer.read().decode().splitlines()]


def publish(channel, data):
    return {"publish": {"channel": channel, "data": data}}


def polls_chat_and_miss_nothing():
    ann, bob = connection(), connection()
    heard = []
    subscribe = {"channel": "chat:poll"}
    came = threading.Event()

    def listen():
        while len(heard) < 20:
            (*_, reply), *news = split(poll(ann, "ann", {"subscribe": subscribe}))
            result = reply["subscribe"]
            assert result.get("recovered", False) == subscribe.get("recover", False), result
            publications = result.get("publications", []) + [m["push"]["pub"] for m in news if "pub" in m.get("push", {})]
            heard.extend(p["data"] for p in publications)
            position = max([result.get("offset", 0)] + [p["offset"] for p in publications])
            subscribe.update(recover=True, epoch=result["epoch"], offset=position)
            came.set()

    def split(messages):
        replies = [m for m in messages if "id" in m]
        return (replies, *[m for m in messages if "id" not in m])

    listener = threading.Thread(target=listen)
    # The position to recover from: nothing is published before it is known.
    first = poll(ann, "ann", {"subscribe": dict(subscribe)})[1]["subscribe"]
    subscribe.update(recover=True, epoch=first["epoch"], offset=first.get("offset", 0))
    listener.start()
    for i in range(20):
        # Only subscribers may publish here: each command waits for the answer to the one before.
        said = poll(bob, "bob", {"subscribe": {"channel": "chat:poll"}}, publish("chat:poll", i))
        assert {"id": 3, "publish": {}} in said, said
    listener.join(WITHIN)
    assert heard == list(range(20)), heard
    assert came.is_set()


def a_poll_without_news_ends_in_time():
    ann = connection()
    begun = time.monotonic()
    messages = poll(ann, "ann", {"subscribe": {"channel": "news"}})
    assert 1 < time.monotonic() - begun < 10
    assert [m["id"] for m in messages] == [1, 2], messages
    assert "ping" not in messages[0]["connect"] and "session" not in messages[0]["connect"], messages
    # The same connection asks again.
    sock = ann.sock
    assert poll(ann, "ann", publish("news", {}))[1] == {"id": 2, "publish": {}}
    assert ann.sock is sock, "the connection was kept"


def a_poll_with_a_wrong_token_is_told_so():
    messages = poll(connection(), "ann", token=jwt_hs256.token({"sub": "ann"})[:-4] + "AAAA")
    assert messages == [{"push": {"disconnect": {"code": 3500, "reason": "invalid token"}}}], messages
    expired = jwt_hs256.token({"sub": "ann", "exp": int(time.time()) - 600})
    (message,) = poll(connection(), "ann", token=expired)
    assert message["error"]["code"] == 109, message


def two_requests_at_once_are_one_too_many():
    ann = connection()
    body = json.dumps({"id": 1, "connect": {"token": jwt_hs256.token({"sub": "ann"})}})
    request = f"POST {URL.path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ann.connect()
    ann.sock.sendall((request + request).encode())
    said = b""
    while part := ann.sock.recv(65536):
        said += part
    assert said.count(b"HTTP/1.1 200") == 1 and b'"code":3501' in said, said


globals()[sys.argv[1]]()
