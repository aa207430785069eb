#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every system call that thaw-vmm's filters allow is one that it needs: its threads are watched while it is
asked for all it can do, and each row of the table (vmm/sandbox_table.c) must have been used, by each kind of
thread that has it, unless the table says that it is seldom, and why."""

import os
import shutil
import subprocess
import tempfile
import unittest

import support

TRACE = os.path.join(support.BUILD, "tests", "trace")
HOSTILE = os.path.join(support.BUILD, "tests", "hostile")
GUEST = os.path.join(HOSTILE, "guest.elf")
# What the guest does to its devices beside.
SCENARIOS = ("vsock-half-open", "triple-fault", "run-hole")


def table():
    """{number: (kinds, seldom, text)}"""
    done = subprocess.run([os.path.join(TRACE, "trace"), "--rows"], stdout=subprocess.PIPE, check=True,
                          text=True)
    rows = {}
    for line in done.stdout.splitlines():
        number, kinds, seldom, text = line.split(" ", 3)
        rows[int(number)] = (kinds.split(","), seldom == "seldom", text.strip())
    return rows


class Sandbox(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="thaw-test-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.vmm = os.path.join(self.folder, "thaw-vmm")
        shutil.copy(os.path.join(TRACE, "trace"), self.vmm)
        os.symlink(support.VMM, os.path.join(self.folder, "vmm"))

    def run_all(self, *command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True,
                              errors="replace", timeout=300)
        self.assertEqual(done.returncode, 0, (command, done.stdout[-2000:], done.stderr[-2000:]))
        return done.stdout

    def test_each_row_is_needed(self):
        self.run_all(os.path.join(TRACE, "trace-drive"), self.vmm, GUEST)
        for scenario in SCENARIOS:
            out = self.run_all(os.path.join(HOSTILE, "hostile-harness"), self.vmm, GUEST, scenario, "60")
            self.assertIn("\nend exit 0\n", out)
        used, strange = set(), []
        with open(os.path.join(self.folder, "calls"), encoding="ascii") as file:
            for line in file:
                words = line.split()
                if len(words) == 2 and words[1].isdigit() and words[0] != "signal":
                    used.add((words[0], int(words[1])))
                else:
                    strange.append(line)
        self.assertEqual(strange, [], "calls that no row allows")
        rows = table()
        self.assertGreater(len(rows), 50)
        idle = [(kind, text) for number, (kinds, seldom, text) in rows.items() if not seldom
                for kind in kinds if (kind, number) not in used]
        self.assertEqual(idle, [], "rows that nobody needs")
        support.say(f"    {len(rows)} rows, {len(used)} uses")


if __name__ == "__main__":
    support.main()
