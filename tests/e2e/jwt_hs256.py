"""Tokens of the tests, signed with the shared secret in the environment."""

import base64
import hashlib
import hmac
import json
import os


def _part(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(claims):
    text = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    mac = hmac.new(os.environ["HEADLAND_SECRET"].encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{_part(mac)}"
