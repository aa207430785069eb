#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many clones of one snapshot at once: all answer, none has another's randomness, and every one
has the host's time."""

import concurrent.futures
import json
import os
import re
import selectors
import subprocess
import sys
import time

import support
from support import OK

sys.path.append(support.handler("behaviours"))
import tsc  # noqa: E402  pylint: disable=wrong-import-position

CLONES = 30
# For Uniqueness: so many in half a minute. THAW_CLONES=2000 takes its time.
MANY = int(os.environ.get("THAW_CLONES", 24 if support.EMULATED else 150))
PARALLEL = 2
TOLERANCE = 0.050
# Until 30 guests that start at once have settled, where kernels are emulated.
CLOCKS_LIMIT = 180


# Sources of 128 bits, and those that are a clone's own as long as it lives.
STREAMS = ("urandom", "uuid4", "kernel", "ssl", "getrandom", "device", "secrets")
WHOLE = ("urandom", "ssl", "getrandom", "device", "secrets")  # no bits of a UUID's version in them
OWN = ("node", "boot")


class Uniqueness(support.Case):
    """Many clones, each with two events: nothing that one of them draws has been drawn by another, and what
    all of them draw looks like chance."""

    behaviours = True

    def clone(self, number):
        result = self.invoke({"do": "random", "bare": True}, "--keep", "--count", "2", limit=300)
        self.assertEqual(result.code, OK, f"{number}: {result}")
        answers = result.lines()
        self.assertEqual(len(answers), 2, result)
        return answers, [report["id"] for report in result.reports()]

    def check_distinct(self, clones):
        for source in clones[0][0]:
            if source in OWN:
                values = [answers[0][source] for answers in clones]
                self.assertEqual(values, [answers[1][source] for answers in clones], source)
            else:
                values = [answer[source] for answers in clones for answer in answers]
            self.assertEqual(len(set(values)), len(values), source)
        values = [answer[source].replace("-", "") for answers in clones for answer in answers
                  for source in STREAMS]
        self.assertEqual(len(set(values)), len(values))

    def check_chance(self, clones):
        """Bits are set half of the time, and two values differ in half of their bits: streams that are not the
        same but near to each other show here."""
        for source in WHOLE:
            values = [int(answer[source], 16) for answers in clones for answer in answers]
            bits = 128 * len(values)
            ones = sum(value.bit_count() for value in values)
            self.assertLess(abs(ones - bits / 2), 6 * (bits ** 0.5) / 2, source)
            nearest = min((one ^ other).bit_count() for at, one in enumerate(values)
                          for other in values[:at])
            # 128 coins, some millions of times: fewer than 24 heads is one chance in 10^7 or less.
            self.assertGreater(nearest, 23, source)

    def test_clones(self):
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            found = list(pool.map(self.clone, range(MANY)))
        clones = [answers for answers, _ in found]
        ids = [one for _, both in found for one in both]
        self.assertEqual(len(set(ids)), 2 * MANY)
        self.check_distinct(clones)
        self.check_chance(clones)
        support.say(f"    {MANY} clones, {MANY / (time.monotonic() - self.began):.1f} a second")


class Clones(support.Case):
    behaviours = True

    def test_randomness(self):
        result = self.invoke({"do": "random", "bare": True}, "--count", str(CLONES), "--parallel",
                             str(CLONES), limit=300)
        self.assertEqual(result.code, OK, result)
        answers = result.lines()
        self.assertEqual(len(answers), CLONES, result)
        self.assertEqual(len(set(report["id"] for report in result.reports())), CLONES)
        for source in answers[0]:
            values = [answer[source] for answer in answers]
            self.assertEqual(len(set(values)), CLONES, f"{source}: {values}")
        # Nor do bytes of one source turn up in another.
        digits = [answer[key].replace("-", "") for answer in answers for key in STREAMS]
        self.assertEqual(len(set(digits)), len(STREAMS) * CLONES)
        support.say(f"    {CLONES} clones answered after {result.seconds:.1f} s")

    def start_clocks(self, count):
        event = json.dumps({"do": "clock-lines", "count": 40, "pause": 2}).encode()
        clones = []
        for _ in range(count):
            process = support.start("--state", self.state.path, "invoke", "behaviours", "--event", "-",
                                    stdin=subprocess.PIPE)
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
            process.stdin.write(event)
            process.stdin.close()
            process.stdin = None
            clones.append(process)
        return clones

    def read_clocks(self, clones, enough):
        """{process: differences of the host's clock when a line came and the guest's in it}, until
        `enough` is true of those of each clone, or for so long that it will never be."""
        line = re.compile(rb"^clock (\d+\.\d+)$", re.M)
        seen = {process: [] for process in clones}
        text = {process: b"" for process in clones}
        end = time.monotonic() + CLOCKS_LIMIT
        with selectors.DefaultSelector() as selector:
            for process in clones:
                selector.register(process.stderr, selectors.EVENT_READ, process)
            while selector.get_map() and time.monotonic() < end and not all(map(enough, seen.values())):
                for key, _ in selector.select(1):
                    data = os.read(key.fd, 65536)
                    now = time.time()
                    process = key.data
                    if not data:
                        selector.unregister(key.fileobj)
                    text[process] += data
                    found = [float(value) for value in line.findall(text[process])]
                    seen[process] += [now - value for value in found[len(seen[process]):]]
        for process in clones:
            self.assertTrue(seen[process], f"a clone said nothing: {text[process][-2000:]}")
        return seen

    def check_clocks(self, count):
        """The difference is that of the clocks, plus the time a line takes: the quickest tells."""
        def enough(differences):
            return len(differences) >= 3 and min(differences) <= TOLERANCE

        clones = self.start_clocks(count)
        found = [min(differences) for differences in self.read_clocks(clones, enough).values()]
        support.say(f"    clocks of {count} clones: {min(found) * 1000:.1f} to {max(found) * 1000:.1f} ms "
                    "behind the host's, with the way of a line")
        self.assertGreaterEqual(min(found), -TOLERANCE, "a guest's clock is ahead")
        self.assertLessEqual(max(found), TOLERANCE, "a guest's clock is behind")

    def test_wall_clock(self):
        self.check_clocks(1)

    def test_wall_clocks_of_many(self):
        if support.EMULATED:
            self.check_clocks(CLONES)
            return
        # Thirty emulated kernels on two processors: a line's way would show the queue for these, and
        # not the clocks. But guests of a software KVM see the host's time stamp counter.
        first = tsc.sample()
        result = self.invoke({"do": "clock-tsc", "bare": True}, "--count", str(CLONES), "--parallel",
                             str(CLONES), limit=300)
        self.assertEqual(result.code, OK, result)
        last = tsc.sample()
        rate = (last[1] - first[1]) / (last[0] - first[0])
        behind = []
        for counter, wall in result.lines():
            self.assertTrue(first[0] < counter < last[0], "not the host's counter")
            behind.append((first[1] + (counter - first[0]) * rate - wall) / 1e9)
        self.assertEqual(len(behind), CLONES, result)
        support.say(f"    clocks of {CLONES} clones: {min(behind) * 1000:.2f} to {max(behind) * 1000:.2f} ms "
                    "behind the host's")
        self.assertLessEqual(max(map(abs, behind)), TOLERANCE)

    def test_monotonic_clock_goes_on(self):
        """From where it stood in the snapshot, without a jump either way."""
        for mode in ("map", "eager"):
            clocks = self.result({"do": "clock"}, "--mode", mode)
            since = clocks["monotonic"] - clocks["born"]
            self.assertGreater(since, 0)
            self.assertLess(since, 60)

    def test_all_modes_in_parallel(self):
        for mode in ("map", "uring", "uffd", "eager"):
            result = self.invoke({"do": "echo", "value": mode, "bare": True}, "--mode", mode, "--count",
                                 "8", "--parallel", "8", limit=300)
            self.assertEqual(result.code, OK, result)
            self.assertEqual(result.lines(), [mode] * 8)


if __name__ == "__main__":
    support.main()
