#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""thawd while calls of the C library fail or dawdle, and killed at each change of the disk."""

import collections
import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

from faults import (ACCEPT, CHANGES, MEMORY, MESSAGE, NAME, OPEN, READ, SIZE, SOCKET, SYNC, THREAD, WRITE, Case,
                    Place, support)
from test_daemon import FUNCTIONS, archive, cpu_seconds

EVENT = {"X-Amz-Invocation-Type": "Event"}
SNAP_START = {"Publish": True, "SnapStart": {"ApplyOn": "PublishedVersions"}}


def spread(count, most):
    """At most so many of 1..count, evenly."""
    return sorted({1 + round(number * (count - 1) / max(1, most - 1)) for number in range(min(count, most))})


class Failing(Case):
    """At each call of a kind, one at a time: the caller has an error or not, and the next time all is well."""

    options = ("--idle", "1")
    number = 0
    may_close = may_die = False

    def create(self):
        """All that an account does with a function once; what was answered: [(what, status)]."""
        type(self).number += 1
        name = f"n{self.number}"
        answers = self.answers = []

        def ask(what, good, method, path, body=None, headers=None):
            try:
                response, data = self.daemon.ask(method, path, body, headers)
            except (OSError, http.client.HTTPException):
                if self.may_die:
                    raise
                # The server has no memory for it, or no way to send: it closes the connection.
                self.assertTrue(self.may_close and self.daemon.process.poll() is None)
                answers.append((what, 599, b""))
                return False
            self.assertIn(response.status, (good, 404, 409, 429, 500, 502, 503), (what, data))
            if response.status == 500 and data:
                self.assertIn("ServiceException", response.headers["x-amzn-ErrorType"] or "", data)
            answers.append((what, response.status, data))
            return response.status == good

        ask("create", 201, "POST", FUNCTIONS,
            {"FunctionName": name, "Runtime": "python3.11", "Handler": "app.handler", "Timeout": 1,
             "Role": "arn:aws:iam::000000000000:role/any", "Code": {"ZipFile": self.code}})
        ask("publish", 201, "POST", f"{FUNCTIONS}/{name}/versions", {})
        ask("invoke", 200, "POST", f"{FUNCTIONS}/{name}/invocations", {"works": 1})
        ask("event", 202, "POST", f"{FUNCTIONS}/{name}/invocations", {"works": 2}, EVENT)
        ask("update", 200, "PUT", f"{FUNCTIONS}/{name}/configuration", {"Description": "other"})
        ask("delete", 204, "DELETE", f"{FUNCTIONS}/{name}")
        return answers

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.code = archive("behaviours")

    def sweep(self, calls, codes, most, **more):
        self.create()  # what is made only once
        self.shim.set(calls, **more)
        self.create()
        count = self.shim.seen
        self.assertGreater(count, 0)
        before = self.descriptors()
        failed = 0
        for code in codes:
            for first in spread(count, most):
                self.shim.set(calls, first, code=code, **more)
                began = time.monotonic()
                answers = self.create()
                self.assertLess(time.monotonic() - began, 5, (first, answers, self.daemon.log[-5:]))
                failed += any(status >= 500 for _, status, _ in answers)
                self.shim.set()
                # Whatever of it is there still.
                self.daemon.ask("DELETE", f"{FUNCTIONS}/n{self.number}")
        answers = self.create()
        self.assertEqual([status for _, status, _ in answers], [201, 201, 200, 202, 200, 204], answers)
        self.works()
        time.sleep(1.3)  # environments have gone by then
        more = self.descriptors() - before
        self.assertLessEqual(sum(more.values()), 4, more)
        support.say(f"  {count} calls, {failed} runs with an error, {len(self.place.half_made())} things half-made")
        self.assertGreater(failed, 0)
        # What could not even be removed goes by the clock (unit/test_host_state), and at a start.
        self.assertEqual(self.daemon.stop(), 0)
        type(self).daemon = self.place.start(*self.options)
        self.assertEqual(self.place.half_made(), [])

    def test_full_disk(self):
        self.sweep(WRITE | SIZE | NAME | OPEN, [errno.ENOSPC], 60, path=self.place.data)

    def test_damaged_disk(self):
        self.sweep(READ | SYNC | WRITE, [errno.EIO], 60, path=self.place.data)

    def test_descriptors(self):
        self.sweep(OPEN | SOCKET, [errno.EMFILE], 60)

    def test_memory(self):
        self.may_close = True
        self.sweep(MEMORY, [errno.ENOMEM], 250)

    def test_threads(self):
        self.sweep(THREAD, [errno.EAGAIN], 20)

    def test_messages(self):
        self.may_close = True
        self.sweep(MESSAGE, [errno.ENOBUFS, errno.EINTR], 20)


class Space(Case):
    """As much address space as a few events at a time need, and more events than that."""

    options = ("--starting", "100")
    wrap = ("prlimit", "--as=430000000")

    def test_address_space(self):
        statuses = collections.Counter()

        def ask():
            try:
                statuses[self.invoke(event={"sleep": 400, "pad": "x" * 3000000}).status] += 1
            except OSError:
                statuses["closed"] += 1

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertIsNone(self.daemon.process.poll(), self.daemon.log[-5:])
        self.works()
        support.say(f"  {dict(statuses)}")
        self.assertLessEqual(set(statuses), {200, 429, 500, 503, "closed"})
        self.assertEqual(sum(statuses.values()), 40)


class Unsigned(Case):
    options = ("--no-auth=no",)

    @classmethod
    def prepare(cls):
        """No function: who would sign for it?"""

    def test_memory(self):
        """Without memory for the refusal a request is refused all the same."""
        self.shim.set(MEMORY)
        response, _ = self.daemon.ask("GET", FUNCTIONS)
        self.assertEqual(response.status, 403)
        count = self.shim.seen
        statuses = collections.Counter()
        for first in range(1, count + 1):
            for times in (1, 1000):
                self.shim.set(MEMORY, first, times, code=errno.ENOMEM)
                try:
                    response, data = self.daemon.ask("GET", FUNCTIONS)
                    statuses[response.status] += 1
                    self.assertIn(response.status, (403, 500, 503), data)
                except (OSError, http.client.HTTPException):
                    statuses["closed"] += 1
                self.shim.set()
                self.assertIsNone(self.daemon.process.poll(), self.daemon.log[-5:])
        support.say(f"  {dict(statuses)}")
        response, _ = self.daemon.ask("GET", FUNCTIONS)
        self.assertEqual(response.status, 403)


class Full(Case):
    """A disk that is really full, and empty again."""

    @classmethod
    def make_place(cls):
        data = tempfile.mkdtemp(prefix="thaw-full-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "thaw-full", data], check=True)
        cls.addClassCleanup(os.rmdir, data)
        cls.addClassCleanup(subprocess.run, ["umount", data], check=True)
        return Place(data)

    def fill(self):
        with open(os.path.join(self.place.data, "filler"), "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)

    def test_full(self):
        self.daemon.create("s", **SNAP_START)
        self.wait_state("s:1", "Active")
        self.works("s:1")
        self.works()
        self.fill()
        # What runs goes on, though its log is lost.
        self.works()
        self.works("s:1")
        response, data = self.daemon.ask("POST", FUNCTIONS + "/f/invocations", {"works": 1}, EVENT)
        self.assertEqual((response.status, b"No space left on the host." in data), (500, True), data)
        # The database may have a page left, but nothing has more.
        for method, path, body in (
                ("POST", FUNCTIONS, {"FunctionName": "new", "Runtime": "python3.11", "Handler": "app.handler",
                                     "Role": "arn:aws:iam::000000000000:role/any", "Code": {"ZipFile": self.code}}),
                ("PUT", FUNCTIONS + "/f/configuration", {"Description": "x" * 200})):
            response, data = self.daemon.ask(method, path, body)
            self.assertEqual((response.status, b"No space left on the host." in data), (500, True), data)
        self.assertEqual(self.daemon.ask("GET", FUNCTIONS + "/new")[0].status, 404)
        self.assertEqual(self.place.half_made(), [])
        os.remove(os.path.join(self.place.data, "filler"))
        self.daemon.create("new", **SNAP_START)
        self.wait_state("new:1", "Active")
        self.works("new:1")
        response, _ = self.daemon.ask("POST", FUNCTIONS + "/f/invocations", {"works": 1}, EVENT)
        self.assertEqual(response.status, 202)

    def test_full_while_a_snapshot_is_made(self):
        self.place.order("prepare slow 700")
        self.daemon.create("late", **SNAP_START)
        time.sleep(0.3)
        self.fill()
        state = self.wait_state_either("late:1", ("Failed", "Pending"))
        os.remove(os.path.join(self.place.data, "filler"))
        self.place.order()
        self.assertNotIn("Active", state["State"])
        self.assertEqual(self.place.half_made(), [])
        # What could not even be written down is done at the next start.
        self.assertEqual(self.daemon.stop(), 0)
        type(self).daemon = self.place.start(*self.options)
        self.assertIn(self.wait_state_either("late:1", ("Failed", "Active"))["State"], ("Failed", "Active"))
        self.works("late")

    def wait_state_either(self, name, states):
        time.sleep(1.5)
        end = time.monotonic() + 10
        while self.state_of(name)["State"] not in states:
            self.assertLess(time.monotonic(), end, self.state_of(name))
            time.sleep(0.05)
        return self.state_of(name)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.code = archive("behaviours")


class Slow(Case):
    def test_slow_disk(self):
        """Reads of 100 ms each: what waits for them is late, and nothing else."""
        self.works()
        self.shim.set(READ, 1, 10 ** 6, wait_ms=100, path=self.place.data)
        began = time.monotonic()
        response, _ = self.daemon.ask("GET", "/health")
        self.assertEqual(response.status, 200)
        self.works()
        warm = time.monotonic() - began
        self.assertLess(warm, 1)
        self.forget_environments()
        self.works()


class Clock(Case):
    """The wall clock is set, by a day, forth and back."""

    DAY = 86400
    # An event that failed is tried again after 1.2 s, and given up after seven minutes.
    options = ("--retry-scale", "0.02")

    def tearDown(self):
        self.shim.shift(0)

    def event(self):
        response, _ = self.daemon.ask("POST", FUNCTIONS + "/f/invocations", {"works": 1}, EVENT)
        self.assertEqual(response.status, 202)
        return response.headers["x-amzn-RequestId"]

    def runs(self, request):
        done = subprocess.run([support.THAW, "logs", "f", "--data", self.place.data, "--request-id", request],
                              capture_output=True, check=False, text=True)
        return done.stdout.count("END RequestId: " + request)

    def wait_runs(self, request, count):
        end = time.monotonic() + 8
        while self.runs(request) < count:
            self.assertLess(time.monotonic(), end, f"{self.runs(request)} runs: " + "".join(self.daemon.log[-5:]))
            time.sleep(0.05)

    def test_queue(self):
        for days in (1, -1):
            with self.subTest(days=days):
                self.works()
                self.place.order("invoke dead")
                request = self.event()
                self.wait_runs(request, 1)
                self.place.order()
                self.shim.shift(days * self.DAY)
                began = time.monotonic()
                self.wait_runs(request, 2)
                self.assertGreater(time.monotonic() - began, 0.5)
                self.assertEqual(self.daemon.top()["queued"], 0)
                self.wait_runs(self.event(), 1)
                self.shim.shift(0)
                time.sleep(0.1)
                self.wait_runs(self.event(), 1)

    def test_set_back_meanwhile(self):
        """While no daemon ran."""
        self.shim.shift(self.DAY)
        time.sleep(0.1)
        self.place.order("invoke dead")
        request = self.event()
        self.wait_runs(request, 1)
        self.assertEqual(self.daemon.stop(), 0)
        self.place.order()
        self.shim.shift(0)
        type(self).daemon = self.place.start(*self.options)
        self.wait_runs(request, 2)

    def test_waits(self):
        """Invocations, and an environment's rest, do not know the wall clock."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.invoke(event={"sleep": 500})))
        thread.start()
        time.sleep(0.2)
        for days in (1, -1, 0):
            self.shim.shift(days * self.DAY)
            time.sleep(0.05)
        thread.join(10)
        self.assertEqual((answers[0].status, answers[0].error), (200, None))
        self.works()


class Storm(Case):
    """As many connections and invocations as there are descriptors, and more."""

    options = ("--threads", "2")
    wrap = ("prlimit", "--nofile=200:200")

    def assert_rests(self):
        before = cpu_seconds(self.daemon.process.pid)
        time.sleep(0.6)
        self.assertLess(cpu_seconds(self.daemon.process.pid) - before, 0.2, "it spins")

    def test_connections(self):
        """Those that fit are served; the others wait, without the CPU; environments have theirs."""
        self.works()
        before = self.descriptors()
        idle = [socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) for _ in range(120)]
        try:
            time.sleep(0.3)
            self.assert_rests()
            self.assertLessEqual(sum((self.descriptors() - before).values()), 70)
            idle[0].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b" 200 ", idle[0].recv(4096))
        finally:
            for one in idle:
                one.close()
        self.works()

    def test_environments(self):
        """There are as many as there are descriptors for; then callers are refused, and clients still accepted."""
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.invoke(event={"sleep": 900}).status))
                   for _ in range(40)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        response, _ = self.daemon.ask("GET", "/health")
        self.assertEqual(response.status, 200)
        for thread in threads:
            thread.join(30)
        support.say(f"  {({status: answers.count(status) for status in set(answers)})}")
        self.assertEqual(set(answers), {200, 500})
        self.assertGreaterEqual(answers.count(200), 4)
        self.assertTrue([line for line in self.daemon.log if "none are left for another environment" in line])
        self.works()

    def test_first(self):
        """No descriptor even for a first connection: it waits, without the CPU, until there is one."""
        self.shim.set(ACCEPT, 1, 10 ** 9, code=errno.EMFILE)
        one = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20)
        with one:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            time.sleep(0.1)
            self.assert_rests()
            self.assertGreater(self.shim.hit, 0)
            self.shim.set()
            self.assertIn(b" 200 ", one.recv(4096))
        self.works()


class Crash(Failing):
    """kill -9 at each change of the disk: what was answered is there, what was not is there whole or not at
    all, and nothing is left."""

    may_die = True
    test_full_disk = test_damaged_disk = test_descriptors = test_memory = test_threads = test_messages = None

    def restart(self):
        self.daemon.process.wait(20)
        self.daemon.reader.join(5)
        self.daemon.process.stderr.close()
        self.shim.set()
        type(self).daemon = self.place.start()

    def audit(self, answers):
        """After a run that was cut off, on the next daemon."""
        name = f"n{self.number}"
        done = {what for what, status, _ in answers if status < 300}
        response, data = self.daemon.ask("GET", f"{FUNCTIONS}/{name}")
        if "delete" in done:
            self.assertEqual(response.status, 404)
            return
        if "create" in done and len(answers) < 5:
            self.assertEqual(response.status, 200, (answers, data))
        if response.status == 404:
            return
        configuration = json.loads(data)["Configuration"]
        if "update" in done:
            self.assertEqual(configuration["Description"], "other")
        response, data = self.daemon.ask("GET", f"{FUNCTIONS}/{name}/versions")
        versions = [item["Version"] for item in json.loads(data)["Versions"]]
        if "publish" in done:
            self.assertIn("1", versions)
        answer = self.daemon.invoke(name, {"works": 3}, tail=False)
        self.assertEqual(answer.status, 200, answer)
        if "1" in versions:
            answer = self.daemon.invoke(name + ":1", {"works": 3}, tail=False)
            self.assertEqual(answer.status, 200, answer)
        response, data = self.daemon.ask("DELETE", f"{FUNCTIONS}/{name}")
        self.assertEqual(response.status, 204, data)

    def test_kill(self):
        self.create()
        self.shim.set(CHANGES, path=self.place.data)
        self.create()
        count = self.shim.seen
        killed = 0
        for first in spread(count, 45):
            self.shim.set(CHANGES, first, signal=signal.SIGKILL, path=self.place.data)
            self.answers = []
            try:
                self.create()
            except OSError:
                pass
            if self.daemon.process.poll() is None:
                time.sleep(0.05)  # what follows an answer
            if self.daemon.process.poll() is None:
                continue
            killed += 1
            self.restart()
            self.audit(self.answers)
            self.assertEqual(self.place.half_made(), [])
        support.say(f"  {count} changes, {killed} kills")
        self.assertGreater(killed, 20)

    def test_kill_while_a_snapshot_is_made(self):
        """The version is Pending, and the next start makes its snapshot; there is one, or none."""
        role = "arn:aws:iam::000000000000:role/any"

        def make(name):
            try:
                self.daemon.ask("POST", FUNCTIONS, {
                    "FunctionName": name, "Runtime": "python3.11", "Handler": "app.handler", "Timeout": 1,
                    "Role": role, "Code": {"ZipFile": self.code}, **SNAP_START})
                while self.state_of(name + ":1")["State"] == "Pending":
                    time.sleep(0.01)
            except OSError:
                pass

        self.shim.set(CHANGES, path=self.place.data)
        make("s0")
        count = self.shim.seen
        killed = 0
        for number, first in enumerate(spread(count, 24), 1):
            self.shim.set(CHANGES, first, signal=signal.SIGKILL, path=self.place.data)
            make(f"s{number}")
            time.sleep(0.05)
            if self.daemon.process.poll() is None:
                continue
            killed += 1
            self.restart()
            response, _ = self.daemon.ask("GET", f"{FUNCTIONS}/s{number}")
            if response.status == 200 and "State" in self.state_of(f"s{number}:1"):
                self.wait_state(f"s{number}:1", "Active")
                self.works(f"s{number}:1")
            self.daemon.ask("DELETE", f"{FUNCTIONS}/s{number}")
            end = time.monotonic() + 5
            while (len(self.place.snapshots()) > 1 or self.place.half_made()) and time.monotonic() < end:
                time.sleep(0.02)
            self.assertEqual((len(self.place.snapshots()), self.place.half_made()), (1, []))
        support.say(f"  {count} changes, {killed} kills")
        self.assertGreater(killed, 10)
        self.daemon.ask("DELETE", f"{FUNCTIONS}/s0")

    def test_kill_at_the_start(self):
        self.assertEqual(self.daemon.stop(), 0)
        self.shim.set(CHANGES, path=self.place.data)
        type(self).daemon = self.place.start()
        count = self.shim.seen
        killed = 0
        self.assertEqual(self.daemon.stop(), 0)
        for first in spread(count, 12):
            self.shim.set(CHANGES, first, signal=signal.SIGKILL, path=self.place.data)
            try:
                self.place.start().stop()
            except AssertionError:
                killed += 1
        self.shim.set()
        type(self).daemon = self.place.start()
        self.works()
        self.assertGreater(killed, 0)


if __name__ == "__main__":
    support.main()
