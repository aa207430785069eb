# SPDX-License-Identifier: Apache-2.0
"""The Runtime API over one connection that stays open, with few system calls.

The agent hands every runtime a connected socket as the descriptor named in _THAW_RUNTIME_FD: it
spares the TCP stack. Elsewhere AWS_LAMBDA_RUNTIME_API is connected to.

An answer and the request for the next event leave in one write. The agent wakes us once, with the
receipt of the answer and the next event together.
"""

import os

_PREFIX = "/2018-06-01/runtime/"
_HOST = "\r\nHost: runtime\r\n"
_NEXT = f"GET {_PREFIX}invocation/next HTTP/1.1{_HOST}\r\n".encode()
_RESTORE_NEXT = f"GET {_PREFIX}restore/next HTTP/1.1{_HOST}\r\n".encode()
_READ = 65536


class ClientError(Exception):
    """The agent does not answer as the Runtime API says."""


class Client:
    def __init__(self, environ):
        fd = environ.pop("_THAW_RUNTIME_FD", None)
        if fd is not None:
            self._fd = int(fd)
            # Not for the handler's children.
            os.set_inheritable(self._fd, False)
        else:
            self._fd = self._connect(environ["AWS_LAMBDA_RUNTIME_API"])
        self._bytes = b""
        self._receipts = []

    @staticmethod
    def _connect(address):
        import _socket

        host, _, port = address.rpartition(":")
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        sock.connect((host, int(port)))
        return sock.detach()

    def _write(self, parts):
        size = sum(map(len, parts))
        sent = os.writev(self._fd, parts)
        if sent < size:
            # Cut short by a signal.
            rest = memoryview(b"".join(parts))[sent:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def _read_response(self):
        """One response: status, headers (lower-case names), body."""
        data = self._bytes
        end = data.find(b"\r\n\r\n")
        while end < 0:
            more = os.read(self._fd, _READ)
            if not more:
                raise ClientError("the Runtime API closed the connection")
            data += more
            end = data.find(b"\r\n\r\n")
        lines = data[:end].decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        start = end + 4
        if len(data) - start >= length:
            self._bytes = data[start + length :]
            return status, headers, data[start : start + length]
        body = bytearray(length)
        at = len(data) - start
        body[:at] = memoryview(data)[start:]
        view = memoryview(body)
        while at < length:
            n = os.readv(self._fd, [view[at:]])
            if n == 0:
                raise ClientError("the Runtime API closed the connection")
            at += n
        self._bytes = b""
        return status, headers, bytes(body)

    def _settle(self):
        """Reads the receipts of what was posted ahead of the request now waited for."""
        for what in self._receipts:
            status, _, _ = self._read_response()
            if status != 202:
                import sys

                print(f"LAMBDA_RUNTIME Failed to post {what}. Http response code: {status}.",
                      file=sys.stderr)
        self._receipts.clear()

    def _post(self, path, body, headers=""):
        head = (f"POST {_PREFIX}{path} HTTP/1.1{_HOST}Content-Type: application/json\r\n"
                f"{headers}Content-Length: {len(body)}\r\n\r\n")
        return [head.encode("latin-1", "replace"), body]

    def _await(self, what):
        self._settle()
        status, headers, body = self._read_response()
        if status != 200:
            raise ClientError(f"{what} was answered with status {status}: {body!r}")
        return headers, body

    def rehearse(self, response):
        """Reads a made-up response and writes an answer to nobody: (headers, body)."""
        self._bytes = response
        _, headers, body = self._read_response()
        self._post("invocation/0/response", body)
        return headers, body

    def next(self):
        """Asks for an event and waits for it: (headers, body)."""
        self._write([_NEXT])
        return self._await("invocation/next")

    def respond_and_next(self, request_id, body):
        parts = self._post(f"invocation/{request_id}/response", body)
        parts.append(_NEXT)
        self._write(parts)
        self._receipts.append("handler success response")
        return self._await("invocation/next")

    def fail_and_next(self, request_id, body, error_type):
        parts = self._post(f"invocation/{request_id}/error", body,
                           f"Lambda-Runtime-Function-Error-Type: {error_type}\r\n")
        parts.append(_NEXT)
        self._write(parts)
        self._receipts.append("handler error response")
        return self._await("invocation/next")

    def restore_next(self):
        """Says that a snapshot may be taken, and waits until one is restored: the headers."""
        self._write([_RESTORE_NEXT])
        return self._await("restore/next")[0]

    def _post_and_settle(self, path, body, error_type, what):
        self._write(self._post(path, body,
                               f"Lambda-Runtime-Function-Error-Type: {error_type}\r\n"))
        self._receipts.append(what)
        self._settle()

    def init_error(self, body, error_type):
        self._post_and_settle("init/error", body, error_type, "init error")

    def restore_error(self, body, error_type):
        self._post_and_settle("restore/error", body, error_type, "restore error")
