"""A receiver of webhooks that has bad days.

receiver.py LOG [fail=0.3] [busy=0.05] [slow=0.02] [refuse=K] [dead=K] [secret=whsec_…] [seed=1] [port=0]

Prints its port, then writes a line to LOG for each request: status, webhook-id, key, number, whether its signature holds. The
signature is checked by the library of Standard Webhooks. It answers 500 to a share `fail` of all requests, 429 with Retry-After to a share
`busy`, and takes its time for a share `slow`.
"""

import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

options = dict(argument.split("=", 1) for argument in sys.argv[2:])
chance = random.Random(int(options.get("seed", "1")))
fail, busy, slow = (float(options.get(name, "0")) for name in ("fail", "busy", "slow"))
log = open(sys.argv[1], "a", buffering=1)
lock = threading.Lock()
verifier = None
if "secret" in options:
    from standardwebhooks import Webhook

    verifier = Webhook(options["secret"])


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        with lock:
            draw, lazy = chance.random(), chance.random()
        if lazy < slow:
            time.sleep(0.05)
        status = 500 if draw < fail else 429 if draw < fail + busy else 200
        signed = "-"
        if verifier:
            try:
                verifier.verify(body, dict(self.headers))
                signed = "signed"
            except Exception as error:
                signed = type(error).__name__
        try:
            row = json.loads(body)
            row = row.get("data", row)
        except ValueError:
            row = {}
        text = b""
        if "refuse" in options and row.get("k") == int(options["refuse"]):
            status, text = 422, b"never\n"
        if "dead" in options and row.get("k") == int(options["dead"]):
            status = 500
        line = f"{status} {self.headers.get('webhook-id')} {row.get('k')} {row.get('n')} {signed} {self.path}\n"
        with lock:
            log.write(line)
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "1")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *arguments):
        """Whoever calls is killed now and then."""

    daemon_threads = True
    request_queue_size = 256


server = Server(("127.0.0.1", int(options.get("port", "0"))), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
