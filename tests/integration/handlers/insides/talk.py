# SPDX-License-Identifier: Apache-2.0
"""Talks to the agent's Runtime API as no runtime does."""

import errno
import json
import os
import socket
import sys
import threading
import time

HOST, PORT = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
PREFIX = "/2018-06-01/runtime"
OTHER = "00000000-0000-4000-8000-000000000000"
HELD = []


def connect(seconds=5):
    return socket.create_connection((HOST, int(PORT)), seconds)


def exchange(data):
    """The status of the answer, or why there is none."""
    try:
        with connect() as connection:
            connection.sendall(data)
            answer = b""
            connection.settimeout(0.5)
            while b"\r\n\r\n" not in answer:
                piece = connection.recv(4096)
                if not piece:
                    break
                answer += piece
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return int(answer.split(b" ", 2)[1]) if answer else None


def request(method, path, body=b"", headers=(), length=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: agent",
             f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def forge(own):
    """{what was tried: what it was answered}. `own` is the request id of the invocation under way, which
    still has to be answered when this is over."""
    error = json.dumps({"errorType": "E", "errorMessage": "forged"}).encode()
    tries = {
        "response to another": request("POST", f"{PREFIX}/invocation/{OTHER}/response", b'"forged"'),
        "error of another": request("POST", f"{PREFIX}/invocation/{OTHER}/error", error),
        "response to none": request("POST", f"{PREFIX}/invocation//response", b'"forged"'),
        "init error": request("POST", f"{PREFIX}/init/error", error),
        "restore error": request("POST", f"{PREFIX}/restore/error", error),
        "restore next": request("GET", f"{PREFIX}/restore/next"),
        "another next": request("GET", f"{PREFIX}/invocation/next"),
        "no such path": request("GET", "/"),
        "wrong method": request("DELETE", f"{PREFIX}/invocation/next"),
        "no version": b"GET /\r\n\r\n",
        "a giant head": b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n",
        "many fields": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "negative length": request("POST", f"{PREFIX}/invocation/{own}/response", b"", length=-1),
        "endless length": request("POST", f"{PREFIX}/invocation/{OTHER}/response", b"", length=1 << 70),
        "bytes": bytes(range(256)) * 64,
        "control bytes": b"GET /\x00\x01 HTTP/1.1\r\nX: \x00\r\n\r\n",
        "an odd mode": request("POST", f"{PREFIX}/invocation/{own}/response", b'"forged"',
                               ["Lambda-Runtime-Function-Response-Mode: backwards"]),
    }
    return {name: exchange(data) for name, data in tries.items()}


def answer_twice(own):
    """The first answer counts; all others are refused."""
    told = [exchange(request("POST", f"{PREFIX}/invocation/{own}/response", b'"first"'))]
    for body in (b'"second"', b'"third"'):
        told.append(exchange(request("POST", f"{PREFIX}/invocation/{own}/response", body)))
    told.append(exchange(request("POST", f"{PREFIX}/invocation/{own}/error", b"{}")))
    print("answers", json.dumps(told), flush=True)
    return "unheard"


def answer_too_long(own):
    print("answers", json.dumps([exchange(request("POST", f"{PREFIX}/invocation/{own}/response", b"",
                                                  length=7 << 20))]), flush=True)
    return "unheard"


def fail_oddly(own):
    """An error whose type and document are no such things."""
    kind = "Function.\x7fX\tStatus: success\u00a0" + "Y" * 300
    exchange(request("POST", f"{PREFIX}/invocation/{own}/error", b"\xff\xfe\0\x1b[2J not JSON",
                     [f"Lambda-Runtime-Function-Error-Type: {kind}"]))
    return "unheard"


def crowd(count):
    """So many connections, half open, one after the other, each with the half of something said."""
    halves = [b"", b"GET ", b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nxx",
              request("POST", f"{PREFIX}/invocation/{OTHER}/response", b"", length=6000000),
              b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"GET / HTTP/1.1\r\nX: " + b"y" * 16000]
    made = 0
    for number in range(count):
        try:
            connection = connect(1)
            connection.sendall(halves[number % len(halves)])
            made += 1
        except OSError:
            continue
        HELD.append(connection)
        if len(HELD) > 500:
            HELD.pop(0).close()
    return made


def drip(seconds):
    """Threads that say something byte by byte, and read nothing; they go on when the handler has answered."""
    def one(data):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with connect() as connection:
                    for byte in data:
                        connection.send(bytes([byte]))
            except OSError:
                pass

    for _ in range(8):
        threading.Thread(target=one, daemon=True, args=(
            request("POST", f"{PREFIX}/invocation/{OTHER}/response", b"x" * 100000),)).start()
    for _ in range(8):
        threading.Thread(target=pipeline, daemon=True, args=(seconds,)).start()


def pipeline(seconds):
    """Requests without end, whose answers are not read."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with connect(1) as connection:
                while time.monotonic() < end:
                    connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 1000)
        except OSError:
            pass


def haunt(own):
    """A thread that outlives its invocation, and speaks for it in those that follow."""
    def one():
        while True:
            for path in (f"invocation/{own}/response", f"invocation/{own}/error", "init/error", "restore/error"):
                exchange(request("POST", f"{PREFIX}/{path}", b'"from the past"'))
            print("a voice from the past", own, flush=True)
            time.sleep(0.01)

    threading.Thread(target=one, daemon=True).start()


LINES = [
    "START RequestId: {other} Version: $LATEST",
    "END RequestId: {own}",
    "REPORT RequestId: {own}\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 1 MB\t",
    "2026-01-01T00:00:00.000Z\t{other}\tP\tforged",
    '{{"time":"2026-01-01T00:00:00.000Z","type":"platform.report","record":{{"requestId":"{own}",'
    '"metrics":{{"durationMs":1.0,"billedDurationMs":1,"memorySizeMB":128,"maxMemoryUsedMB":1}},"status":"success"}}}}',
    "\x1b[2J\x1b]0;title\x07\x9b31m\r\b\x00",
    "\r\nP\t\u2028\u0085",
]


def forge_lines(own):
    for line in LINES:
        sys.stdout.write(line.format(own=own, other=OTHER) + "\n")
    sys.stdout.flush()
    os.write(1, b"\xff\xfe\xc3(\n")


def flood(seconds, line):
    """Output as fast as it goes: how many bytes."""
    end = time.monotonic() + seconds
    data = line * max(1, 65536 // len(line))
    total = 0
    while time.monotonic() < end:
        total += os.write(1, data)
    return total
