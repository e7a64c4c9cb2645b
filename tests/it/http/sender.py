"""Signs and sends what its standard input says, one JSON object a line, and prints the status of each.

sender.py PORT KIND SECRET

KIND is standard-webhooks (by the library of Standard Webhooks), github or stripe (by hmac). A line has `body` and may have `id`, `age` (how
many seconds ago it was signed), and `damage`: what is changed after signing.
"""

import hashlib
import hmac
import http.client
import json
import sys
import time
from datetime import datetime, timedelta, timezone

port, kind, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if kind == "standard-webhooks":
    from standardwebhooks import Webhook

    signer = Webhook(secret)
print("ready", flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    body, age, damage = wanted["body"], wanted.get("age", 0), wanted.get("damage")
    moment = datetime.now(timezone.utc) - timedelta(seconds=age)
    headers = {"content-type": "application/json"}
    if kind == "standard-webhooks":
        identity = wanted.get("id", "msg_1")
        headers["webhook-id"] = identity
        headers["webhook-timestamp"] = str(int(moment.timestamp()))
        headers["webhook-signature"] = signer.sign(identity, moment, body)
    elif kind == "github":
        digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
        headers["x-hub-signature-256"] = "sha256=" + digest
    else:
        seconds = str(int(moment.timestamp()))
        digest = hmac.new(secret.encode(), (seconds + "." + body).encode(), hashlib.sha256).hexdigest()
        headers["stripe-signature"] = "t=" + seconds + ",v1=" + digest
    if damage == "body":
        body = body.replace("1", "2")
    elif damage == "signature":
        headers = {name: value for name, value in headers.items() if "signature" not in name}
    elif damage == "id":
        headers["webhook-id"] = "msg_2"
    elif damage == "time":
        headers["webhook-timestamp"] = str(int(time.time()) - 1)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/orders", body=body.encode(), headers=headers)
    print(connection.getresponse().status, flush=True)
    connection.close()
