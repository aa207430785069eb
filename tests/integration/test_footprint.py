#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What thaw-vmm takes for itself, and what `thaw` keeps open."""

import json
import os
import re
import subprocess
import time

import support
from support import OK

OWN_MAX_KIB = 3 * 1024
GUEST_MIB = 64  # what a guest has beside the function's memory


def mappings(pid):
    """[(path, size in KiB, resident KiB)] of a process."""
    head = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)$")
    found = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            match = head.match(line)
            if match:
                found.append([match[1], 0, 0])
            elif line.startswith("Size:"):
                found[-1][1] = int(line.split()[1])
            elif line.startswith("Rss:"):
                found[-1][2] = int(line.split()[1])
    return found


def own_memory_kib(pid, guest_mib):
    """Resident, without the guest's memory and its drives."""
    own, guest = 0, 0
    for path, size, resident in mappings(pid):
        if path.endswith(("image.raw", ".erofs")) or "image.raw" in path or ".erofs" in path:
            guest += size
        elif not path and size >= guest_mib * 1024:
            guest += size
        else:
            own += resident
    return own, guest


def vmm_of(process):
    for pid, name in support.children(process.pid):
        if name == "thaw-vmm":
            return pid
    return None


def descriptors(pid):
    """How many a process has; 0 when it is gone: the last may be, before we look."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


class Footprint(support.Case):
    behaviours = True

    def start(self, command, event, *options):
        process = support.start("--state", self.state.path, *command, "--event", "-", *options,
                                stdin=subprocess.PIPE)
        process.stdin.write(json.dumps(event).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def measure(self, process, what):
        """When the handler says that it sleeps, the guest has done all it does."""
        for line in process.stderr:
            if b"now sleeping" in line:
                break
        own, guest = own_memory_kib(vmm_of(process), 128 + GUEST_MIB)
        support.say(f"    {what}: thaw-vmm's own memory {own} KiB")
        self.assertGreaterEqual(guest, (128 + GUEST_MIB) * 1024, "guest memory was not found")
        result = support.finish(process, (what,), time.monotonic())
        self.assertEqual(result.code, OK, result)
        self.assertLessEqual(own, OWN_MAX_KIB)

    SLEEP = {"do": "announced-sleep", "s": 2}

    def test_after_a_boot(self):
        self.measure(self.start(("run", "--runtime", "python3.11", "--code",
                                 support.handler("behaviours"), "--handler", "app.handler",
                                 "--timeout", "60", "--vcpus", "1"), self.SLEEP), "after a boot")

    def test_after_a_restore(self):
        for mode in ("map", "uring", "uffd", "eager"):
            self.measure(self.start(("invoke", "behaviours"), self.SLEEP, "--mode", mode),
                         f"restored, {mode}")

    def watch_descriptors(self, *options, count):
        """The most open descriptors of thaw and of a thaw-vmm of its own, in the first third of the
        invocations and in the last."""
        # Slow enough to be looked at.
        process = self.start(("invoke", "behaviours"), {"do": "sleep", "s": 0.2}, "--count",
                             str(count), *options)
        thirds = [(0, 0)] * 3
        done = samples = 0
        for line in process.stderr:
            if not line.startswith(b"REPORT "):
                continue
            third = done * 3 // count
            done += 1
            now = descriptors(process.pid), descriptors(vmm_of(process))
            thirds[third] = tuple(map(max, now, thirds[third]))
            samples += now[0] > 0
        process.stdout.read()
        process.stdout.close()
        process.stderr.close()
        self.assertEqual(process.wait(), OK)
        self.assertEqual(done, count)
        self.assertGreater(samples, 2)
        support.say(f"    descriptors of thaw and thaw-vmm: first {thirds[0]}, at last {thirds[2]}")
        return thirds[0], thirds[2]

    def test_descriptors_of_fifty_invocations(self):
        first, last = self.watch_descriptors("--keep", count=50)
        self.assertLessEqual(last[0], first[0])
        self.assertLessEqual(last[1], first[1])

    def test_descriptors_of_fifty_restores(self):
        first, last = self.watch_descriptors(count=50)
        # How far the next clone is when we look differs; what leaked would be thirty at least.
        self.assertLessEqual(last[0], first[0] + 5)

    def test_steps_of_a_restore(self):
        """Printed, not judged: times are no business of a test."""
        for mode in ("map", "uring", "uffd", "eager"):
            result = self.invoke({"do": "echo"}, "--mode", mode, "--verbose")
            self.assertEqual(result.code, OK, result)
            steps = [line for line in result.err.splitlines()
                     if not line.startswith(("START", "END", "REPORT"))]
            support.say(f"    {mode}:\n      " + "\n      ".join(steps))


if __name__ == "__main__":
    support.main()
