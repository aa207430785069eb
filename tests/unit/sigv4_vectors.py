#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Requests signed by a real client, botocore, for sigv4_verify to read: some as its Lambda client
sends them, and many stranger ones straight from its signers. Always the same ones.

One request is a block of lines "key value": name, now, method, path, query, header (NAME: VALUE,
any number), body (in hexadecimal), fixed (bytes of "path" or "body" that may change without
breaking the signature); then "end". The last line is "done COUNT"."""
import datetime
import io
import os
import random
import sys
import types
import zipfile
from urllib.parse import quote, urlsplit

# Where awscli is installed there is awscrt, and botocore signs with it then: it has a clock of its own.
sys.modules["awscrt"] = None

import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.session

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ENDPOINT = "http://127.0.0.1:9000"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:hello"

# Nothing of whoever runs this.
os.environ.update(AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
os.environ.pop("AWS_PROFILE", None)

count = 0
chance = random.Random(4)


class Clock(datetime.datetime):
    """botocore asks for the time; tests want the same answer each day."""
    current = datetime.datetime(2015, 8, 30, 12, 36, 0)

    @classmethod
    def utcnow(cls):
        return cls.current


botocore.auth.datetime = types.SimpleNamespace(datetime=Clock)


def show(name, method, url, headers, body, unsigned=False):
    global count
    count += 1
    parts = urlsplit(url)
    now = Clock.current.replace(tzinfo=datetime.timezone.utc)
    lines = [f"name {name}", f"now {int(now.timestamp())}", f"method {method}",
             f"path {parts.path}"]
    if parts.query:
        lines.append(f"query {parts.query}")
    pairs = [(key, value if isinstance(value, str) else value.decode()) for key, value in headers]
    if not any(key.lower() == "host" for key, value in pairs):
        pairs.append(("Host", parts.netloc))
    lines += [f"header {key}: {value}" for key, value in pairs]
    if hasattr(body, "read"):
        body = body.read()
    body = body.encode() if isinstance(body, str) else bytes(body or b"")
    lines.append(f"body {body.hex()}")
    # "/a/../b" is "/b", whatever the "a" is.
    if "/.." in parts.path:
        lines.append("fixed path")
    if unsigned:
        lines.append("fixed body")
    print("\n".join(lines) + "\nend")


# What the Lambda client sends.

class Answer(io.BytesIO):
    def stream(self):
        yield self.read()


def client_requests(token):
    session = botocore.session.Session()
    session.set_credentials(KEY_ID, SECRET, token)
    client = session.create_client("lambda", region_name="eu-central-1", endpoint_url=ENDPOINT,
                                   config=botocore.config.Config(retries={"max_attempts": 0}))
    caught = []

    def catch(request, **kwargs):
        caught.append(request)
        return botocore.awsrequest.AWSResponse(request.url, 200, {}, Answer(b"{}"))

    client.meta.events.register("before-send.lambda", catch)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(zipfile.ZipInfo("app.py"), "def handler(event, context):\n    return event\n")
    names = ["hello", "hello:$LATEST", "hello:live", "123456789012:hello", FUNCTION,
             FUNCTION + ":$LATEST", FUNCTION + ":7"]
    for name in names:
        client.invoke(FunctionName=name, Payload=b'{"a": "\xc3\xa9"}')
        client.invoke(FunctionName=name, Qualifier="$LATEST", InvocationType="Event",
                      LogType="Tail", ClientContext="eyJhIjoxfQ==", Payload=b"")
        client.get_function(FunctionName=name)
        client.delete_function(FunctionName=name, Qualifier="1")
        client.get_policy(FunctionName=name)
    client.create_function(
        FunctionName="hello", Runtime="python3.11", Handler="app.handler",
        Role="arn:aws:iam::123456789012:role/any", Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": {"A": "\u1234", "B": ""}}, Tags={"a b": "c/d"})
    client.list_functions(Marker="a/b+c d=&?#%\u1234", MaxItems=50, FunctionVersion="ALL")
    client.list_layers(CompatibleRuntime="python3.11")
    client.get_layer_version_by_arn(
        Arn="arn:aws:lambda:eu-central-1:123456789012:layer:my-layer:1")
    client.tag_resource(Resource=FUNCTION, Tags={"k": "v"})
    client.untag_resource(Resource=FUNCTION, TagKeys=["z", "a b", "a", "A", "a+b", "", "\u00e9=&"])
    client.remove_permission(FunctionName="hello", StatementId="s-1", RevisionId="r")
    client.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=0)
    client.update_alias(FunctionName="hello", Name="live", RoutingConfig={
        "AdditionalVersionWeights": {"2": 0.1}})
    for number, request in enumerate(caught):
        show(f"client-{number}", request.method, request.url, request.headers.items(), request.body)
    for number, name in enumerate(names):
        url = client.generate_presigned_url("get_function", ExpiresIn=60 + number,
                                            Params={"FunctionName": name, "Qualifier": "$LATEST"})
        show(f"client-presigned-{number}", "GET", url, [], b"")


# What the signers sign.

PATHS = ["", "/", "//", "/a", "/a/", "/a//b", "/./a", "/a/.", "/a/./b/", "/a/../b", "/../a", "/a/..",
         "/" + quote("a b"), "/" + quote("\u1234/\U0001f600"), "/" + quote("a/b", safe=""),
         "/a%2fb", "/a%2Fb%2F", "/%25", "/%2525", "/" + quote("$LATEST"), "/$LATEST",
         "/" + quote(FUNCTION, safe=""), "/" + FUNCTION, "/a:b", "/-._~!$&'()*+,;=:@", "/%41%7e",
         "/2015-03-31/functions/" + quote(FUNCTION + ":$LATEST", safe="") + "/invocations",
         "/2017-03-31/tags/" + quote(FUNCTION, safe=""), "/" + "long/" * 200, "/...", "/.a/..b/c..",
         "/a%00b", "/%ff%fe", "/a;b=c"]
NAMES = ["a", "A", "b", "a-b", "a.b", "Qualifier", "Marker", "tagKeys", "\u1234", "a b", "x=y", "",
         "%", "+", "a&b", "a/b", "~", "X-Amz-Meta"]
VALUES = ["", "1", "2", "$LATEST", "a b", "a+b", "a=b", "a&b", "a/b", "%20", FUNCTION, "\u00e9", "~",
          "\U0001f600", "*", "'()!", "a\tb", "x" * 300]
HEADERS = [("Content-Type", "application/json"), ("X-Amz-Invocation-Type", "Event"),
           ("X-Amz-Client-Context", "eyJhIjoxfQ=="), ("X-Custom", "  a   b  c "),
           ("X-Tabs", "a\t \tb"), ("x-empty", ""), ("X-Quotes", '"a   b"'),
           ("Accept", "*/*"), ("X-Colons", "a:b:c;d,e"), ("X-AMZ-Log-Type", "Tail"),
           ("Cache-Control", "no-cache"), ("X-Case", "MiXeD"), ("User-Agent", "not signed"),
           ("X-Amzn-Trace-Id", "Root=1-2-3")]
BODIES = [b"", b"{}", b'{"a":1}', bytes(range(256)), b"x" * 70000, "\u1234".encode()]
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
REGIONS = ["us-east-1", "eu-central-1", "ap-southeast-2", "us-gov-west-1", "local"]
DATES = [datetime.datetime(2015, 8, 30, 12, 36, 0), datetime.datetime(2016, 2, 29, 23, 59, 59),
         datetime.datetime(1999, 12, 31, 0, 0, 0), datetime.datetime(2038, 1, 19, 3, 14, 8)]


def query_text():
    """In any order, as often as one likes; encoded as specified, or botocore signs what is not."""
    pairs = []
    for _ in range(chance.choice([0, 0, 1, 2, 3, 8])):
        pair = quote(chance.choice(NAMES), safe="-_.~")
        value = quote(chance.choice(VALUES), safe="-_.~")
        pairs.append(f"{pair}={value}" if value or chance.random() < 0.5 else pair)
    if chance.random() < 0.1:
        pairs.append("")
    return "&".join(pairs)


def request(number, path):
    Clock.current = chance.choice(DATES)
    url = ENDPOINT + path
    params = {}
    if number % 3 == 0:
        # Encoded by botocore itself, with '+' for a space.
        for _ in range(chance.randrange(4)):
            params[chance.choice(NAMES) or "n"] = chance.choice(VALUES)
    else:
        query = query_text()
        url += "?" + query if query else ""
    body = chance.choice(BODIES)
    made = botocore.awsrequest.AWSRequest(method=chance.choice(METHODS), url=url, data=body,
                                          params=params)
    for name, value in chance.sample(HEADERS, chance.randrange(5)):
        made.headers[name] = value
    made.context["payload_signing_enabled"] = True
    return made


def signed(number, path):
    made = request(number, path)
    token = chance.choice([None, None, "a/token+with=signs"])
    if number % 5 == 0:
        made.headers["Date"] = "now"
    unsigned = number % 7 == 0
    if unsigned:
        # Over TLS only does botocore leave a body unsigned; it signs no more of the URL than here.
        made.url = made.url.replace("http:", "https:")
        made.context["payload_signing_enabled"] = False
    elif number % 4 == 0:
        made.headers["X-Amz-Content-SHA256"] = botocore.auth.SigV4Auth(None, "", "").payload(made)
    credentials = botocore.credentials.Credentials(KEY_ID, SECRET, token)
    botocore.auth.SigV4Auth(credentials, "lambda", chance.choice(REGIONS)).add_auth(made)
    prepared = made.prepare()
    show(f"signed-{number}", made.method, prepared.url, made.headers.items(), made.data, unsigned)


def presigned(number, path):
    made = request(number, path)
    made.params = {}
    # botocore takes a body for more parameters.
    made.data = b""
    token = chance.choice([None, "a/token+with=signs"])
    credentials = botocore.credentials.Credentials(KEY_ID, SECRET, token)
    botocore.auth.SigV4QueryAuth(credentials, "lambda", chance.choice(REGIONS),
                                 expires=chance.choice([1, 60, 3600, 604800])).add_auth(made)
    show(f"presigned-{number}", made.method, made.url, made.headers.items(), b"")


for session_token in (None, "a/token+with=signs"):
    client_requests(session_token)
for round_number in range(6):
    for place, each in enumerate(PATHS):
        signed(round_number * len(PATHS) + place, each)
for round_number in range(2):
    for place, each in enumerate(PATHS):
        presigned(round_number * len(PATHS) + place, each)
print(f"done {count}")
