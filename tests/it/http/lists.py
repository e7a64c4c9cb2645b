"""A server of lists that change, for who polls.

lists.py LOG STATE [port]

Prints its port. STATE is a JSON file that is read for each request: `items` (a list), `size` (items a page), `fail` (statuses to answer
with first, one a request). Writes a line to LOG for each request: status, path, If-None-Match, Authorization.

/plain       all items, an ETag
/link        pages by the header Link
/cursor      pages by a cursor: {"data": {"items": […]}, "next": "…"}
/away        redirects to another server
/here        redirects to /plain
/long        more than anybody wants
"""

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

log = open(sys.argv[1], "a", buffering=1)
failures = 0


class Lists(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global failures
        with open(sys.argv[2]) as file:
            state = json.load(file)
        items, size = state["items"], state.get("size", 2)
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, headers, body = 200, {}, None
        if failures < len(state.get("fail", [])):
            status = state["fail"][failures]
            failures += 1
            headers, body = {"Retry-After": "0"}, {"message": "bad day"}
        elif url.path == "/plain":
            body = items
        elif url.path == "/link":
            page = int(query.get("page", "0"))
            body = items[page * size : (page + 1) * size]
            if len(items) > (page + 1) * size:
                headers["Link"] = f'</link?page=0>; rel="first", <?page={page + 1}>; rel="next"'
        elif url.path == "/cursor":
            start = int(query.get("cursor", "0"))
            part = items[start : start + size]
            following = start + len(part)
            more = following < len(items) or state.get("feed")
            body = {"data": {"items": part}, "next": str(following) if more else None}
        elif url.path in ("/away", "/here"):
            status = 302
            headers["Location"] = "/plain" if url.path == "/here" else f"http://localhost:{port}/plain"
            body = {}
        elif url.path == "/long":
            body = ["x" * 4_000_000]
        else:
            status, body = 404, {"message": "nothing here"}
        text = json.dumps(body).encode()
        if status == 200:
            headers["ETag"] = '"' + hashlib.sha256(text).hexdigest()[:16] + '"'
            if self.headers.get("if-none-match") == headers["ETag"]:
                status, text = 304, b""
        told = self.headers.get("if-none-match") is not None
        log.write(f"{status} {self.path} {told} {self.headers.get('authorization')} {self.headers.get('x-tenant')}\n")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0), Lists)
port = server.server_address[1]
print(port, flush=True)
server.serve_forever()
