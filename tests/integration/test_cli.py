#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command line: help, exit codes, and one line for each mistake."""

import json
import os
import tempfile

import support
from support import HOST, OK, SNAPSHOT, USAGE

FUNCTION = ("--runtime", "python3.11", "--code", support.handler("behaviours"), "--handler",
            "app.handler")
COMMANDS = (("doctor",), ("run",), ("snapshot",), ("snapshot", "create"), ("snapshot", "ls"),
            ("snapshot", "inspect"), ("snapshot", "rm"), ("invoke",), ("bench",))


class Help(support.Case):
    needs_kvm = False

    def test_every_command_explains_itself(self):
        for command in ((),) + COMMANDS:
            with self.subTest(command):
                result = self.thaw(*command, "--help")
                self.assertEqual(result.code, OK, result)
                self.assertEqual(result.err, "", result)
                text = result.out.decode()
                self.assertTrue(text.startswith("Usage: thaw"), result)
                self.assertRegex(text, "Exam(ple|ples):", result)
                self.assertRegex(text, "Exit codes:", result)
                for line in text.splitlines():
                    self.assertLessEqual(len(line), 100, line)

    def test_version(self):
        self.assertRegex(self.thaw("--version").out.decode(), r"^thaw \d+\.\d+\.\d+$")

    def test_help_needs_no_state(self):
        result = support.thaw("--state", "/proc/nowhere", "invoke", "--help")
        self.assertEqual(result.code, OK, result)


class Mistakes(support.Case):
    needs_kvm = False

    def assert_usage(self, *arguments, pattern="", data=None):
        with self.subTest(" ".join(arguments)):
            self.assert_one_line_error(self.thaw(*arguments, data=data), USAGE, pattern)

    def test_commands(self):
        result = support.thaw()
        self.assertEqual(result.code, USAGE, result)
        self.assertIn("Usage: thaw", result.err)
        self.assert_usage("fly", pattern='"fly"')
        self.assert_usage("snapshot", "fly", pattern='"fly"')

    def test_unknown_options(self):
        self.assert_usage("--fast", pattern="--fast")
        for command in COMMANDS:
            self.assert_usage(*command, "--fast", pattern="--fast")
            self.assert_usage(*command, "-Z", pattern="-Z")

    def test_missing_values(self):
        self.assert_usage("run", "--code", pattern="--code.*wants a value")
        self.assert_usage("invoke", "x", "--event", pattern="--event.*wants a value")
        self.assert_usage("--state", pattern="--state")

    def test_missing_arguments(self):
        self.assert_usage("run", pattern="--runtime")
        self.assert_usage("run", "--runtime", "python3.11", pattern="--code")
        self.assert_usage("run", "--runtime", "python3.11", "--code", ".", pattern="--handler")
        self.assert_usage("snapshot", "create", *FUNCTION, pattern="-o NAME")
        for command in (("snapshot", "inspect"), ("snapshot", "rm"), ("invoke",), ("bench",)):
            self.assert_usage(*command, pattern="NAME|name")

    def test_too_many_arguments(self):
        self.assert_usage("doctor", "me", pattern='"me"')
        self.assert_usage("run", *FUNCTION, "more", pattern='"more"')
        self.assert_usage("invoke", "one", "two", pattern="name of one snapshot")
        self.assert_usage("snapshot", "ls", "one", pattern="no argument")

    def test_values_out_of_range(self):
        for option, values in (("--memory", ("127", "10241", "-1", "much", "", "128.5", "0x80")),
                               ("--timeout", ("0", "901", "1s", "99999999999999999999")),
                               ("--vcpus", ("0", "7")), ("--ephemeral", ("511", "10241")),
                               ("--cpu-template", ("intel", "")),
                               ("--runtime", ("cobol", "../python3.11", "")),
                               ("--env", ("A", "=b", "AWS_REGION=x", "a-b=c", "LAMBDA_TASK_ROOT=/")),
                               ("--name", ("a/b", "", "x" * 65)), ("--handler", ("x" * 129,))):
            for value in values:
                self.assert_usage("run", *FUNCTION, option, value)
        for option, values in (("--count", ("0", "-1", "x")), ("--parallel", ("0", "x")),
                               ("--mode", ("fast", ""))):
            for value in values:
                self.assert_usage("invoke", "name", option, value, pattern=option)

    def test_events(self):
        self.assert_usage("run", *FUNCTION, "--event", "/nowhere/event.json", pattern="/nowhere/event.json")
        self.assert_usage("run", *FUNCTION, "--event", "/", pattern="\"/\"")
        self.assert_usage("run", *FUNCTION, "--event", "-", pattern="JSON", data=b"{")

    def test_code(self):
        for code, pattern in (("/nowhere", "/nowhere"), ("/etc/passwd", "/etc/passwd")):
            with self.subTest(code):
                result = self.thaw("run", "--runtime", "python3.11", "--code", code, "--handler", "x.y")
                self.assertIn(result.code, (USAGE, HOST), result)
                self.assert_one_line_error(result, result.code, pattern)
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            os.mkfifo(os.path.join(folder, "pipe"))
            result = self.thaw("run", "--runtime", "python3.11", "--code", folder, "--handler", "x.y")
            self.assert_one_line_error(result, result.code, "pipe")
            self.assertIn(result.code, (USAGE, HOST), result)

    def test_state_directories(self):
        for path in ("/proc/nowhere", "/dev/null", ""):
            with self.subTest(path):
                result = support.thaw("--state", path, "snapshot", "ls")
                self.assert_one_line_error(result, HOST, "state|nowhere|null")

    def test_missing_parts(self):
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            result = self.thaw("run", *FUNCTION, env={"THAW_LIBDIR": folder})
            self.assertIn(result.code, (USAGE, HOST), result)
            self.assert_one_line_error(result, result.code, "none|THAW_LIBDIR|build")
        result = self.thaw("run", *FUNCTION, env={"THAW_VMM": "/nowhere/thaw-vmm"})
        self.assertNotEqual(result.code, OK)
        self.assert_one_line_error(result, result.code, "/nowhere/thaw-vmm|/dev/kvm")

    def test_missing_snapshots(self):
        for command in (("invoke", "nobody"), ("snapshot", "inspect", "nobody"),
                        ("snapshot", "rm", "nobody"), ("bench", "nobody")):
            with self.subTest(command):
                result = self.thaw(*command)
                self.assert_one_line_error(result, SNAPSHOT, 'no snapshot "nobody"')

    def test_nothing_listed(self):
        result = self.thaw("snapshot", "ls")
        self.assertEqual(result.code, OK, result)
        self.assertEqual(self.thaw("snapshot", "ls", "--json").json(), [])

    def test_terminal_escapes_do_not_pass(self):
        result = self.thaw("invoke", "\x1b[31mred", "--event", "-", data=b"{}")
        self.assertEqual(result.code, USAGE)
        self.assertNotIn("\x1b", result.err)


class Doctor(support.Case):
    def test_text(self):
        result = self.thaw("doctor")
        self.assertEqual(result.code, OK, result)
        text = result.out.decode()
        for word in ("kvm", "io_uring", "userfaultfd", "cgroup", "tun", "erofs"):
            self.assertRegex(text.lower(), word)
        self.assertRegex(text, "emulated host" if support.EMULATED else "(software|hardware)")
        support.say("    " + "\n    ".join(text.splitlines()))

    def test_json(self):
        result = self.thaw("doctor", "--json")
        self.assertEqual(result.code, OK, result)
        self.assertIsInstance(json.loads(result.out), dict)


if __name__ == "__main__":
    support.main()
