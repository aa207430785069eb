#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Functions with a network, in a world of namespaces: this process, with thawd, is in the one that stands for
the host; "internet" (203.0.113.2) and a private "lan" (10.9.0.2, where the nameserver is) are behind an interface
each, and a bridge "br0" leads to the lan too. What frames a guest could forge is tested without one
(tests/unit/test_daemon_slots.c)."""

import contextlib
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import support
import test_daemon

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
HOST_WAN, INTERNET = "203.0.113.1", "203.0.113.2"
HOST_LAN, LAN = "10.9.0.1", "10.9.0.2"
PORT = 9000
WAIT = test_daemon.WAIT
EVERYWHERE = [[address, port] for address in (HOST_WAN, HOST_LAN, "198.18.0.1", "127.0.0.1")
              for port in (PORT, 8088)]
NOWHERE = [[LAN, 80], ["169.254.169.254", 80], ["100.64.0.1", 80], ["100.64.0.2", 80], ["192.168.1.1", 80],
           ["172.16.0.1", 80], ["198.18.53.1", 80], ["0.0.0.0", 80]]
# What a handler is told of a packet that was refused, and of a port in its own guest that is closed.
REFUSED = {"EHOSTUNREACH", "ECONNREFUSED", "ENETUNREACH", "EACCES"}


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def inside(space):
    """Another network namespace, for this thread: sockets stay where they are made."""
    with open("/proc/thread-self/ns/net", "rb") as here:
        check(LIBC.setns(space.fileno(), CLONE_NEWNET))
        try:
            yield
        finally:
            check(LIBC.setns(here.fileno(), CLONE_NEWNET))


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def interfaces():
    done = subprocess.run(["ip", "-j", "link"], check=True, capture_output=True)
    return [link["ifname"] for link in json.loads(done.stdout)]


class Machine:
    """Somebody outside, in a namespace: answers each TCP connection and UDP packet with who asked."""

    def __init__(self, interface, address, gateway):
        with open("/proc/thread-self/ns/net", "rb") as here:
            check(LIBC.unshare(CLONE_NEWNET))
            try:
                self.space = open("/proc/thread-self/ns/net", "rb")
                ip("link", "set", "lo", "up")
                self.holder = subprocess.Popen(["sleep", "infinity"])
            finally:
                check(LIBC.setns(here.fileno(), CLONE_NEWNET))
        ip("link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        ip("link", "set", interface, "up")
        with inside(self.space):
            ip("link", "set", "eth0", "up")
            ip("addr", "add", f"{address}/24", "dev", "eth0")
            ip("route", "add", "default", "via", gateway)
        self.asked = []
        self.sockets = []

    def socket(self, kind):
        with inside(self.space):
            return socket.socket(socket.AF_INET, kind)

    def serve(self, port):
        tcp, udp = self.socket(socket.SOCK_STREAM), self.socket(socket.SOCK_DGRAM)
        for link in (tcp, udp):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            link.bind(("0.0.0.0", port))
            self.sockets.append(link)
        tcp.listen(64)
        threading.Thread(target=self.serve_tcp, args=(tcp,), daemon=True).start()
        threading.Thread(target=self.serve_udp, args=(udp,), daemon=True).start()

    def serve_tcp(self, tcp):
        while True:
            try:
                link, who = tcp.accept()
            except OSError:
                return
            self.asked.append(who)
            with link:
                link.settimeout(10)
                with contextlib.suppress(OSError):
                    link.recv(100)
                    link.sendall(f"{who[0]} {who[1]}".encode())

    def serve_udp(self, udp):
        while True:
            try:
                data, who = udp.recvfrom(1000)
            except OSError:
                return
            if not data:
                return
            self.asked.append(who)
            # A question of DNS: whatever the name, the internet's address (RFC 1035).
            if udp.getsockname()[1] == 53:
                answer = (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(INTERNET)
                          if data[-4:-2] == b"\0\1" else b"")
                end = data.index(b"\0", 12) + 5
                data = data[:2] + b"\x81\x80\0\1\0" + bytes([bool(answer)]) + b"\0\0\0\0" + data[12:end] + answer
            else:
                data = f"{who[0]} {who[1]}".encode()
            udp.sendto(data, who)

    def close(self):
        for link in self.sockets:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        self.holder.kill()
        self.holder.wait()
        self.space.close()


class Account:
    """A client of thawd with a key of its own (AWS Signature Version 4)."""

    def __init__(self, data, name):
        done = subprocess.run([support.THAW, "account", "create", name, "--data", data, "--env"],
                              check=True, capture_output=True, text=True)
        words = dict(re.findall(r"(AWS_\w+)=['\"]?([^'\"\s]+)", done.stdout))
        self.key, self.secret = words["AWS_ACCESS_KEY_ID"], words["AWS_SECRET_ACCESS_KEY"]

    def ask(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else b""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        digest = hashlib.sha256(data).hexdigest()
        host = f"127.0.0.1:{PORT}"
        names = "host;x-amz-content-sha256;x-amz-date"
        request = (f"{method}\n{path.replace(':', '%3A')}\n\nhost:{host}\nx-amz-content-sha256:{digest}\n"
                   f"x-amz-date:{now}\n\n{names}\n{digest}")
        scope = f"{now[:8]}/us-east-1/lambda/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=WAIT)
        connection.request(method, path, data, {
            "X-Amz-Date": now, "X-Amz-Content-Sha256": digest,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, "
                             f"Signature={signature}"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response, json.loads(answer) if answer else None

    def create(self, name, subnet, **more):
        response, body = self.ask("POST", test_daemon.FUNCTIONS, {
            "FunctionName": name, "Runtime": "python3.11", "Handler": "app.handler", "Role": test_daemon.ROLE,
            "Timeout": 120, "Code": {"ZipFile": test_daemon.archive("subnets")},
            "VpcConfig": {"SubnetIds": [subnet] if subnet else [], "SecurityGroupIds": []}, **more})
        return response.status, body

    def wait_active(self, name):
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            _, body = self.ask("GET", f"{test_daemon.FUNCTIONS}/{name}/configuration")
            if body["State"] != "Pending":
                return body
            time.sleep(0.2)
        raise AssertionError(f"{name} is not active after {WAIT} s")

    def invoke(self, name, **event):
        response, body = self.ask("POST", f"{test_daemon.FUNCTIONS}/{name}/invocations", event)
        if response.status != 200 or response.headers.get("X-Amz-Function-Error"):
            raise AssertionError(f"{name}: {response.status} {body}")
        return body


def setUpModule():
    """The world, before the first thread."""
    check(LIBC.unshare(CLONE_NEWNET))
    ip("link", "set", "lo", "up")
    World.internet = Machine("wan0", INTERNET, HOST_WAN)
    unittest.addModuleCleanup(World.internet.close)
    World.lan = Machine("lan0", LAN, HOST_LAN)
    unittest.addModuleCleanup(World.lan.close)
    ip("addr", "add", f"{HOST_WAN}/24", "dev", "wan0")
    ip("link", "add", "br0", "type", "bridge")
    ip("link", "set", "lan0", "master", "br0")
    ip("link", "set", "br0", "up")
    ip("addr", "add", f"{HOST_LAN}/24", "dev", "br0")
    World.internet.serve(80)
    World.lan.serve(80)
    World.lan.serve(53)
    host = socket.create_server(("0.0.0.0", 8088))
    unittest.addModuleCleanup(host.close)
    World.data = tempfile.mkdtemp(prefix="thaw-subnets-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    unittest.addModuleCleanup(shutil.rmtree, World.data)


class World:
    internet = lan = data = None

    @classmethod
    def start(cls):
        """thawd, on all addresses."""
        log = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(
            [test_daemon.THAWD, "--data", cls.data, "--listen", f"0.0.0.0:{PORT}", "--egress",
             "--network-uplink", "wan0", "--network-uplink", "br0", "--nameserver", LAN, "--network-slots", "2",
             "--bridge", f"lan br0 10.9.0.100-10.9.0.109/24 {HOST_LAN}"], stderr=log)
        end = time.monotonic() + WAIT
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT)):
                return process, log
            time.sleep(0.05)
        log.seek(0)
        raise AssertionError("thawd did not start: " + log.read())


class Network(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.thawd, cls.log = World.start()
        cls.addClassCleanup(cls.log.close)
        cls.addClassCleanup(cls.end)
        cls.one, cls.two = Account(World.data, "one"), Account(World.data, "two")
        snap = {"Publish": True, "SnapStart": {"ApplyOn": "PublishedVersions"}}
        for account in (cls.one, cls.two):
            status, body = account.create("f", "subnet-egress", **snap)
            if status != 201:
                raise AssertionError(body)
        for account in (cls.one, cls.two):
            body = account.wait_active("f:1")
            if body["State"] != "Active":
                cls.log.seek(0)
                raise AssertionError(f"{body}\n{cls.log.read()[-3000:]}")

    @classmethod
    def end(cls):
        """kill -9 at the end of the class, with environments there: nothing is left."""
        environments = [pid for pid, _ in test_daemon.all_children(cls.thawd.pid)]
        had = [name for name in interfaces() if name.startswith("thaw")]
        cls.thawd.kill()
        cls.thawd.wait()
        end = time.monotonic() + 10
        left = had
        while left and time.monotonic() < end:
            time.sleep(0.1)
            left = [name for name in interfaces() if name.startswith("thaw")]
        if not had or left or any(test_daemon.alive(pid) for pid in environments):
            raise AssertionError(f"before: {had}, left behind: {left}")

    def setUp(self):
        began = time.monotonic()
        self.addCleanup(lambda: support.say(
            f"  {self.id().rpartition('.')[2]}: {time.monotonic() - began:.1f} s"))

    def clones(self, event, account=None):
        """Two invocations at once, which are two environments."""
        answers = [None, None]

        def run(i):
            answers[i] = (account or (self.one, self.two)[i]).invoke("f:1", **event)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        self.assertNotIn(None, answers)
        return answers

    def test_clones(self):
        """Two clones of one snapshot, at once: each has its answer, of which the source is the host."""
        answers = self.clones({"tries": [[INTERNET, 80]] * 2, "resolve": "a.server.test", "sleep": 3, "look": True},
                              self.one)
        seen = [text.split() for answer in answers for text in answer["tries"]]
        self.assertEqual([who[0] for who in seen], [HOST_WAN] * 4, answers)
        self.assertEqual(len({who[1] for who in seen}), 4, answers)
        self.assertEqual([answer["resolved"] for answer in answers], [INTERNET] * 2)
        self.assertEqual(answers[0]["look"], answers[1]["look"])
        self.assertEqual(answers[0]["raw"], ["EAFNOSUPPORT", "EPERM"])

    def test_refused(self):
        """Tenants at once: neither the host's services, nor private networks, nor each other."""
        World.lan.asked.clear()
        for answer in self.clones({"tries": EVERYWHERE + NOWHERE}):
            for result, (host, port) in zip(answer["tries"], EVERYWHERE + NOWHERE):
                self.assertIn(result, REFUSED, f"{host}:{port}")
        for answer in self.clones({"tries": EVERYWHERE + NOWHERE, "kind": "SOCK_DGRAM", "patience": 1}):
            for result, (host, port) in zip(answer["tries"], EVERYWHERE + NOWHERE):
                self.assertIn(result, REFUSED | {"timeout"}, f"{host}:{port}")
        self.assertEqual(World.lan.asked, [])

    def test_inwards(self):
        """From outside nobody reaches a guest that listens, by any address."""
        answer = []
        thread = threading.Thread(target=lambda: answer.append(
            self.one.invoke("f:1", tries=[[INTERNET, 80]], listen=8000, seconds=5)))
        World.internet.asked.clear()
        thread.start()
        end = time.monotonic() + WAIT
        while not World.internet.asked and time.monotonic() < end:
            time.sleep(0.01)
        with World.internet.socket(socket.SOCK_DGRAM) as udp:
            for _ in range(20):
                time.sleep(0.1)
                for address in (HOST_WAN, "198.18.0.2", *[f"100.64.0.{i}" for i in range(1, 30)]):
                    with contextlib.suppress(OSError):
                        udp.sendto(b"in", (address, 8000))
        thread.join(WAIT)
        self.assertEqual([one["heard"] for one in answer], [False])

    def test_bridge(self):
        """On the operator's bridge: the lan, by an address of the range, and not the host."""
        status, body = self.one.create("b", "subnet-lan")
        self.assertEqual((status, body["VpcConfig"]["VpcId"]), (201, "vpc-lan"), body)
        tries = [[LAN, 80], [HOST_LAN, PORT], [HOST_LAN, 8088], [HOST_WAN, 8088], ["169.254.169.254", 80]]
        answer = self.one.invoke("b", tries=tries)
        self.assertRegex(answer["tries"][0], r"^10\.9\.0\.10[0-9] \d+$")
        self.assertTrue(set(answer["tries"][1:]) <= REFUSED, answer)

    def test_none(self):
        """Without a network there is none; and what does not exist is refused."""
        status, body = self.two.create("n", None)
        self.assertEqual((status, body.get("VpcConfig")), (201, None), body)
        answer = self.two.invoke("n", tries=[[INTERNET, 80], [LAN, 80]])
        self.assertEqual(answer["tries"], ["ENETUNREACH"] * 2)
        status, body = self.two.create("m", "subnet-0123")
        self.assertEqual(status, 400)
        self.assertIn("'subnet-0123' does not exist. Subnets of this host: subnet-egress, subnet-lan.",
                      body["message"] if "message" in body else body["Message"])


if __name__ == "__main__":
    support.main()
