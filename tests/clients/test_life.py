# SPDX-License-Identifier: Apache-2.0
"""The daemon's own life: another one on its directory, a directory of a newer version, and the end by
kill -9 in the midst of events. The last theme, as it ends the daemon that all share."""

import collections
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from concurrent import futures

import daemon
import shared
import support
from shared import eventually

EVENTS = 12


def prepare():
    shared.begin()


def run_thawd(data, *options):
    """A daemon that must not start: its exit code and what it said."""
    ended = subprocess.run([daemon.THAWD, "--config", "/dev/null", "--data", data, "--listen",
                            "127.0.0.1:0", *options], stdin=subprocess.DEVNULL, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def settle():
    """No snapshot is under way: a daemon that ends meanwhile gives it up, and the next makes it."""
    for version in (1, 2):
        shared.actor(version)


class Refused(shared.Case):
    def assert_refused(self, data, pattern):
        code, out, err = run_thawd(data)
        self.assertEqual((code, out), (1, ""), err)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertRegex(err, f"^thawd: .*{pattern}")

    def test_a_second_daemon(self):
        running = shared.service()
        self.assert_refused(running.data, rf"\b{running.process.pid}\b")
        self.assertTrue(running.health())
        # Its control groups have not been swept, its socket not taken.
        self.assertEqual(running.thaw("account", "ls").code, 0)

    def test_a_newer_directory(self):
        mine = daemon.Daemon()
        self.addCleanup(mine.remove)
        mine.start()
        self.assertEqual(mine.stop(), {})
        with sqlite3.connect(os.path.join(mine.data, "thaw.db")) as database:
            version, = database.execute("PRAGMA user_version").fetchone()
            database.execute(f"PRAGMA user_version = {version + 1}")
        database.close()
        with open(os.path.join(mine.data, "thaw.db"), "rb") as file:
            before = file.read()
        self.assert_refused(mine.data, "newer|version")
        with open(os.path.join(mine.data, "thaw.db"), "rb") as file:
            self.assertEqual(file.read(), before)

    def test_wrong_options(self):
        data = shared.service().data
        for options, pattern in ((("--listen", "nowhere"), "listen"),
                                 (("--listen", "127.0.0.1:99999"), "listen"),
                                 (("--concurrency", "0"), "concurrency"), (("--fast",), "--fast"),
                                 (("--no-auth", "--listen", "0.0.0.0:0"), "no-auth"),
                                 (("--log-level", "loud"), "log-level"), (("--threads", "many"), "threads")):
            with self.subTest(options):
                code, out, err = run_thawd(data, *options)
                self.assertEqual((code, out), (2, ""), err)
                self.assertRegex(err, f"^thawd: .*{pattern}")
                self.assertEqual(len(err.splitlines()), 1, err)


class Stopping(shared.Case):
    def test_what_is_under_way_may_end(self):
        """SIGTERM while a function runs: it is answered, then the daemon is gone."""
        settle()
        running = shared.service()
        lambdas = shared.client()
        self.addCleanup(lambdas.close)
        with futures.ThreadPoolExecutor(1) as pool:
            slow = pool.submit(shared.invoke, lambdas, {"do": "note", "id": "last", "s": 3})
            time.sleep(1)
            running.process.send_signal(signal.SIGTERM)
            payload, response = slow.result(60)
        self.assertEqual((payload, response["StatusCode"]), ("last", 200))
        running.process.wait(daemon.DRAIN + 15)
        self.assertEqual(running.stop(), {})
        running.start()
        lambdas = shared.client()
        self.addCleanup(lambdas.close)
        self.assertEqual(lambdas.get_function_configuration(FunctionName="actor", Qualifier="1")["State"],
                         "Active")
        self.assertEqual(shared.result(lambdas, {"do": "self"})["environ"]["COLOUR"], "green")


class Killed(shared.Case):
    def noted(self, kind):
        """How often each event has said "note" or "done"."""
        found = (re.fullmatch(rf"{kind} (killed-\d+)", line["text"])
                 for line in shared.service().lines("actor"))
        return collections.Counter(match.group(1) for match in found if match)

    def waiting(self):
        """The request ids of the events that the store has, while nobody has it open."""
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            for name in ("thaw.db", "thaw.db-wal"):
                path = os.path.join(shared.service().data, name)
                if os.path.exists(path):
                    shutil.copy(path, folder)
            database = sqlite3.connect(os.path.join(folder, "thaw.db"))
            rows = database.execute("SELECT id FROM events").fetchall()
            database.close()
        return {row[0] for row in rows}

    def test_events_survive(self):
        settle()
        running, lambdas = shared.service(), shared.client()
        self.addCleanup(lambdas.close)
        # Two at a time: the rest wait.
        lambdas.put_function_concurrency(FunctionName="actor", ReservedConcurrentExecutions=2)
        requests = {}
        for number in range(EVENTS):
            event = {"do": "note", "id": f"killed-{number}", "s": 0.7}
            response = lambdas.invoke(FunctionName="actor", Qualifier="1", InvocationType="Event",
                                      Payload=json.dumps(event))
            self.assertEqual(response["StatusCode"], 202)
            requests[response["ResponseMetadata"]["RequestId"]] = event["id"]
        eventually(lambda: len(self.noted("done")) >= 3, 60, 0.02)
        running.kill()
        self.assertEqual([child for child in support.wait_no_children() if child[1] == "thaw-vmm"], [])
        waiting = self.waiting()
        done = self.noted("done")
        self.assertLessEqual(waiting, set(requests))
        finished = {name for request, name in requests.items() if request not in waiting}
        self.assertTrue(waiting, "the daemon was killed too late for this test")
        self.assertTrue(finished, "the daemon was killed too early for this test")
        # What is recorded as finished has run, once.
        self.assertEqual({name: done[name] for name in finished}, {name: 1 for name in finished})
        running.start()
        self.assertTrue(running.health())
        eventually(lambda: len(self.noted("done")) == EVENTS, 120)
        after = shared.client()
        self.addCleanup(after.close)
        # And nothing comes afterwards.
        time.sleep(2)
        done, noted = self.noted("done"), self.noted("note")
        for request, name in requests.items():
            if name in finished:
                self.assertEqual((done[name], noted[name]), (1, 1), name)
            else:
                self.assertGreaterEqual(done[name], 1, name)
        after.delete_function_concurrency(FunctionName="actor")
        support.say(f"    {len(finished)} of {EVENTS} events were finished before the kill")
        self.assertEqual(shared.result(after, {"value": "well"}), "well")

    def test_groups_and_files(self):
        """What a killed daemon leaves is taken up by the next: nothing is half-made after it."""
        settle()
        running = shared.service()
        running.kill()
        running.start()
        self.assertEqual(running.state.half_made(), [])
        self.assertEqual(running.stop(), {})
        running.start()
