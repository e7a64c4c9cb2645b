"""A server of S3 for the tests: moto, with one bucket, that looks at who signs requests.

Prints its port and the credentials of one who may use it as a line of JSON, and serves until standard input ends.
`python3 s3_server.py [PORT]`
"""

import json
import os
import sys
from urllib.parse import quote, unquote

import boto3
import requests
from botocore.config import Config
from moto.iam.access_control import S3IAMRequest
from moto.server import ThreadedMotoServer

as_it_came = S3IAMRequest._create_aws_request


def as_it_was_signed(request):
    """The server looks at signatures of queries as if nothing in them had been escaped; what is signed is the escaped text."""
    path, mark, query = request._path.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    escaped = [quote(unquote(name), safe="") + "=" + quote(unquote(value), safe="") for name, _, value in pairs]
    request._path = path + mark + ("&".join(escaped) if mark else "")
    return as_it_came(request)


S3IAMRequest._create_aws_request = as_it_was_signed

port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"


def client(name):
    return boto3.client(
        name,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="setup",
        aws_secret_access_key="setup",
        config=Config(proxies={}),
    )


client("s3").create_bucket(Bucket="states")
iam = client("iam")
iam.create_user(UserName="app")
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="app", PolicyName="s3", PolicyDocument=json.dumps(everything))
key = iam.create_access_key(UserName="app")["AccessKey"]
# From here on signatures are looked at.
requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
print(json.dumps({"port": port, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
# Without waiting for connections that are still open.
os._exit(0)
