"""What the example backend decides: one function for each event, which is told a request and answers a response, as in JSON."""

import time

refreshed = {}
"""How often each user and each subscription was given more time."""


def error(code, message, temporary=False):
    return {"error": {"code": code, "message": message, "temporary": temporary}}


def disconnect(code, reason):
    return {"disconnect": {"code": code, "reason": reason}}


def cookies(headers):
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}


def connect(request, headers):
    """Who it is, by a cookie, a field, or what the client says of itself."""
    data = request.get("data") or {}
    user = cookies(headers).get("sid") or headers.get("x-user") or data.get("user")
    if user == "mallory":
        return disconnect(4501, "banned")
    if not user:
        return error(1000, "who are you?")
    result = {
        "user": user,
        "info": {"name": user},
        "data": {"hello": user, "by": headers.get("x-key", "")},
        "meta": {"plan": f"{user}'s"},
    }
    if data.get("channels"):
        result["subs"] = {channel: {"data": {"topic": channel}} for channel in data["channels"]}
    if user.startswith("short"):
        result["expire_at"] = int(time.time()) + 2
    return {"result": result}


def more_time(key, times):
    """Two seconds more, so many times."""
    refreshed[key] = refreshed.get(key, 0) + 1
    over = refreshed[key] > times
    return {"result": {"expired": True} if over else {"expire_at": int(time.time()) + 2}}


def refresh(request, _):
    return more_time(request["user"], 1)


def subscribe(request, _):
    room, user = request["channel"].partition(":")[2], request["user"]
    if room == "kick":
        return disconnect(4000, "out")
    if room == "secret" and user != "ann":
        return error(403, "not for you")
    result = {"info": {"plan": request.get("meta", {}).get("plan")}, "data": {"room": room, "asked": request.get("data")}}
    if room == "short":
        result["expire_at"] = int(time.time()) + 2
    return {"result": result}


def sub_refresh(request, _):
    return more_time((request["user"], request["channel"]), 1)


def publish(request, _):
    data = request.get("data")
    if data == "spam":
        return error(1001, "no spam")
    if data == "as it is":
        return {}
    return {"result": {"data": {"said": data, "by": request["user"]}, "skip_history": data == "quiet"}}


def rpc(request, _):
    method = request["method"].rpartition(":")[2]
    if method == "echo":
        return {"result": {"data": request.get("data")}}
    if method == "whoami":
        return {"result": {"data": {"user": request["user"], "meta": request.get("meta")}}}
    return error(1002, f"no method {method}")


EVENTS = {rule.__name__: rule for rule in (connect, refresh, subscribe, sub_refresh, publish, rpc)}
