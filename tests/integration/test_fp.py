#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Floating point and SSE across context switches, freezes, snapshots and restores: fp/bootstrap.c."""

import os

import support


class FloatingPoint(support.Case):
    code = os.path.join(support.PROGRAMS, "fp")
    rounds = 80000 if support.EMULATED else 400000

    def check_answer(self, workers, since=None):
        self.assertEqual(len(workers), 2)
        for number, worker in enumerate(workers):
            self.assertEqual((worker["errors"], worker["words"]), (0, 0), workers)
            self.assertGreaterEqual(worker["after"], worker["before"] + 3, workers)
            if since:
                self.assertGreaterEqual(worker["before"], since[number]["after"], workers)
        return workers

    def check(self, vcpus):
        name = f"fp{vcpus}"
        created = self.thaw("snapshot", "create", "--runtime", "provided", "--code", self.code,
                            "--handler", str(self.rounds), "--vcpus", str(vcpus), "--timeout", "60", "-o", name,
                            limit=support.COLD_LIMIT)
        self.assertEqual(created.code, support.OK, created)
        starts = []
        for mode in ("map", "uring", "uffd", "eager"):
            result = self.invoke({}, "--mode", mode, "--count", "3", "--keep", name=name)
            self.assertEqual(result.code, support.OK, result)
            last = None
            for workers in result.lines():
                last = self.check_answer(workers, last)
            starts.append([worker["before"] for worker in result.lines()[0]])
            support.say(f"    {vcpus} vCPU, {mode}: blocks {starts[-1]} -> "
                        f"{[worker['after'] for worker in last]}, no wrong bit")
        # All began in the midst of the same computation.
        for counts in starts[1:]:
            for first, other in zip(starts[0], counts):
                self.assertLess(abs(first - other), 400, starts)
        together = self.invoke({}, "--count", "6", "--parallel", "3", name=name)
        self.assertEqual(together.code, support.OK, together)
        for workers in together.lines():
            self.check_answer(workers)

    def test_one_vcpu(self):
        self.check(1)

    def test_two_vcpus(self):
        self.check(2)


if __name__ == "__main__":
    support.main()
