# SPDX-License-Identifier: Apache-2.0
"""Bad requests, over raw sockets where no library would make them: each is refused as it should be, and
whatever clients do, the daemon goes on answering. No guest is needed."""

import base64
import io
import json
import select
import socket
import threading
import time
import zipfile

import daemon
import shared
from shared import call, eventually

FUNCTIONS = "/2015-03-31/functions"
EDGE = 52428800  # bytes of an archive


def archive_of(size):
    """A ZIP file of exactly so many bytes."""
    def packed(fill, comment):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
            made.writestr(zipfile.ZipInfo("app.py"), "")
            made.writestr(zipfile.ZipInfo("fill"), bytes(fill))
            made.comment = bytes(comment)
        return buffer.getvalue()

    beside = len(packed(0, 0))
    return packed(size - 1000, 1000 - beside)


def document(name="edge", **more):
    """The body of a CreateFunction that is good, or would be but for `more`; None takes one out."""
    body = {"FunctionName": name, "Runtime": "python3.11", "Role": shared.ROLE, "Handler": "app.handler",
            "Code": {"ZipFile": base64.b64encode(daemon.archive("actor")).decode()}, **more}
    return {key: value for key, value in body.items() if value is not None}


class Case(shared.Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.still_well)

    def still_well(self):
        began = time.monotonic()
        self.assertTrue(shared.service().health())
        self.assert_answer(call(shared.account(), "GET", FUNCTIONS), 200, None)
        self.assertLess(time.monotonic() - began, 5)

    def create(self, body, **more):
        return call(shared.account(), "POST", FUNCTIONS, body, {"Content-Type": "application/json"}, **more)

    def good(self, **more):
        body = document(**more)
        self.assert_answer(self.create(body), 201, None)
        self.assert_answer(call(shared.account(), "DELETE", f"{FUNCTIONS}/{body['FunctionName']}"), 204, None)

    def bad(self, code="ValidationException", **more):
        self.assert_answer(self.create(document(**more)), 400, code)

    def connect(self):
        made = socket.create_connection(("127.0.0.1", shared.service().port), timeout=60)
        self.addCleanup(made.close)
        return made

    def raw(self, data, seconds=60):
        """What comes back for these bytes, to the end of the connection."""
        made = self.connect()
        made.settimeout(seconds)
        try:
            made.sendall(data)
        except OSError:
            pass  # it may refuse early; what it said is still to be read
        answer = b""
        try:
            while True:
                more = made.recv(65536)
                if not more:
                    break
                answer += more
        except ConnectionResetError:
            pass
        return answer


    def head(self, body, method="POST", path=FUNCTIONS, length=None):
        """The signed head of a request, as text."""
        method, path, headers, _ = shared.signed(shared.account(), method, path, body)
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{shared.service().port}",
                 f"Content-Length: {len(body) if length is None else length}",
                 *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "\r\n"]).encode()


class Bodies(Case):
    def test_not_json(self):
        for body in (b"", b"{", b"nonsense", b"[]", b"\"text\"", b"null", b"{\"a\":}", b"\xff\xfe{}",
                     b"{\"FunctionName\":\"a\",}", b"[" * 100000, b"{\"a\":" * 20000, b"1" * 5000):
            with self.subTest(body[:20]):
                answer = self.create(body)
                self.assertEqual(answer.status, 400, str(answer))
                self.assertIn(answer.code, ("SerializationException", "ValidationException",
                                            "InvalidRequestContentException"))

    def test_wrong_types(self):
        wrong = {"FunctionName": (1, [], {}, True), "Timeout": ("3", 1.5, [], {}, True, 10**30),
                 "MemorySize": ("128", []), "Description": (5, {}), "Environment": ([], "x", 7),
                 "Layers": ({}, "x", [1], [[]]), "Tags": ([], {"a": 1}), "Code": ("x", [], 7),
                 "Publish": ("yes", 1), "SnapStart": ("PublishedVersions", []),
                 "EphemeralStorage": (512, []), "TracingConfig": ("Active",), "Architectures": ("x86_64",)}
        for name, values in wrong.items():
            for value in values:
                with self.subTest(f"{name} {value!r}"):
                    self.bad("SerializationException", **{name: value})
        self.bad("SerializationException", Environment={"Variables": {"A1": 1}})
        self.assertEqual(self.create(document(Code={"ZipFile": "not base64!"})).status, 400)

    def test_network(self):
        """A daemon without networks knows no subnet."""
        self.good(VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
        for vpc in ({"SubnetIds": ["subnet-egress"]}, {"SecurityGroupIds": ["sg-1"]}, {"Ipv6AllowedForDualStack": True}):
            self.bad("InvalidParameterValueException", VpcConfig=vpc)

    def test_missing(self):
        for name in ("FunctionName", "Role", "Code"):
            self.bad(**{name: None})
        for name in ("Runtime", "Handler"):
            self.bad("InvalidParameterValueException", **{name: None})
        self.bad("InvalidParameterValueException", Code={})

    def test_limits(self):
        """Each at its edge, and one past it."""
        self.good(name="n" * 64)
        self.bad(name="n" * 65)
        self.bad(name="")
        for name in ("a b", "a/b", "ü", "a:b:c:d", "../a", "a\n", "a\x00b"):
            self.assertEqual(self.create(document(name)).status, 400, name)
        for member, low, high in (("Timeout", 1, 900), ("MemorySize", 128, 10240)):
            self.good(**{member: low})
            self.good(**{member: high})
            self.bad(**{member: low - 1})
            self.bad(**{member: high + 1})
            self.bad(**{member: -1})
        for size in (512, 10240):
            self.good(EphemeralStorage={"Size": size})
        for size in (511, 10241):
            self.bad(EphemeralStorage={"Size": size})
        self.good(Description="ü" * 256)
        self.bad(Description="ü" * 257)
        self.good(Handler="h" * 128)
        self.bad(Handler="h" * 129)
        self.bad(Handler="a b")
        self.bad(Role="no role")
        self.bad(Runtime="cobol")
        self.bad(Architectures=["x86_64", "arm64"])
        self.bad(Architectures=[])
        self.bad("InvalidParameterValueException", Architectures=["arm64"])
        self.bad(SnapStart={"ApplyOn": "Always"})

    def test_limits_of_environment(self):
        fixed = len(json.dumps({"NAME": ""}, separators=(",", ":")))
        self.good(Environment={"Variables": {"NAME": "x" * (4096 - fixed)}})
        self.bad("InvalidParameterValueException", Environment={"Variables": {"NAME": "x" * (4097 - fixed)}})
        for name in ("1A", "A", "A-B", "", "A B", "_A"):
            self.bad(Environment={"Variables": {name: "x"}})
        for name in ("AWS_REGION", "LAMBDA_TASK_ROOT", "_HANDLER", "AWS_LAMBDA_RUNTIME_API"):
            self.assertEqual(self.create(document(Environment={"Variables": {name: "x"}})).status, 400, name)

    def test_limits_of_tags(self):
        self.good(Tags={f"k{number}": "v" for number in range(50)})
        self.assertEqual(self.create(document(Tags={f"k{number}": "v" for number in range(51)})).status, 400)
        self.good(Tags={"k" * 128: "v" * 256})
        self.bad(Tags={"k" * 129: "v"})
        self.bad(Tags={"k": "v" * 257})
        self.bad(Tags={"": "v"})
        self.assertEqual(self.create(document(Tags={"aws:k": "v"})).status, 400)

    def test_limits_of_layers(self):
        made = call(shared.account(), "POST", "/2018-10-31/layers/edge/versions",
                    {"Content": {"ZipFile": base64.b64encode(daemon.archive("layer")).decode()}}).json()
        arn = made["LayerVersionArn"]
        self.good(Layers=[arn])
        self.bad("InvalidParameterValueException", Layers=[arn] * 6)
        self.bad("InvalidParameterValueException", Layers=[arn[:-1] + "9"])
        self.bad(Layers=["edge"])
        self.bad(Layers=["edge:1"])
        self.assert_answer(call(shared.account(), "DELETE", "/2018-10-31/layers/edge/versions/1"), 204, None)

    def test_limit_of_archives(self):
        """An archive of the largest size, and one byte more; then a body that none may be."""
        for size, status in ((EDGE, 201), (EDGE + 1, 400)):
            answer = self.create(document(f"large-{status}", Code={
                "ZipFile": base64.b64encode(archive_of(size)).decode()}))
            self.assertEqual(answer.status, status, str(answer))
        self.assertIn(b"smaller than 52428800", answer.body)
        self.assert_answer(call(shared.account(), "DELETE", FUNCTIONS + "/large-201"), 204, None)
        body = json.dumps(document(Description="x" * (80 << 20))).encode()
        # It is refused before it is read, and cut when it goes on all the same.
        answer = self.raw(self.head(body) + body)
        self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1.1 413"), answer[:200])

    def test_limit_of_body(self):
        """Of an operation that takes no archive."""
        head = self.head(b"", "PUT", FUNCTIONS + "/edge/configuration", length=(1 << 20) + 1)
        answer = self.raw(head + b"x" * ((1 << 20) + 1))
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer[:200])


class Requests(Case):
    def test_methods_and_paths(self):
        for method, path, status in (
                ("PATCH", FUNCTIONS, (404, 405)), ("PUT", FUNCTIONS, (404, 405)),
                ("GET", "/", (404,)), ("GET", "/2015-03-31/", (404,)),
                ("GET", "/nonsense/" + "x" * 500, (404,)),
                ("GET", FUNCTIONS + "/" + "x" * 5000, (400, 404)), ("DELETE", FUNCTIONS, (404, 405)),
                ("GET", FUNCTIONS + "/a%00b", (400,)), ("GET", FUNCTIONS + "/a%zz", (400, 403)),
                ("GET", FUNCTIONS + "?MaxItems=0", (400,)), ("GET", FUNCTIONS + "?MaxItems=x", (400,)),
                ("GET", FUNCTIONS + "?MaxItems=10001", (400,)), ("GET", FUNCTIONS + "?Marker=%21", (400,)),
                ("GET", FUNCTIONS + "?FunctionVersion=SOME", (400,))):
            with self.subTest(f"{method} {path[:60]}"):
                answer = call(shared.account(), method, path)
                self.assertIn(answer.status, status, str(answer))
                self.assertTrue(answer.code, str(answer))

    def test_no_http(self):
        host = b"Host: localhost\r\n"
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET / HTTP/3.0\r\n\r\n",
                     b"GET / HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n", b"GET\r\n\r\n",
                     b"GET http://other/health HTTP/1.1\r\n" + host + b"\r\n",
                     b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                     b"POST / HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n\r\n",
                     b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 99999999999999999999\r\n\r\n",
                     b"POST / HTTP/1.1\r\n" + host
                     + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: gzip\r\n\r\n",
                     b"GET /health HTTP/1.1\r\n" + host + b"X: a\x01b\r\n\r\n",
                     b"GET /health HTTP/1.1\r\n" + host + b"X\x00: ab\r\n\r\n",
                     b"GET /health HTTP/1.1\r\n" + host + b" folded: x\r\n\r\n"):
            with self.subTest(data[:60]):
                answer = self.raw(data, 30)
                # Refused, or cut without a word where there is no HTTP to speak.
                self.assertFalse(answer.startswith(b"HTTP/1.1 2"), answer)
                if answer:
                    self.assertRegex(answer[:16], rb"^HTTP/1\.[01] [45]\d\d ")

    def test_large_head(self):
        began = time.monotonic()
        answer = self.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * (10 << 20)
                          + b"\r\n\r\n")
        self.assertTrue(answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400",
                                                            b"HTTP/1.1 414")), answer[:200])
        answer = self.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
                          + b"".join(b"X-%d: y\r\n" % number for number in range(200000)) + b"\r\n")
        self.assertFalse(answer.startswith(b"HTTP/1.1 2"), answer[:200])
        answer = self.raw(b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertFalse(answer.startswith(b"HTTP/1.1 2"), answer[:200])
        self.assertLess(time.monotonic() - began, 30)

    def test_pipelined(self):
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
        answer = self.raw((request + b"\r\n") * 20 + request + b"Connection: close\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK\r\n"), 21)
        self.assertEqual(answer.count(b"ok\n"), 21)
        # One after a request that is refused: no body of the first becomes a request.
        smuggled = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = self.raw(b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
                          b"Connection: close\r\n\r\n" % len(smuggled) + smuggled)
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
        self.assertIn(b"MissingAuthenticationToken", answer)

    def test_expect_continue(self):
        """A body that would be refused is not even asked for."""
        made = self.connect()
        made.sendall(b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                     b"Content-Length: 1000000\r\n\r\n")
        made.settimeout(20)
        self.assertRegex(made.recv(65536)[:16], rb"^HTTP/1\.1 403 ")


class Slow(Case):
    """Clients that take their time, all at once, for the time that the daemon gives them."""

    def test_slow(self):
        host = b"Host: localhost\r\n"
        silent = [self.connect() for _ in range(100)]
        lazy = [self.connect() for _ in range(10)]
        half = [self.connect() for _ in range(10)]
        body = json.dumps(document("half")).encode()
        for one in lazy:
            one.sendall(b"GET /health HTTP/1.1\r\n" + host)
        for one in half:
            one.sendall(self.head(body) + body[:len(body) // 2])
        # Two send a byte now and then.
        stop = threading.Event()

        def drip():
            while not stop.wait(1):
                for one in (*lazy[:5], *half[:5]):
                    try:
                        one.send(b"x")
                    except OSError:
                        pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        self.addCleanup(dripping.join)
        self.addCleanup(stop.set)
        for _ in range(5):
            self.still_well()
            time.sleep(0.2)

        def ended(sockets):
            readable, _, _ = select.select(sockets, [], [], 0)
            return len(readable) == len(sockets)

        # Ten seconds for a head; a body may go on for as long as it is quick enough.
        eventually(lambda: ended(lazy), 30)
        eventually(lambda: ended(half), 40)
        for one in lazy:
            self.assertRegex(one.recv(1000), rb"^(HTTP/1\.1 408 .*)?", "no answer but that")
        eventually(lambda: ended(silent), 90)
        for one in silent:
            self.assertEqual(one.recv(1000), b"")

    def test_half_sent(self):
        """Clients that leave in the middle."""
        body = json.dumps(document("gone")).encode()
        whole = self.head(body) + body
        for part in (5, 50, len(whole) - len(body) - 1, len(whole) - len(body), len(whole) - 1):
            for how in (socket.SHUT_WR, socket.SHUT_RDWR, None):
                one = self.connect()
                one.sendall(whole[:part])
                if how is not None:
                    one.shutdown(how)
                one.close()
        self.assert_answer(call(shared.account(), "GET", FUNCTIONS + "/gone"), 404,
                           "ResourceNotFoundException")


class Unsigned(Case):
    def test_open_paths(self):
        answer = shared.send("GET", "/metrics", {}, b"")
        self.assertEqual(answer.status, 200)
        self.assertIn(b"# TYPE ", answer.body)
        for method, path in (("POST", "/health"), ("GET", "/health/x"), ("GET", "/Health")):
            self.assertIn(shared.send(method, path, {}, b"").status, (403, 404, 405), path)
