"""What the scripts of the PyPI SDK share: where the edge is, payloads of either encoding, and waits with a deadline."""

import asyncio
import json
import os
import sys

URL = os.environ["HEADLAND_URL"]
WITHIN = 60
# `python FILE SCENARIO protobuf`: payloads are bytes.
PROTOBUF = sys.argv[2:] == ["protobuf"]


def payload(value):
    return json.dumps(value).encode() if PROTOBUF else value


def value(data):
    return json.loads(data) if PROTOBUF else data


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, WITHIN)
