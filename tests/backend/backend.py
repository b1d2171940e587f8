"""An example backend for the edge's proxy: `python backend.py http|grpc [PORT]`.

Prints the port it listens on, then does what it is told on stdin, a word per line: `slow` (answers after the deadline), `garbage`,
`status` (an error of its own), `well`; and `calls`, which prints how many requests of each event it has had.
"""

import json
import os
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import rules

SLOW_S = 3
mood = "well"
calls = Counter()


def wait_if_slow():
    if mood == "slow":
        time.sleep(SLOW_S)


class Handler(BaseHTTPRequestHandler):
    """One path for each event."""

    # Connections stay for the next request.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = self.path.strip("/")
        calls[event] += 1
        wait_if_slow()
        status = 500 if mood == "status" else 200
        if mood == "garbage":
            answer = b"<html>"
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = json.dumps(rules.EVENTS[event](json.loads(body), headers)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def http(port):
    server = Server(("127.0.0.1", port), Handler)
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def grpc(port):
    from concurrent import futures

    import grpc as library
    import proto

    package, methods = proto.read(os.environ["HEADLAND_PROXY_PROTO"])
    names = {"Connect": "connect", "Refresh": "refresh", "Subscribe": "subscribe", "SubRefresh": "sub_refresh"}
    names |= {"Publish": "publish", "RPC": "rpc"}

    def handler(name, request, response):
        def answer(message, context):
            calls[names[name]] += 1
            wait_if_slow()
            if mood == "status":
                context.abort(library.StatusCode.INTERNAL, "told to")
            if mood == "garbage":
                return b"\xff\xff"
            metadata = dict(context.invocation_metadata())
            return proto.from_dict(response, rules.EVENTS[names[name]](proto.to_dict(message), metadata))

        written = lambda said: said if isinstance(said, bytes) else said.SerializeToString()
        return library.unary_unary_rpc_method_handler(answer, request.FromString, written)

    handlers = {name: handler(name, *kinds) for name, kinds in methods.items()}
    server = library.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (library.method_handlers_generic_handler(f"{package}.CentrifugoProxy", handlers),)
    )
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    grpc.server = server
    return bound


serve = {"http": http, "grpc": grpc}[sys.argv[1]]
print(serve(int(sys.argv[2]) if len(sys.argv) > 2 else 0), flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "calls":
        print(json.dumps(calls), flush=True)
    else:
        mood = word
        print(word, flush=True)
os._exit(0)
