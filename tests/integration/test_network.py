#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A function with a network: a tap in a network namespace of the test's own, with echo servers at the
other end. The guest reaches them after a cold boot and after a restore, from the same address."""

import ctypes
import os
import socket
import subprocess
import threading
import unittest

import support
from support import COLD_LIMIT, HOST, OK, USAGE

CLONE_NEWNET = 0x40000000
GUEST, GATEWAY = "198.18.0.2", "198.18.0.1"
GUEST_MAC, GATEWAY_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"
LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace with one tap, and what serves in it."""

    def __init__(self):
        self.name = f"thaw-test-{os.getpid()}"
        ip = ["ip", "-n", self.name]
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        for command in (["tuntap", "add", "tap0", "mode", "tap"],
                        ["link", "set", "tap0", "address", GATEWAY_MAC],
                        ["addr", "add", GATEWAY + "/30", "dev", "tap0"],
                        ["link", "set", "tap0", "up"], ["link", "set", "lo", "up"],
                        ["neigh", "add", GUEST, "lladdr", GUEST_MAC, "dev", "tap0"]):
            subprocess.run(ip + command, check=True)
        self.peers = set()
        ready = threading.Event()
        threading.Thread(target=self.serve, args=(ready,), daemon=True).start()
        if not ready.wait(30):
            raise AssertionError("the echo servers do not start")

    def enter(self):
        """This thread, or this process, from now on."""
        if LIBC.setns(self.fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def serve(self, ready):
        self.enter()
        self.tcp = socket.create_server((GATEWAY, 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((GATEWAY, 0))
        self.ports = f"{self.tcp.getsockname()[1]},{self.udp.getsockname()[1]}"
        threading.Thread(target=self.serve_packets, daemon=True).start()
        ready.set()
        while True:
            stream, peer = self.tcp.accept()
            self.peers.add(peer[0])
            threading.Thread(target=self.serve_stream, args=(stream,), daemon=True).start()

    def serve_stream(self, stream):
        with stream:
            stream.settimeout(60)
            try:
                while data := stream.recv(65536):
                    stream.sendall(data)
            except OSError:
                pass  # a clone that is no more

    def serve_packets(self):
        while True:
            data, peer = self.udp.recvfrom(65536)
            self.peers.add(peer[0])
            self.udp.sendto(data, peer)

    def remove(self):
        os.close(self.fd)
        subprocess.run(["ip", "netns", "del", self.name], check=True)


class Network(support.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.namespace = Namespace()
        cls.addClassCleanup(cls.namespace.remove)
        cls.function = ["--runtime", "python3.11", "--code", support.handler("network"), "--handler",
                        "app.handler", "--timeout", "300", "--env", "PORTS=" + cls.namespace.ports]
        result = support.thaw("--state", cls.state.path, "snapshot", "create", "-o", "network",
                              *cls.function, "--network", "tap0", limit=COLD_LIMIT,
                              preexec_fn=cls.namespace.enter)
        if result.code != OK:
            raise AssertionError(f"no snapshot to test with: {result}")

    def invoke_here(self, event, *options):
        return self.invoke(event, "--network", "tap0", *options, name="network",
                           preexec_fn=self.namespace.enter)

    def assert_answer(self, answer, size, packet):
        self.assertEqual(answer["init"], [1000, GUEST])
        self.assertEqual(answer["tcp"], [size, GUEST])
        self.assertEqual(answer["udp"], packet)

    def test_restored(self):
        """One after the other, as much as fills a frame many times over; packets in fragments."""
        for mode, size, packet in (("map", 100000, 1472), ("uffd", 20000, 1473), ("eager", 1, 8000)):
            with self.subTest(mode):
                result = self.invoke_here({"size": size, "packet": packet}, "--mode", mode)
                self.assertEqual(result.code, OK, result)
                self.assert_answer(result.json(), size, packet)
        self.assertEqual(self.namespace.peers, {GUEST})

    def test_what_a_handler_sees_and_may_do(self):
        result = self.invoke_here({"facts": True})
        self.assertEqual(result.code, OK, result)
        facts = result.json()["facts"]
        self.assertEqual(facts["address"], GUEST)
        self.assertEqual(facts["mtu"], 1500)
        self.assertEqual(facts["mac"], GUEST_MAC)
        self.assertEqual(sorted(facts["devices"]), ["eth0", "lo"])
        self.assertEqual(set(facts["ipv6"]) - {"lo"}, set())
        # 0x4 and 0x2: permanent, complete.
        self.assertEqual(facts["neighbours"], [[GATEWAY, "0x1", "0x6", GATEWAY_MAC]])
        self.assertIn(["eth0", "00000000", "010012C6"], facts["routes"])
        self.assertEqual(facts["capabilities"], ["0000000000000000"] * 4)
        for what in ("raw", "packet", "change", "another", "resolver"):
            self.assertNotEqual(facts[what], "allowed", facts)

    def test_clones_one_after_the_other(self):
        """The tap goes from one to the next."""
        result = self.invoke_here({}, "--count", "3")
        self.assertEqual(result.code, OK, result)
        for answer in result.lines():
            self.assert_answer(answer, 1000, 100)

    @unittest.skipUnless(support.EMULATED, "a cold boot takes half a minute under a software KVM")
    def test_cold(self):
        result = self.thaw("run", *self.function, "--network", "tap0", "--event", "-",
                           data=b'{"size": 50000}', preexec_fn=self.namespace.enter)
        self.assertEqual(result.code, OK, result)
        self.assert_answer(result.json(), 50000, 100)

    def test_what_does_not_fit_is_refused(self):
        event = {"size": 1}
        self.assert_one_line_error(self.invoke(event, name="network"), USAGE,
                                   "its guest has a network device: it must be given a network")
        # Here there is no such tap.
        self.assert_one_line_error(self.invoke(event, "--network", "tap0", name="network"), HOST,
                                   'tap "tap0": No such device')
        self.assert_one_line_error(self.invoke(event, "--network", "x" * 16, name="network"), USAGE,
                                   "the name of a tap")
        self.assert_one_line_error(self.invoke_here(event, "--parallel", "2", "--count", "2"), USAGE,
                                   "one clone at a time")
        # No tap: every other device is refused.
        result = self.invoke(event, "--network", "lo", name="network",
                             preexec_fn=self.namespace.enter)
        self.assert_one_line_error(result, HOST, 'opening tap "lo"')


if __name__ == "__main__":
    support.main()
