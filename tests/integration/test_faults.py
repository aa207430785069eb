#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real microVMs that are killed, or stand still, somewhere in their start and their work, and memory images
that are cut beneath a clone. What a stand-in can show is in tests/faults; here the processes, and the kernel's
ends of them, are the real ones. docs/faults.md has the table."""

import json
import os
import signal
import subprocess
import time

import support
from test_daemon import FUNCTIONS, Daemon, cpu_seconds

# Of the way from the start of thaw-vmm to the answer, in eighths.
MOMENTS = 6


class Machines(support.Case):
    behaviours = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.invoke_once(cls)  # makes the raw image
        began = time.monotonic()
        result = cls.invoke_once(cls)
        cls.length = time.monotonic() - began
        if result.code != support.OK:
            raise AssertionError(result)

    def invoke_once(self):
        return support.thaw("--state", self.state.path, "invoke", "behaviours", "--event", "-",
                            data=json.dumps({"do": "echo", "value": 1}).encode())

    def begin(self, event, env=None):
        """An invocation under way, and its thaw-vmm."""
        process = support.start("--state", self.state.path, "invoke", "behaviours", "--event", "-", env=env,
                                stdin=subprocess.PIPE)
        process.stdin.write(json.dumps(event).encode())
        process.stdin.close()
        process.stdin = None
        end = time.monotonic() + 20
        while time.monotonic() < end and process.poll() is None:
            found = [pid for pid, name in support.children(process.pid) if name == "thaw-vmm"]
            if found:
                return process, found[0]
            time.sleep(0.002)
        raise AssertionError(f"no thaw-vmm: {process.communicate()}")

    def end(self, process, limit):
        began = time.monotonic()
        result = support.finish(process, ("invoke",), began, limit=limit)
        return result

    def signalled(self, pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it was through

    def assert_lost(self, result, pattern):
        self.assertEqual(result.code, support.FAILED, result)
        errors = [line for line in result.err.splitlines() if line.startswith("thaw: ")]
        self.assertEqual(len(errors), 1, result)
        self.assertRegex(errors[0], pattern, result)

    def test_killed(self):
        """kill -9 of thaw-vmm in every part of a restore: the caller is told, and nothing is left."""
        lost = 0
        for moment in range(MOMENTS):
            process, pid = self.begin({"do": "echo", "value": 1})
            time.sleep(self.length * moment / 8)
            self.signalled(pid, signal.SIGKILL)
            result = self.end(process, 30)
            if result.code != support.OK:
                self.assert_lost(result, r"died: signal 9|closed")
                lost += 1
        self.assertGreater(lost, MOMENTS // 2)

    def test_killed_at_work(self):
        process, pid = self.begin({"do": "sleep", "s": 60})
        time.sleep(2 * self.length + 0.5)
        self.signalled(pid, signal.SIGKILL)
        self.assert_lost(self.end(process, 20), r"died: signal 9")

    def test_stands_still(self):
        """SIGSTOP of thaw-vmm while it restores: found out at the deadline, and killed."""
        process, pid = self.begin({"do": "echo", "value": 1}, env={"THAW_TIMEOUT_SCALE": "0.01"})
        self.signalled(pid, signal.SIGSTOP)
        self.assert_lost(self.end(process, 30), r"in time")
        self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_cut_image(self):
        """The file beneath a clone's memory is cut: the microVM ends, not the host; the next is well."""
        process, _ = self.begin({"do": "sleep", "s": 4})
        time.sleep(2 * self.length + 0.5)
        image = self.state.snapshot("behaviours", "image.raw")
        os.chmod(image, 0o600)
        os.truncate(image, 1 << 20)
        result = self.end(process, 330)
        if result.code != support.OK:
            self.assert_lost(result, r"died: signal 7|stopped|closed|in time")
        self.assertEqual(self.invoke_once().code, support.OK)


class Ends(support.Case):
    def test_while_a_snapshot_is_made(self):
        """SIGTERM of thawd while a guest boots for a snapshot: it ends by itself, and leaves nothing."""
        daemon = Daemon(self.state.path)
        try:
            daemon.create("f", Publish=True, SnapStart={"ApplyOn": "PublishedVersions"})
            end = time.monotonic() + 20
            while not self.at_work(daemon) and time.monotonic() < end:
                time.sleep(0.05)
            self.assertTrue(self.at_work(daemon))
            _, data = daemon.ask("GET", FUNCTIONS + "/f:1/configuration")
            self.assertEqual(json.loads(data)["State"], "Pending")
        finally:
            began = time.monotonic()
            code = daemon.stop()
        self.assertEqual(code, 0)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(os.listdir(os.path.join(self.state.path, "snapshots")), [])

    @staticmethod
    def at_work(daemon):
        """A guest that runs, not a shell in waiting."""
        return [pid for pid in daemon.environments() if cpu_seconds(pid) > 0.3]


if __name__ == "__main__":
    support.main()
