# SPDX-License-Identifier: Apache-2.0
"""The daemon that most themes use together, with the functions that cost time to make:

    actor     functions/actor, with a layer and variables; versions 1 and 2 differ in code and are
              restored from snapshots (SnapStart)
    breaker   functions/breaker.c, a custom runtime that is booted and breaks when told to

Each is made when the first test asks for it; run.py ends the daemon.
"""

import base64
import collections
import hashlib
import http.client
import io
import json
import os
import time
import zipfile

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.session

import daemon
import shapes
import support

ROLE = "arn:aws:iam::123456789012:role/function"
# Guests start slowly where KVM is software.
CONFIG = botocore.config.Config(retries={"max_attempts": 0}, read_timeout=300, connect_timeout=10)
SNAPSHOT_LIMIT = 280  # seconds, for all that is in line before it
ACTOR_TIMEOUT = 60

_state = {}
_clients = []  # which hold connections


def service():
    """The daemon, running."""
    if "daemon" not in _state:
        _state["daemon"] = daemon.Daemon("--destination-private")
        _state["daemon"].start()
        service().health()
        _state["descriptors"] = service().descriptors()
    return _state["daemon"]


def account(name="first"):
    if ("account", name) not in _state:
        _state["account", name] = service().account(name)
    return _state["account", name]


def session():
    """boto3, with operations that are newer than Debian's."""
    if "session" not in _state:
        inner = botocore.session.get_session()
        inner.get_component("data_loader").search_paths.append(os.path.join(daemon.HERE, "models"))
        _state["session"] = boto3.session.Session(botocore_session=inner)
    return _state["session"]


def client(who=None, **options):
    """A client of boto3's whose responses are held against botocore's own model."""
    who = who or account()
    made = session().client("lambda", endpoint_url=service().url, region_name=daemon.REGION,
                        aws_access_key_id=who.key, aws_secret_access_key=who.secret,
                        config=options.pop("config", CONFIG), **options)
    shapes.watch(made)
    _clients.append(made)
    return made


# --- functions ---------------------------------------------------------------------------------------

def create(lambdas, name, **more):
    """A function of functions/actor that costs nothing until it is invoked."""
    options = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler",
               "Code": {"ZipFile": daemon.archive("actor")}, **more}
    return lambdas.create_function(FunctionName=name, **options)


def _make_actor():
    lambdas = client()
    layer = lambdas.publish_layer_version(LayerName="greeting", Description="says hello",
                                          Content={"ZipFile": daemon.archive("layer")},
                                          CompatibleRuntimes=["python3.9"], LicenseInfo="Apache-2.0")
    create(lambdas, "actor", Timeout=ACTOR_TIMEOUT, Layers=[layer["LayerVersionArn"]],
           Environment={"Variables": {"COLOUR": "green", "EMPTY": ""}},
           SnapStart={"ApplyOn": "PublishedVersions"})
    lambdas.publish_version(FunctionName="actor", Description="the first")
    lambdas.update_function_code(FunctionName="actor", Publish=True, ZipFile=daemon.archive(
        "actor", [('VERSION = "first"', 'VERSION = "second"')]))


def begin():
    """Has the snapshots of the actor made, which takes a while."""
    if "actor" not in _state:
        _state["actor"] = True
        _make_actor()


def actor(version=1):
    """The actor's qualifier for a version, which is ready."""
    begin()
    wait_for_version(client(), "actor", str(version))
    return str(version)


def wait_for_version(lambdas, name, version):
    if (name, version) in _state:
        return
    waiter = lambdas.get_waiter("published_version_active")
    waiter.wait(FunctionName=name, Qualifier=version,
                WaiterConfig={"Delay": 1, "MaxAttempts": SNAPSHOT_LIMIT})
    _state[name, version] = True


def breaker():
    """The breaker's name."""
    if "breaker" not in _state:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            info = zipfile.ZipInfo("bootstrap")
            info.external_attr = 0o755 << 16
            with open(os.path.join(support.BUILD, "tests", "clients", "breaker"), "rb") as file:
                packed.writestr(info, file.read(), zipfile.ZIP_DEFLATED)
        create(client(), "breaker", Runtime="provided.al2", Handler="none", Timeout=3,
               Code={"ZipFile": buffer.getvalue()})
        _state["breaker"] = True
    return "breaker"


def invoke(lambdas, event, name="actor", version=1, **more):
    """One invocation; payload (parsed) and response."""
    options = {"Qualifier": actor(version), **more} if name == "actor" else more
    response = lambdas.invoke(FunctionName=name, Payload=json.dumps(event), **options)
    text = response["Payload"].read()
    return json.loads(text) if text else None, response


def result(lambdas, event, **more):
    payload, response = invoke(lambdas, event, **more)
    if "FunctionError" in response:
        raise AssertionError(f"{event}: {payload}")
    return payload


def eventually(what, seconds=60, pause=0.1):
    """The first true value that a function gives, or AssertionError."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not after {seconds} s: {what()}")
        time.sleep(pause)


# --- requests that no library would make --------------------------------------------------------------

class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def code(self):
        return self.headers.get("x-amzn-ErrorType")

    def json(self):
        return json.loads(self.body)

    def __str__(self):
        return f"{self.status} {self.code} {self.body[:600]!r}"


def signed(who, method, path, body=b"", headers=None, region=daemon.REGION, url=None):
    """A signed request, to be sent as it is or tampered with: (method, url, headers, body)."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    # http.client sends no name of a user agent, and a body's type only if it is told.
    request = botocore.awsrequest.AWSRequest(method, (url or service().url) + path,
                                             headers or {}, body)
    key = botocore.credentials.Credentials(who.key, who.secret)
    botocore.auth.SigV4Auth(key, "lambda", region).add_auth(request)
    return method, path, dict(request.headers.items()), body


def send(method, path, headers, body, port=None, timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", port or service().port, timeout=timeout)
    try:
        connection.request(method, path, body, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def call(who, method, path, body=b"", headers=None, **more):
    """A signed request, sent."""
    return send(*signed(who, method, path, body, headers, **more))


def sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


# --- tests --------------------------------------------------------------------------------------------

class Case(support.unittest.TestCase):
    """Tests with the shared daemon."""

    maxDiff = 4000

    def setUp(self):
        self.began = time.monotonic()
        self.addCleanup(self.tell)

    def tell(self):
        support.say(f"  {self.id().rpartition('.')[2]}: {time.monotonic() - self.began:.1f} s")

    def refused(self, code, status, function, *arguments, **options):
        """A call of boto3's that must end with this error; its response."""
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            function(*arguments, **options)
        response = caught.exception.response
        self.assertEqual((response["Error"]["Code"],
                          response["ResponseMetadata"]["HTTPStatusCode"]), (code, status), response)
        return response

    def assert_answer(self, answer, status, code, message="."):
        self.assertEqual((answer.status, answer.code), (status, code), str(answer))
        if code:
            document = answer.json()
            self.assertRegex(document.get("message", document.get("Message")), message)


# --- the end ------------------------------------------------------------------------------------------

def finish():
    """Ends the daemon: what is wrong, {} if nothing."""
    if "daemon" not in _state:
        return {}
    wrong = {}
    try:
        wrong.update(_empty())
    except Exception as error:  # the daemon may be in any state
        wrong["deleting all"] = repr(error)
    wrong.update(service().stop())
    return wrong


def _empty():
    """Deletes all functions: then nothing may be held for them."""
    for who in [value for key, value in _state.items() if key[0] == "account"]:
        lambdas = client(who)
        for page in lambdas.get_paginator("list_functions").paginate():
            for function in page["Functions"]:
                lambdas.delete_function(FunctionName=function["FunctionName"])
    for one in _clients:
        one.close()
    before = _state["descriptors"]

    def extra():
        shells = service().shells()
        allowed = before + collections.Counter({"socket:": shells, "anon_inode:[pidfd]": shells})
        return {name: count - allowed[name] for name, count in service().descriptors().items()
                if count > allowed[name]}

    def quiet():
        return len(service().machines()) == service().shells() and not extra()

    try:
        # A snapshot that is being made, if only one theme was run, is ended first.
        eventually(quiet, 120)
    except AssertionError:
        return {"machines": service().machines(), "descriptors": extra()}
    return {}


def failed():
    """Prints what helps, after a failure."""
    if "daemon" in _state:
        service().print_log()


def remove():
    if "daemon" in _state:
        service().remove()
