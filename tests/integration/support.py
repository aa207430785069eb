# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: running `thaw`, a state directory of one's own, snapshots that
several tests use, and the check that nothing is left behind.

Every test script runs twice: on this machine's KVM, and in the emulated bare-metal host
(tests/host). THAW_BUILD names the build directory.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import forge

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("THAW_BUILD", os.path.join(SOURCE, "build")))
THAW = os.path.join(BUILD, "bin", "thaw")
VMM = os.path.join(BUILD, "bin", "thaw-vmm")
PROGRAMS = os.path.join(BUILD, "tests", "integration")
EMULATED = "THAW_EMULATED_HOST" in os.environ

# Exit codes of `thaw`.
OK, FUNCTION_ERROR, USAGE, HOST, SNAPSHOT, FAILED = range(6)

# A guest's own work takes long where its kernel's code is emulated; it is not the tests' business
# how long.
COLD_LIMIT = 300
RESTORE_LIMIT = 400

PAYLOAD_MAX = 6291556

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
START = re.compile(rf"^START RequestId: ({UUID}) Version: \$LATEST$", re.M)
END = re.compile(rf"^END RequestId: ({UUID})$", re.M)
REPORT = re.compile(
    rf"^REPORT RequestId: (?P<id>{UUID})\tDuration: (?P<duration>\d+\.\d\d) ms\t"
    r"Billed Duration: (?P<billed>\d+) ms\tMemory Size: (?P<memory>\d+) MB\t"
    r"Max Memory Used: (?P<used>\d+) MB\t"
    r"(?:Init Duration: (?P<init>\d+\.\d\d) ms\t"
    r"|Restore Duration: (?P<restore>\d+\.\d\d) ms\t"
    r"Billed Restore Duration: (?P<billed_restore>\d+) ms\t)?"
    r"(?:Status: (?P<status>error|timeout)\t(?:Error Type: (?P<type>\S+)\t)?)?$", re.M)

PR_SET_CHILD_SUBREAPER = 36


def say(text):
    """Progress, for whoever watches a test that takes its time."""
    print(text, file=sys.stderr, flush=True)


# --- processes ----------------------------------------------------------------------------------------

def children(pid=None):
    """Living descendants of a process, ours by default: [(pid, name)]."""
    parents, names = {}, {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        if fields[0] in "ZX":
            continue
        parents[int(entry)] = int(fields[1])
        names[int(entry)] = head.partition("(")[2]
    found, todo = [], [pid or os.getpid()]
    while todo:
        parent = todo.pop()
        for child, of in parents.items():
            if of == parent:
                found.append((child, names[child]))
                todo.append(child)
    return found


def wait_no_children(seconds=10):
    """Those that are there still after so long. Orphans come to us, as we are a subreaper."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = children()
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.02)


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


class Result:
    """How a command ended."""

    def __init__(self, arguments, code, out, err, seconds):
        self.arguments, self.code, self.out, self.seconds = arguments, code, out, seconds
        self.err = err.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.out)

    def lines(self):
        """The responses of several invocations, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def reports(self):
        return [match.groupdict() for match in REPORT.finditer(self.err)]

    def __str__(self):
        return (f"thaw {' '.join(self.arguments)}\n  exit code {self.code} after {self.seconds:.1f} s\n"
                f"  errors: {[line for line in self.err.splitlines() if line.startswith('thaw:')]}\n"
                f"  stdout: {self.out[:1000]!r}\n  stderr: {self.err[-2000:]}")


def start(*arguments, env=None, stdin=subprocess.DEVNULL, **options):
    """`thaw` in the background, with pipes."""
    return subprocess.Popen([THAW, *arguments], stdin=stdin, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, **(env or {})}, **options)


def finish(process, arguments, began, data=None, limit=RESTORE_LIMIT):
    try:
        out, err = process.communicate(data, timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"thaw {' '.join(arguments)}: not done after {limit} s\n"
                             f"{err.decode('utf-8', 'replace')[-3000:]}") from None
    return Result(arguments, process.returncode, out, err, time.monotonic() - began)


def thaw(*arguments, data=None, env=None, limit=RESTORE_LIMIT, **options):
    """Runs `thaw`; data (bytes) is its standard input."""
    began = time.monotonic()
    process = start(*arguments, env=env, **options,
                    stdin=subprocess.DEVNULL if data is None else subprocess.PIPE)
    return finish(process, arguments, began, data, limit)


# --- state directories --------------------------------------------------------------------------------

def handler(name):
    return os.path.join(HERE, "handlers", name)


def listing(path):
    """All there is below a directory, relative."""
    found = []
    for folder, folders, files in os.walk(path):
        found += [os.path.relpath(os.path.join(folder, name), path) for name in folders + files]
    return sorted(found)


def create_behaviours(state, name="behaviours", *options):
    """A snapshot of handlers/behaviours, with a timeout that lets slow machines do anything."""
    return thaw("--state", state, "snapshot", "create", "--runtime", "python3.11", "--code",
                handler("behaviours"), "--handler", "app.handler", "--memory", "128",
                "--timeout", "300", "-o", name, *options, limit=COLD_LIMIT)


class State:
    """A state directory that goes away with its test."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="thaw-test-", dir=os.environ.get("TMPDIR", "/var/tmp"))

    def remove(self):
        shutil.rmtree(self.path)

    def snapshot(self, name, *parts):
        return os.path.join(self.path, "snapshots", name, *parts)

    def half_made(self):
        """What a command left in tmp/."""
        tmp = os.path.join(self.path, "tmp")
        return [name for name in listing(tmp) if name != ".lock"] if os.path.isdir(tmp) else []

    def take_behaviours(self):
        """The snapshot "behaviours": a copy of the shared one, where there is one, or made now."""
        shared = os.environ.get("THAW_TEST_FIXTURE", "")
        if os.path.exists(os.path.join(shared, "snapshots/behaviours/manifest.json")):
            # Not the raw image: it is made again from the frames, and would be anyway, as it is
            # not the file it was.
            for folder in ("snapshots", "digests", "templates", "code"):
                subprocess.run(["cp", "-a", "--sparse=always", os.path.join(shared, folder), self.path],
                               check=True)
            # What makes it this host's.
            for name in ("host.key", "parts"):
                shutil.copy2(os.path.join(shared, name), self.path)
            for name in ("image.raw", "image.id"):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.snapshot("behaviours", name))
            return
        result = create_behaviours(self.path)
        if result.code != OK:
            raise AssertionError(f"no snapshot to test with: {result}")

    def copy(self, source, name):
        """Another snapshot with the same files, to be damaged (forge.py writes new ones) and sealed again."""
        path = self.snapshot(name)
        if os.path.exists(path):
            shutil.rmtree(path)
        os.mkdir(path)
        for file in os.listdir(self.snapshot(source)):
            # The raw image would be made anew anyway: it is not the file it was.
            if file not in ("image.raw", "image.id"):
                os.link(self.snapshot(source, file), self.snapshot(name, file))
        forge.seal(self.path, name)
        return path


class Case(unittest.TestCase):
    """Tests with a state directory of their own, which must be left clean."""

    behaviours = False  # whether they need that snapshot
    needs_kvm = True

    @classmethod
    def setUpClass(cls):
        if cls.needs_kvm and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise AssertionError("these tests need /dev/kvm, which is missing or forbidden here")
        cls.state = State()
        cls.addClassCleanup(cls.state.remove)
        if cls.behaviours:
            cls.state.take_behaviours()

    def setUp(self):
        self.addCleanup(self.check_nothing_left)
        self.began = time.monotonic()

    def check_nothing_left(self):
        left = wait_no_children()
        for pid, _ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        say(f"  {self.id().rpartition('.')[2]}: {time.monotonic() - self.began:.1f} s")
        self.assertEqual(left, [], "processes left behind")
        self.assertEqual(self.state.half_made(), [], "left in the state directory's tmp/")

    def thaw(self, *arguments, **options):
        return thaw("--state", self.state.path, *arguments, **options)

    def invoke(self, event, *options, name="behaviours", **more):
        """One invocation of a restored snapshot (or several: --count); event: a value, or bytes."""
        data = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.thaw("invoke", name, "--event", "-", *options, data=data, **more)

    def result(self, event, *options, **more):
        """As invoke; the result of the handler, which must be well."""
        result = self.invoke(event, *options, **more)
        self.assertEqual(result.code, OK, result)
        return result.json()["result"]

    def assert_one_line_error(self, result, code, pattern):
        """One line on standard error that says what is wrong, and the exit code."""
        self.assertEqual(result.code, code, result)
        lines = [line for line in result.err.splitlines() if line.strip()]
        self.assertEqual(len(lines), 1, result)
        self.assertTrue(lines[0].startswith("thaw: "), result)
        self.assertRegex(lines[0], pattern or ".", result)
        self.assertEqual(result.out, b"", result)

    def assert_function_error(self, result, error_type, message=None, report_status="error"):
        """The error document of a function, and its exit code."""
        self.assertEqual(result.code, FUNCTION_ERROR, result)
        document = json.loads(result.out.splitlines()[0])
        self.assertEqual(document["errorType"], error_type, result)
        if message:
            self.assertRegex(document["errorMessage"], message, result)
        reports = result.reports()
        self.assertTrue(reports, result)
        self.assertEqual(reports[0]["status"], report_status, result)
        return document


def main():
    """To be called by every test script."""
    become_subreaper()
    unittest.main(verbosity=2)
