#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Handlers that attack what they run in (handlers/insides): the agent beside them, the kernel under them, the
host behind them. The environment may die of it. Its caller gets the contract's error, the next event is
served, and nobody else notices.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import support
import test_daemon
from test_daemon import FUNCTIONS, Daemon

TIMEOUT = 5
TIMED_OUT, ENDED, TOO_LARGE = "Sandbox.Timedout", "Runtime.ExitError", "Function.ResponseSizeTooLarge"
DIED = {TIMED_OUT, ENDED}

# What a door may say. ENOENT: it is not there at all.
SHUT = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS", "ENOSPC", "ESRCH", "EBADF", "EAFNOSUPPORT", "ENOTSUP",
        "refused: not allowed to raise maximum limit"}
# Nothing but the port is taken: the agent's is its own.
OTHERWISE = {"port 80": {"EADDRINUSE"}}

FORGERIES = {
    "response to another": 400, "error of another": 400, "response to none": 400, "init error": 403,
    "restore error": 403, "restore next": 403, "another next": 403, "no such path": 404, "wrong method": 405,
    "no version": 400, "a giant head": 431, "many fields": 431, "two lengths": 400, "length and chunks": 400,
    "negative length": 400, "endless length": 400, "bytes": "timed out", "control bytes": 400, "an odd mode": 400,
}


class Doors(support.Case):
    def test_doors_and_forgeries(self):
        result = self.thaw("run", "--runtime", "python3.11", "--code", support.handler("insides"), "--handler",
                           "app.handler", "--timeout", "300", "--memory", "256", "--event", "-",
                           data=b'{"do": "doors-and-forge"}', limit=support.COLD_LIMIT)
        self.assertEqual(result.code, support.OK, result)
        doors, forgeries = result.json()
        open_doors = {name: what for name, what in doors.items() if what not in OTHERWISE.get(name, SHUT)}
        self.assertEqual(open_doors, {})
        self.assertGreater(len(doors), 100)
        self.assertEqual(forgeries, FORGERIES)


class Bystander(threading.Thread):
    """Somebody else's function, invoked all the time."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.thawd, self.ending, self.count, self.slowest = daemon, False, 0, 0
        self.wrong = []

    def run(self):
        while not self.ending:
            began = time.monotonic()
            try:
                answer = self.thawd.invoke("bystander", {"do": "echo", "value": self.count}, tail=False)
                if (answer.status, answer.error, answer.data) != (200, None, b"%d" % self.count):
                    self.wrong.append(str(answer))
            except OSError as error:
                self.wrong.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.count += 1
            time.sleep(0.25)

    def end(self):
        self.ending = True
        self.join()


@unittest.skipUnless(support.EMULATED, "a software KVM takes minutes for it")
class Attacks(unittest.TestCase):
    """All in the environments of one function, a bystander beside them."""

    @classmethod
    def setUpClass(cls):
        cls.data = tempfile.mkdtemp(prefix="thaw-insides-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.data)
        # A runtime that starts anew has the function's share of a CPU: here that takes long.
        cls.daemon = Daemon(cls.data, "--cpu-limit=no")
        cls.addClassCleanup(cls.end)
        for name, timeout in (("attacker", TIMEOUT), ("bystander", 60)):
            cls.daemon.create(name, "insides", Timeout=timeout, MemorySize=192)
        cls.daemon.create("saved", "insides", Timeout=60, MemorySize=192, Publish=True,
                          SnapStart={"ApplyOn": "PublishedVersions"})
        cls.daemon.wait_active("saved:1")
        cls.good(cls, cls.daemon.invoke("bystander", {"do": "echo"}))
        cls.pid = cls.daemon.process.pid
        cls.descriptors = len(os.listdir(f"/proc/{cls.pid}/fd"))
        cls.bystander = Bystander(cls.daemon)
        cls.bystander.start()

    @classmethod
    def end(cls):
        cls.bystander.end()
        support.say(f"    the bystander was served {cls.bystander.count} times, at the slowest in "
                    f"{cls.bystander.slowest:.1f} s")
        code = cls.daemon.stop()
        if code != 0:
            raise AssertionError(f"thawd ended with {code}: " + "".join(cls.daemon.log[-20:]))

    def setUp(self):
        self.began = time.monotonic()
        self.addCleanup(self.check_others)

    def check_others(self):
        """Whatever this test did, the others are served by the same daemon."""
        before = self.bystander.count
        end = time.monotonic() + 60
        while self.bystander.count < before + 2 and time.monotonic() < end:
            time.sleep(0.05)
        support.say(f"  {self.id().rpartition('.')[2]}: {time.monotonic() - self.began:.1f} s")
        self.assertGreaterEqual(self.bystander.count, before + 2, "the bystander waits")
        self.assertEqual(self.bystander.wrong, [])
        self.assertIsNone(self.daemon.process.poll())
        # Two environments at most, with what waits for the third.
        self.assertLess(len(os.listdir(f"/proc/{self.pid}/fd")), self.descriptors + 60)

    def good(self, answer):
        if (answer.status, answer.error) != (200, None):
            raise AssertionError(f"not well: {answer}")
        return answer.json()

    def attack(self, errors, **event):
        """Its error, one of `errors`, or None with the result: whichever it is, the next event is served."""
        event["do"] = event["do"].replace("_", "-")
        answer = self.daemon.invoke("attacker", event)
        self.assertEqual(answer.status, 200, answer)
        if answer.error:
            self.assertEqual(answer.error, "Unhandled", answer)
            self.assertIn(answer.json()["errorType"], errors, answer)
            self.assertRegex(answer.log, r"\tStatus: (error|timeout)\t", answer)
        else:
            self.assertIn(None, errors, answer)
        number = time.monotonic_ns()
        self.assertEqual(self.good(self.daemon.invoke("attacker", {"do": "echo", "value": number})), number)
        return answer

    def test_kills_all(self):
        self.attack({ENDED}, do="kill_all")

    def test_forks_for_ever(self):
        """Its first process has ended, and there is always another one."""
        self.attack(DIED, do="hunger", **{"for": "fork_for_ever"})

    def test_fork_bomb(self):
        self.attack(DIED, do="hunger", **{"for": "fork_bomb", "with": [True]})

    def test_threads_and_descriptors(self):
        self.attack({None}, do="hunger", **{"for": "descriptors"})

    def test_memory(self):
        for kind in ("anonymous", "page_tables"):
            self.attack(DIED, do="hunger", **{"for": kind})

    def test_memory_of_files_and_pipes(self):
        for kind in ("shared", "pipes"):
            self.attack(DIED, do="hunger", **{"for": kind})

    def test_memory_that_nobody_counts(self):
        """Messages between netlink sockets belong to no control group."""
        self.attack(DIED | {None}, do="hunger", **{"for": "sockets", "family": "AF_NETLINK", "protocol": 2})

    def test_disk(self):
        size, errors = self.good(self.attack({None}, do="hunger", **{"for": "disk"}))
        self.assertEqual(errors, ["ENOSPC"])
        self.assertLess(size, 512)

    def test_crowd(self):
        """Half-open connections by the hundreds: the runtime's own is not among those that go."""
        self.assertGreater(self.good(self.attack({None}, do="crowd", count=300)), 200)

    def test_drips_and_pipelines(self):
        """They go on, in the next invocation too."""
        self.attack({None}, do="drip", s=2, sleep=1)

    def test_answers_twice(self):
        answer = self.attack({None}, do="answer_twice")
        self.assertEqual(answer.data, b'"first"')
        self.assertRegex(self.log_of("attacker"), r"answers \[202, (400|403), (400|403), (400|403)\]")

    def test_answers_too_long(self):
        self.attack({TOO_LARGE}, do="answer_too_long")

    def test_fails_oddly(self):
        answer = self.daemon.invoke("attacker", {"do": "fail-oddly"})
        self.assertEqual((answer.status, answer.error), (200, "Unhandled"), answer)
        self.assertEqual(answer.data, b"\xff\xfe\0\x1b[2J not JSON")
        self.assertIn("\tError Type: Function.Unknown\t", answer.log)
        self.attack({None}, do="echo")

    def test_voices_from_the_past(self):
        """A thread that speaks for its invocation while the next ones run: nobody listens."""
        past = self.good(self.attack({None}, do="haunt"))
        for value in range(3):
            answer = self.daemon.invoke("attacker", {"do": "echo", "value": value})
            self.assertEqual(self.good(answer), value)
        self.assertIn("a voice from the past " + past, self.log_of("attacker"))
        self.attack({ENDED}, do="kill_all")

    # --- logs ---

    def log_of(self, name):
        return subprocess.run([support.THAW, "logs", name, "--data", self.data], capture_output=True, check=True,
                              text=True).stdout

    def log_files(self, name):
        for folder, _, files in os.walk(os.path.join(self.data, "logs")):
            if folder.endswith("/" + name):
                for file in files:
                    with open(os.path.join(folder, file), "rb") as opened:
                        yield opened.read()

    def test_forged_lines(self):
        """What a function prints is on the disk as its own words, whatever they look like."""
        request = self.good(self.attack({None}, do="forge_lines"))
        platform = forged = 0
        for data in self.log_files("attacker"):
            self.assertFalse(re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", data), "control bytes")
            data.decode("utf-8")
            for line in data.splitlines():
                time_, id_, kind, text = line.split(b"\t", 3)
                self.assertRegex(time_, rb"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
                if id_.decode() != request:
                    continue
                self.assertIn(kind, (b"P", b"F"))
                platform += kind == b"P"
                forged += kind == b"F" and text.startswith((b"START ", b"END ", b"REPORT ", b"2026-", b'{"time"'))
        self.assertEqual((platform, forged), (3, 5))

    def test_floods_logs(self):
        """Beyond a rate nothing is kept, and what the daemon does about the rest is no hindrance to others."""
        before = sum(map(len, self.log_files("attacker")))
        printed = self.good(self.attack({None}, do="flood", s=2))
        stored = sum(map(len, self.log_files("attacker"))) - before
        support.say(f"    {printed >> 10} KiB printed, {stored >> 10} KiB stored")
        self.assertLess(stored, 16 << 20)
        # Lines of nothing are all head.
        before += stored
        self.attack({None}, do="flood", s=1, line="\n")
        self.assertLess(sum(map(len, self.log_files("attacker"))) - before, 16 << 20)

    def test_floods_on(self):
        """A flood that goes on when its invocation has ended stands still until the next."""
        self.attack({None}, do="flood_on")
        time.sleep(0.5)
        pids = self.daemon.environments()
        before = {pid: test_daemon.cpu_seconds(pid) for pid in pids}
        time.sleep(1.5)
        used = sorted(test_daemon.cpu_seconds(pid) - before[pid] for pid in pids if test_daemon.alive(pid))
        # One of them is the bystander's.
        self.assertLessEqual(sum(used[:-1]), 0.1, used)
        self.attack({ENDED}, do="kill_all")

    # --- what stays within ---

    def test_words_stay_in_their_environment(self):
        """Two environments of one snapshot at once: what one has left, the other does not find."""
        answers = {}

        def ask(name, event):
            answers[name] = self.daemon.invoke("saved:1", event)

        word = "a word for nobody else"
        self.assertTrue(self.good(self.daemon.invoke("saved:1", {"do": "leave", "word": word})))
        holder = threading.Thread(target=ask, args=("same", {"do": "find", "s": 4}))
        holder.start()
        time.sleep(1)
        ask("other", {"do": "find"})
        holder.join()
        found = {name: self.good(answer) for name, answer in answers.items()}
        self.assertEqual(found["same"], {"environ": word, "/tmp": word, "/dev/shm": word})
        self.assertEqual(found["other"], {"environ": None, "/tmp": None, "/dev/shm": None})
        response, data = self.daemon.ask("DELETE", FUNCTIONS + "/saved")
        self.assertEqual(response.status, 204, data)


if __name__ == "__main__":
    support.main()
