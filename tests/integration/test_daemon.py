#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""thawd's environments: how they start, stand still, are limited, die and are replaced. What real clients
make of its API is tests/clients'."""

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import zipfile

import support

THAWD = os.path.join(os.path.dirname(support.THAW), "thawd")
ROLE = "arn:aws:iam::000000000000:role/any"
FUNCTIONS = "/2015-03-31/functions"
STREAMS = "/2021-11-15/functions"
WAIT = 120


def archive(name):
    data = io.BytesIO()
    code = support.handler(name)
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for entry in sorted(os.listdir(code)):
            if os.path.isfile(os.path.join(code, entry)):
                file.write(os.path.join(code, entry), entry)
    return base64.b64encode(data.getvalue()).decode()


class Daemon:
    """A thawd that takes unsigned requests, in a directory that outlives it."""

    def __init__(self, data, *options, env=None, wrap=()):
        self.data = data
        self.process = subprocess.Popen(
            [*wrap, THAWD, "--data", data, "--listen", "127.0.0.1:0", "--no-auth", *options],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.log = []
        self.port = None
        for line in self.process.stderr:
            self.log.append(line)
            match = re.search(r"listening on http://127\.0\.0\.1:(\d+),", line)
            if match:
                self.port = int(match.group(1))
                break
        if not self.port:
            self.process.wait(WAIT)
            self.process.stderr.close()
            raise AssertionError("thawd did not start: " + "".join(self.log))
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=WAIT)
        self.reader.join(WAIT)
        self.process.stderr.close()
        return code

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        return response, connection

    def ask(self, method, path, body=None, headers=None):
        response, connection = self.call(method, path, body, headers)
        data = response.read()
        connection.close()
        return response, data

    def create(self, name, code="behaviours", runtime="python3.11", **more):
        response, data = self.ask("POST", FUNCTIONS, {
            "FunctionName": name, "Runtime": runtime, "Handler": "app.handler", "Role": ROLE,
            "Timeout": 60, "Code": {"ZipFile": archive(code)}, **more})
        if response.status != 201:
            raise AssertionError(f"CreateFunction: {response.status} {data!r}")
        return json.loads(data)

    def wait_active(self, name):
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            _, data = self.ask("GET", f"{FUNCTIONS}/{name}/configuration")
            configuration = json.loads(data)
            if configuration["State"] == "Active":
                return configuration
            if configuration["State"] == "Failed":
                raise AssertionError(configuration)
            time.sleep(0.1)
        raise AssertionError(f"{name} is not active after {WAIT} s")

    def invoke(self, name, event, tail=True):
        response, data = self.ask("POST", f"{FUNCTIONS}/{name}/invocations", event,
                                  {"X-Amz-Log-Type": "Tail"} if tail else {})
        log = response.headers.get("X-Amz-Log-Result")
        return Answer(response.status, response.headers, data, base64.b64decode(log).decode() if log else "")

    def environments(self):
        return [pid for pid, name in all_children(self.process.pid) if name == "thaw-vmm"]

    def top(self):
        done = subprocess.run([support.THAW, "top", "--data", self.data, "--json"], capture_output=True,
                              check=True, text=True)
        return json.loads(done.stdout)["host"]

    def wait_idle(self):
        """Until nothing is busy or starting."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            states = self.top()["environments"]
            if not states["busy"] and not states["starting"] and not states["closing"]:
                return states
            time.sleep(0.05)
        raise AssertionError("environments do not come to rest")


class Answer:
    def __init__(self, status, headers, data, log):
        self.status, self.headers, self.data, self.log = status, headers, data, log
        self.error = headers.get("X-Amz-Function-Error")

    def json(self):
        return json.loads(self.data)

    def __str__(self):
        return f"{self.status} {self.error} {self.data[:500]!r}\n{self.log}"


def all_children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                pids = file.read().split()
            for child in pids:
                with open(f"/proc/{child}/comm", encoding="ascii") as file:
                    found.append((int(child), file.read().strip()))
        except OSError:
            pass  # it ended meanwhile
    return found


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Case(unittest.TestCase):
    """One daemon for all of a class; "f" and its version 1, which has a snapshot."""

    options = ()

    @classmethod
    def setUpClass(cls):
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise AssertionError("these tests need /dev/kvm, which is missing or forbidden here")
        cls.data = tempfile.mkdtemp(prefix="thaw-daemon-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.data)
        cls.daemon = Daemon(cls.data, *cls.options)
        cls.addClassCleanup(cls.end)
        cls.daemon.create("f", Publish=True, SnapStart={"ApplyOn": "PublishedVersions"})
        cls.daemon.wait_active("f:1")

    @classmethod
    def end(cls):
        left = cls.daemon.environments()
        code = cls.daemon.stop()
        if code != 0:
            raise AssertionError(f"thawd ended with {code}: " + "".join(cls.daemon.log[-20:]))
        time.sleep(0.2)
        left = [pid for pid in left if alive(pid)]
        if left:
            raise AssertionError(f"left behind: {left}")

    def setUp(self):
        self.began = time.monotonic()
        self.addCleanup(lambda: support.say(
            f"  {self.id().rpartition('.')[2]}: {time.monotonic() - self.began:.1f} s"))

    def good(self, answer):
        self.assertEqual((answer.status, answer.error), (200, None), answer)
        return answer.json()


class First(Case):
    def test_cold_restore_warm(self):
        cold = self.daemon.invoke("f", {"do": "self", "bare": True})
        environ = self.good(cold)["environ"]
        self.assertIn("Init Duration", cold.log)
        self.assertEqual(environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand")
        self.assertEqual(environ["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST")
        restored = self.daemon.invoke("f:1", {"do": "self", "bare": True})
        environ = self.good(restored)["environ"]
        self.assertIn("Restore Duration", restored.log)
        self.assertEqual(environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "snap-start")
        self.assertEqual(environ["AWS_LAMBDA_FUNCTION_VERSION"], "1")
        warm = self.daemon.invoke("f:1", {"do": "echo", "value": 5, "bare": True})
        self.assertEqual(self.good(warm), 5)
        self.assertNotIn("Duration: 0.00", warm.log)
        self.assertNotIn("Restore Duration", warm.log)


class Starts(Case):
    def test_burst(self):
        """All at once: restored environments answer, each one event at a time."""
        count, answers = 12, []

        def one(number):
            answers.append(self.daemon.invoke("f:1", {"do": "echo", "value": number, "bare": True}))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        self.assertEqual(sorted(self.good(answer) for answer in answers), list(range(count)))
        self.assertFalse([answer for answer in answers if "Init Duration" in answer.log])
        host = self.daemon.top()
        self.assertGreaterEqual(host["reused"] + host["started"], count)

    def test_frozen(self):
        """Between two events a function's threads stand still: no time on a CPU."""
        self.good(self.daemon.invoke("f:1", {"do": "echo", "value": 1, "bare": True}))
        self.daemon.wait_idle()
        time.sleep(0.2)
        pids = self.daemon.environments()
        self.assertTrue(pids)
        before = {pid: cpu_seconds(pid) for pid in pids}
        time.sleep(2)
        for pid in pids:
            if alive(pid):
                self.assertLessEqual(cpu_seconds(pid) - before[pid], 0.05)

    def test_limits(self):
        """CPU time in proportion to memory, by a group of its own for each environment."""
        for value in range(3):
            self.good(self.daemon.invoke("f:1", {"do": "echo", "value": value, "bare": True}))
        self.daemon.wait_idle()
        found = []
        for folder, _, files in os.walk("/sys/fs/cgroup"):
            if "cpu.max" in files and re.search(r"/thaw-[^/]+/[0-9a-f]{32}$", folder):
                with open(folder + "/cpu.max", encoding="ascii") as file:
                    found.append(file.read().split())
                with open(folder + "/memory.max", encoding="ascii") as file:
                    self.assertLess(int(file.read()), 1 << 30)
                with open(folder + "/pids.max", encoding="ascii") as file:
                    self.assertEqual(file.read().strip(), "64")
        # Those in waiting have no limit of CPU time yet.
        found = [words for words in found if words[0] != "max"]
        self.assertTrue(found, "no environment has a group of its own")
        for quota, period in found:
            # 128 of 1769 MB.
            self.assertAlmostEqual(int(quota) / int(period), 128 / 1769, delta=0.01)

    def test_jail(self):
        """Each thaw-vmm is a user of its own, in namespaces of its own, with nothing."""
        self.good(self.daemon.invoke("f:1", {"do": "echo", "value": 1, "bare": True}))
        self.good(self.daemon.invoke("f", {"do": "echo", "value": 1, "bare": True}))
        pids = self.daemon.environments()
        self.assertGreaterEqual(len(pids), 2)
        uids, ran = set(), 0
        for pid in pids:
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            ids = set((status["Uid"] + "\t" + status["Gid"]).split())
            self.assertEqual(len(ids), 1)
            uids |= ids
            self.assertGreaterEqual(int(min(ids)), 0x40000000)
            self.assertEqual(status["Groups"].strip(), "")
            for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(status[kind], 16), 0, kind)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            self.assertEqual(status["NSpid"].split()[-1], "1", "not alone in its namespace")
            for kind in ("mnt", "net", "ipc", "uts", "cgroup", "pid"):
                self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/{kind}"), os.readlink(f"/proc/self/ns/{kind}"),
                                    kind)
            self.assertEqual(os.listdir(f"/proc/{pid}/root"), [])
            with open(f"/proc/{pid}/mountinfo", encoding="ascii") as file:
                mounts = file.read().splitlines()
            self.assertEqual(len(mounts), 1)
            self.assertIn("ro", mounts[0].split()[5].split(","))
            with open(f"/proc/{pid}/environ", "rb") as file:
                self.assertEqual(file.read(), b"")
            with open(f"/proc/{pid}/limits", encoding="ascii") as file:
                limits = dict(re.findall(r"^Max (.*?)  +(\S+) ", file.read(), re.M))
            self.assertEqual({name: limits[name] for name in LIMITS}, LIMITS)
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                self.assertEqual(file.read(), b"thaw-vmm\0--jail\0")
            # Not dumpable: its files in /proc are root's, though it is not.
            self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/0"), "/dev/null")
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/1"), "/dev/null")
            self.assertRegex(os.readlink(f"/proc/{pid}/fd/3"), "^socket:")
            for number in map(int, os.listdir(f"/proc/{pid}/fd")):
                target = os.readlink(f"/proc/{pid}/fd/{number}")
                # What the host gave, or it made: nothing that was open here at its start.
                self.assertTrue(number < 4 or re.match(GIVEN, target), (number, target))
            # Every thread has loaded more than the one filter of the process: the first when its
            # guest began.
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
                    filters = int(re.search(r"^Seccomp_filters:\t(\d+)$", file.read(), re.M)[1])
                self.assertIn(filters, (1, 2) if task == str(pid) else (2,))
                ran += task == str(pid) and filters == 2
        self.assertEqual(len(uids), len(pids))
        self.assertGreaterEqual(ran, 2)

    def test_provisioned(self):
        path = "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1"
        response, data = self.daemon.ask("PUT", path, {"ProvisionedConcurrentExecutions": 2})
        self.assertEqual(response.status, 202, data)
        end = time.monotonic() + WAIT
        status = None
        while status != "READY" and time.monotonic() < end:
            _, data = self.daemon.ask("GET", path)
            status = json.loads(data)["Status"]
            time.sleep(0.1)
        self.assertEqual(status, "READY", data)
        self.assertEqual(json.loads(data)["AvailableProvisionedConcurrentExecutions"], 2)
        self.good(self.daemon.invoke("f:1", {"do": "echo", "value": 1, "bare": True}))
        _, data = self.daemon.ask("GET", "/metrics")
        labels = 'account="000000000000",function="f",version="1"'
        self.assertIn(f"thaw_provisioned_environments{{{labels}}} 2\n", data.decode())
        self.assertRegex(data.decode(), rf'thaw_invocations_total{{{labels},start_type="provisioned"[^}}]*}} 1\n')
        response, data = self.daemon.ask("DELETE", path)
        self.assertEqual(response.status, 204, data)


LIMITS = {"core file size": "0", "processes": "128", "open files": "4096",
          "file size": str(16 << 30), "locked memory": str(1 << 20), "msgqueue size": "0"}
GIVEN = (r"anon_inode:(kvm-vm|kvm-vcpu:\d+|\[?(eventfd|eventpoll|io_uring|userfaultfd)\]?)|socket:|"
         r"/dev/(kvm|userfaultfd)$|/.*(image\.raw|tmp|\(deleted\)|\.ext4|#\d+)")


class Failures(Case):
    # A runtime that starts anew has the function's share of a CPU: here that takes long.
    options = ("--retry-scale", "0.01", "--cpu-limit=no", "--share-drives=no", "--uid-first", "200000")

    def works(self):
        self.assertEqual(self.good(self.daemon.invoke("f:1", {"do": "echo", "value": 7, "bare": True})), 7)

    def test_exit(self):
        answer = self.daemon.invoke("f:1", {"do": "exit", "status": 3})
        self.assertEqual((answer.status, answer.error), (200, "Unhandled"), answer)
        self.assertEqual(answer.json()["errorType"], "Runtime.ExitError")
        self.works()

    def test_timeout(self):
        response, data = self.daemon.ask("PUT", FUNCTIONS + "/f/configuration", {
            "Timeout": 1, "LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "WARN"}})
        self.assertEqual(response.status, 200, data)
        answer = self.daemon.invoke("f", {"do": "hang"})
        self.assertEqual((answer.status, answer.error), (200, "Unhandled"), answer)
        self.assertEqual(answer.json()["errorType"], "Sandbox.Timedout")
        self.assertIn("Task timed out after 1.00 seconds", answer.json()["errorMessage"])
        records = [json.loads(line) for line in answer.log.splitlines() if line.startswith("{")]
        self.assertEqual({record["type"]: record["record"]["status"] for record in records},
                         {"platform.runtimeDone": "timeout", "platform.report": "timeout"}, answer.log)
        self.works()

    def test_own_drives(self):
        """--share-drives=no: what is mapped is a copy without a name, one for all of the account's."""
        self.works()
        files = set()
        for pid in self.daemon.environments():
            with open(f"/proc/{pid}/maps", encoding="ascii") as file:
                lines = [line.split(maxsplit=5) for line in file]
            files |= {tuple(words[3:]) for words in lines if len(words) == 6 and words[1] == "r--s"}
        self.assertTrue(files)
        for _, _, path in files:
            self.assertNotIn(".erofs", path)
            self.assertRegex(path, r" \(deleted\)\s*$")

    def test_killed_machine(self):
        """thaw-vmm dies under an event: its caller is told, and the next one served."""
        before = set(self.daemon.environments())
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(self.daemon.invoke("f:1", {"do": "sleep", "s": 30})))
        thread.start()
        end = time.monotonic() + WAIT
        while not self.daemon.top()["environments"]["busy"] and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)
        for pid in before | set(self.daemon.environments()):
            os.kill(pid, signal.SIGKILL)
        thread.join(WAIT)
        self.assertEqual(answers[0].status, 500, answers[0])
        self.assertEqual(answers[0].headers["x-amzn-ErrorType"], "ServiceException")
        self.works()

    def test_users(self):
        """Each has one of those that were given, and the lowest that was free."""
        self.good(self.daemon.invoke("f:1", {"do": "echo", "value": 1, "bare": True}))
        self.daemon.wait_idle()
        users = []
        for pid in self.daemon.environments():
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                ids = set(re.search(r"^Uid:\s+(.*)$", file.read(), re.M)[1].split())
            self.assertEqual(len(ids), 1)
            users.append(int(ids.pop()) - 200000)
        self.assertEqual(len(set(users)), len(users))
        self.assertTrue(all(0 <= user < 64 for user in users), users)

    def test_out_of_memory(self):
        """The group of one microVM has no memory left: it dies, its caller is told, and nobody else
        notices."""
        for value in range(2):
            self.good(self.daemon.invoke("f", {"do": "echo", "value": value, "bare": True}))
        others = set(self.daemon.environments())
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(self.daemon.invoke("f:1", {"do": "spin"})))
        thread.start()
        end = time.monotonic() + WAIT
        busy = []
        while not busy and time.monotonic() < end:
            before = {pid: cpu_seconds(pid) for pid in self.daemon.environments()}
            time.sleep(1)
            # What waits, or stands still, takes no time.
            busy = [pid for pid, used in before.items() if alive(pid) and cpu_seconds(pid) > used + 0.02]
            if self.daemon.top()["environments"]["busy"] != 1 or len(busy) != 1:
                busy = []
        self.assertTrue(busy)
        with open(f"/proc/{busy[0]}/cgroup", encoding="ascii") as file:
            group = "/sys/fs/cgroup" + file.read().split("::")[1].strip()
        with open(group + "/memory.max", encoding="ascii") as file:
            self.assertEqual(int(file.read()), (192 + 32 + 3) << 20)
        # From the first: all of it is counted there.
        with open(group + "/memory.current", encoding="ascii") as file:
            self.assertGreater(int(file.read()), 1 << 20)
        with open(group + "/memory.swap.max", encoding="ascii") as file:
            self.assertEqual(file.read().strip(), "0")
        with open(group + "/memory.max", "w", encoding="ascii") as file:
            file.write("64K")
        thread.join(WAIT)
        self.assertEqual(answers[0].status, 500, answers[0])
        self.assertEqual(answers[0].headers["x-amzn-ErrorType"], "ServiceException")
        self.assertFalse(alive(busy[0]))
        self.assertTrue(all(alive(pid) for pid in others - {busy[0]}))
        self.works()

    def test_event(self):
        """Accepted, retried twice, and given up; then one that works."""
        response, data = self.daemon.ask("POST", FUNCTIONS + "/f:1/invocations", {"do": "raise"},
                                         {"X-Amz-Invocation-Type": "Event"})
        self.assertEqual((response.status, data), (202, b""))
        request = response.headers["x-amzn-RequestId"]
        end = time.monotonic() + WAIT
        lines = ""
        while lines.count("END RequestId: " + request) < 3 and time.monotonic() < end:
            time.sleep(0.2)
            lines = subprocess.run([support.THAW, "logs", "f", "--data", self.data, "--request-id", request],
                                   capture_output=True, check=False, text=True).stdout
        self.assertEqual(lines.count("START RequestId: " + request), 3, lines)
        while self.daemon.top()["queued"] and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.daemon.top()["queued"], 0)


class Streams(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon.create("stream", "streaming", "nodejs18.x", MemorySize=512)
        cls.daemon.invoke("stream", {"parts": 0, "pause": 0})

    def events(self, event):
        """(seconds until it came, type, payload) of each message."""
        began = time.monotonic()
        response, connection = self.daemon.call(
            "POST", STREAMS + "/stream/response-streaming-invocations", event)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["Content-Type"], "application/vnd.amazon.eventstream")
        found, data = [], b""
        while True:
            piece = response.read1(65536)
            if not piece:
                break
            data += piece
            while len(data) >= 4 and len(data) >= int.from_bytes(data[:4], "big"):
                size, headers = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
                kind = re.search(rb":event-type\x07\x00.(\w+)", data[12:12 + headers]).group(1).decode()
                # The greedy word may take the next header's length byte, which is a colon: it cannot.
                found.append((time.monotonic() - began, kind, data[12 + headers:size - 4]))
                data = data[size:]
        connection.close()
        self.assertEqual(data, b"")
        return found

    def test_parts(self):
        """Parts come while the function still runs."""
        found = self.events({"parts": 4, "pause": 700})
        self.assertEqual([kind for _, kind, _ in found], ["PayloadChunk"] * 4 + ["InvokeComplete"])
        self.assertEqual(b"".join(payload for _, _, payload in found[:4]), b"part 0\npart 1\npart 2\npart 3\n")
        self.assertLess(found[0][0] + 1.4, found[4][0])
        self.assertEqual(json.loads(found[4][2]), {})

    def test_failure_in_the_middle(self):
        found = self.events({"parts": 2, "pause": 10, "fail": True})
        end = json.loads(found[-1][2])
        self.assertEqual(found[-1][1], "InvokeComplete")
        self.assertEqual(end["ErrorCode"], "RangeError")
        self.assertIn("in the middle", end["ErrorDetails"])


class Life(Case):
    def test_crash(self):
        """kill -9: nothing is left running, and the next start goes on with what there was."""
        self.good(self.daemon.invoke("f:1", {"do": "echo", "value": 1, "bare": True}))
        for number in range(5):
            response, _ = self.daemon.ask("POST", FUNCTIONS + "/f:1/invocations",
                                          {"do": "sleep", "s": 1 + number / 10},
                                          {"X-Amz-Invocation-Type": "Event"})
            self.assertEqual(response.status, 202)
        pids = self.daemon.environments()
        self.daemon.stop(signal.SIGKILL)
        end = time.monotonic() + WAIT
        while any(alive(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse([pid for pid in pids if alive(pid)])
        type(self).daemon = Daemon(self.data)
        while self.daemon.top()["queued"] and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(self.daemon.top()["queued"], 0)
        log = subprocess.run([support.THAW, "logs", "f", "--data", self.data], capture_output=True,
                             check=True, text=True).stdout
        ended = {match.group(1) for match in re.finditer(r"END RequestId: (\S+)", log)}
        self.assertGreaterEqual(len(ended), 6)

    def test_another_agent(self):
        """What a snapshot was made of has changed: it is made again, and serves until then."""
        parts = os.path.join(self.data, "other")
        os.makedirs(parts + "/guest")
        build = os.path.dirname(os.path.dirname(support.THAW))
        os.symlink(build + "/images", parts + "/images")
        for name in os.listdir(build + "/guest"):
            os.symlink(f"{build}/guest/{name}", f"{parts}/guest/{name}")
        initramfs = next(name for name in os.listdir(parts + "/guest") if "initramfs" in name)
        os.remove(f"{parts}/guest/{initramfs}")
        shutil.copyfile(f"{build}/guest/{initramfs}", f"{parts}/guest/{initramfs}")
        with open(f"{parts}/guest/{initramfs}", "ab") as file:
            file.write(bytes(512))  # what the kernel passes over
        before = set(os.listdir(self.data + "/snapshots"))
        self.daemon.stop()
        # Not before somebody has said that this is to be.
        refused = subprocess.run([THAWD, "--data", self.data, "--listen", "127.0.0.1:0", "--no-auth"],
                                 capture_output=True, check=False, text=True, timeout=WAIT,
                                 env={**os.environ, "THAW_LIBDIR": parts})
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "initramfs.cpio.*not one that this host has imported.*thaw trust")
        subprocess.run([support.THAW, "--state", self.data, "trust"], check=True, timeout=WAIT,
                       stdout=subprocess.DEVNULL, env={**os.environ, "THAW_LIBDIR": parts})
        type(self).daemon = Daemon(self.data, env={"THAW_LIBDIR": parts})
        answer = self.daemon.invoke("f:1", {"do": "echo", "value": 9, "bare": True})
        self.assertEqual(self.good(answer), 9)
        self.assertIn("Restore Duration", answer.log)
        self.remade(before)
        # And back.
        before = set(os.listdir(self.data + "/snapshots"))
        self.daemon.stop()
        subprocess.run([support.THAW, "--state", self.data, "trust"], check=True, timeout=WAIT,
                       stdout=subprocess.DEVNULL)
        type(self).daemon = Daemon(self.data)
        self.remade(before)

    def remade(self, before):
        end = time.monotonic() + WAIT
        while before & set(os.listdir(self.data + "/snapshots")) and time.monotonic() < end:
            time.sleep(0.1)
        after = set(os.listdir(self.data + "/snapshots"))
        self.assertFalse(before & after, self.daemon.log)
        self.assertEqual(len(after), 1)
        answer = self.daemon.invoke("f:1", {"do": "echo", "value": 9, "bare": True})
        self.assertEqual(self.good(answer), 9)
        self.assertIn("Restore Duration", answer.log)

    def test_one_at_a_time(self):
        second = subprocess.run([THAWD, "--data", self.data, "--listen", "127.0.0.1:0", "--no-auth"],
                                capture_output=True, check=False, text=True, timeout=WAIT)
        self.assertEqual(second.returncode, 1)
        self.assertIn(str(self.daemon.process.pid), second.stderr)

    def test_no_jail_no_start(self):
        """Without the capabilities that jails are built with it does not start; when it is told to, it says
        what that means."""
        command = ["setpriv", "--bounding-set=-sys_admin", THAWD, "--data", self.data + "/unjailed",
                   "--listen", "127.0.0.1:0", "--no-auth"]
        refused = subprocess.run(command, capture_output=True, check=False, text=True, timeout=WAIT)
        self.assertEqual(refused.returncode, 1, refused)
        self.assertIn("microVMs cannot be jailed", refused.stderr)
        with subprocess.Popen(command + ["--jail=no"], stderr=subprocess.PIPE, text=True) as process:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if "listening on" in line:
                    break
            process.terminate()
            self.assertEqual(process.wait(WAIT), 0)
        self.assertTrue([line for line in lines if " warn " in line and "--jail=no" in line], lines)

    def test_rebuilt_code(self):
        """The cache of drives may be emptied at any time."""
        code = os.path.join(self.data, "code")
        for name in os.listdir(code):
            os.remove(os.path.join(code, name))
        self.daemon.ask("PUT", FUNCTIONS + "/f/configuration", {"Description": "another revision"})
        self.assertEqual(self.good(self.daemon.invoke("f", {"do": "echo", "value": 3, "bare": True})), 3)


if __name__ == "__main__":
    support.main()
