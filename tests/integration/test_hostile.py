#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that drives the devices of thaw-vmm wrongly (tests/hostile): whatever it does, it is stopped with
one clear reason or goes on, and thaw-vmm neither dies, nor spins, nor grows, nor keeps its host waiting.

THAW_HOSTILE_VMM names another thaw-vmm: one built with sanitizers, whose memory is not looked at then.
"""

import os
import subprocess
import unittest

import support

FOLDER = os.path.join(support.BUILD, "tests", "hostile")
OTHER_VMM = os.environ.get("THAW_HOSTILE_VMM")
VMM = OTHER_VMM or support.VMM

# Milliseconds, and percent of a processor. The emulated host is slow, and busy with itself.
ANSWER_LIMIT = 5000 if support.EMULATED else 1000
SHUTDOWN_LIMIT = 10000 if support.EMULATED else 2000
IDLE_LIMIT = 30
GROWTH_LIMIT = 4096  # KiB
LIMIT = 120  # seconds a scenario may take

WELL = "well"        # it goes on, and its devices serve a driver that keeps to the rules
RESTING = "resting"  # it goes on, and is not to be asked for more
SCENARIOS = {
    "nothing": WELL,
    "mmio-sweep": WELL, "mmio-live": WELL, "pio-sweep": WELL, "pio-strings": WELL,
    "status-order": WELL, "features-refused": WELL, "queue-sizes": WELL, "queue-addresses": WELL,
    "queue-late": WELL, "kick-storm": WELL, "reset-storm": WELL,
    "ring-loops": WELL, "ring-outside": WELL, "ring-indirect": WELL, "ring-index-jumps": WELL,
    "ring-lengths": WELL, "ring-edges": WELL, "ring-order": WELL, "ring-same-head": WELL,
    "ring-overlap": WELL, "race-buffers": WELL, "race-reset": WELL,
    "block-ranges": WELL, "block-pieces": WELL, "block-discards": WELL, "block-flush-storm": WELL,
    "block-gigabytes": WELL, "block-busy-end": RESTING,
    "rng-gigabytes": WELL,
    "vsock-garbage": WELL, "vsock-exhaust": WELL, "vsock-half-open": WELL, "vsock-deaf": WELL,
    "vsock-credit": WELL, "vsock-big": WELL, "vsock-reset-storm": WELL,
    "net-frames": WELL, "net-broken-frames": WELL, "net-buffers": WELL, "net-flood": WELL,
    "net-deaf": WELL, "net-resets": WELL, "race-source": WELL,
    "halt": RESTING, "spin": RESTING, "storm-for-ever": RESTING,
    "console-flood": WELL, "mark-flood": WELL, "serial-registers": WELL, "pmem-write": WELL,
    "triple-fault": "^the guest shut down by a triple fault$",
    "keyboard-reset": "^the guest reset itself$",
    "both-reset": "^the guest reset itself$",
    "reset-beside-spin": "^the guest reset itself$",
    "run-device": "^KVM (cannot emulate the instruction at|internal error|could not) ",
    "run-hole": "^KVM (cannot emulate the instruction at|internal error|could not) ",
    "tables-in-hole": "^(the guest shut down by a triple fault$|KVM )",
}
# The second processor starts in real mode, which a software KVM does not run.
TWO_PROCESSORS = {"race-buffers", "race-reset", "race-source", "storm-for-ever", "both-reset",
                  "reset-beside-spin"}
# These make a processor, or the I/O thread, busy, and go on doing so.
BUSY = {"spin", "storm-for-ever", "block-busy-end"}


class Run:
    """What the harness tells of one scenario."""

    def __init__(self, scenario):
        done = subprocess.run([os.path.join(FOLDER, "hostile-harness"), VMM,
                               os.path.join(FOLDER, "guest.elf"), scenario, str(LIMIT)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace", check=False, timeout=3 * LIMIT)
        self.code, self.err = done.returncode, done.stderr
        self.values, self.console = {}, []
        for line in done.stdout.splitlines():
            key, _, value = line.partition(" ")
            if key == "console":
                self.console.append(value)
            else:
                self.values[key] = value

    def number(self, key):
        return int(self.values.get(key, "-1"))

    def __str__(self):
        return f"{self.values}\n" + "\n".join(self.console[-20:]) + "\n" + self.err[-6000:]


class Hostile(support.Case):
    def test_scenarios_are_those_of_the_guest(self):
        run = Run("list")
        self.assertEqual(set(run.console) - {"resting"}, set(SCENARIOS), run)

    def check(self, scenario, expected):
        run = Run(scenario)
        self.assertEqual(run.code, 0, run)
        self.assertEqual(run.values.get("end"), "exit 0", run)
        self.assertNotIn("failure", run.values, run)
        self.assertNotIn("Sanitizer", run.err, run)
        self.assertNotIn("runtime error", run.err, run)
        faults = [line for line in run.console if "fault: " in line]
        self.assertEqual(faults, [], run)
        if expected in (WELL, RESTING):
            self.assertEqual(run.values["outcome"], expected, run)
        else:
            self.assertEqual(run.values["outcome"], "stopped", run)
            self.assertRegex(run.values["stopped"], expected, run)
        self.assertLess(run.number("slowest-ms"), ANSWER_LIMIT, run)
        self.assertLess(run.number("shutdown-ms"), SHUTDOWN_LIMIT, run)
        if scenario not in BUSY:
            self.assertLess(run.number("process-percent"), IDLE_LIMIT, run)
        # Its one connection with the host may have ended; it has made none that stays.
        self.assertLessEqual(run.number("descriptors"), 0, run)
        if not OTHER_VMM:
            self.assertLess(run.number("own-kib"), GROWTH_LIMIT, run)
        # Whatever it sends bears its own address.
        self.assertEqual(run.number("spoofed"), 0, run)
        if scenario in ("net-frames", "net-flood", "race-source"):
            self.assertGreater(run.number("frames"), 0, run)
        self.assertEqual(run.values["read-only"], "unchanged", run)
        self.assertEqual(run.values["mapped"], "unchanged", run)
        self.assertEqual(run.number("writable-size"), 4 << 20, run)


def add_tests():
    for scenario, expected in SCENARIOS.items():
        def test(self, scenario=scenario, expected=expected):
            self.check(scenario, expected)
        if scenario in TWO_PROCESSORS:
            test = unittest.skipUnless(support.EMULATED, "a software KVM runs no real mode")(test)
        setattr(Hostile, "test_" + scenario.replace("-", "_"), test)


add_tests()

if __name__ == "__main__":
    support.main()
