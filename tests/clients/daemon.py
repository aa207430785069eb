# SPDX-License-Identifier: Apache-2.0
"""thawd as the tests run it: on a directory of its own and a free port, and looked after: it has to
end in time, and to leave no process, no control group and nothing half-made.
"""

import collections
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
import support  # noqa: E402
from support import say  # noqa: E402

THAW = support.THAW
THAWD = os.path.join(support.BUILD, "bin", "thawd")
REGION = "us-east-1"

START_LIMIT = 60  # seconds
DRAIN = 20  # seconds that an invocation under way has at the end
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:(\d+))")

Account = collections.namedtuple("Account", "name id key secret")


def archive(folder, replace=()):
    """The ZIP file of a folder below functions/; replace: pairs of texts, for other code."""
    buffer = io.BytesIO()
    top = os.path.join(HERE, "functions", folder)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in support.listing(top):
            path = os.path.join(top, name)
            if os.path.isfile(path) and "__pycache__" not in name:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                for old, new in replace:
                    text = text.replace(old, new)
                packed.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def groups(data):
    """The control groups that the daemon of a data directory has made."""
    status = os.stat(data)
    name = f"{status.st_dev:x}-{status.st_ino:x}"
    found = []
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(folder, one) for one in folders if name in one]
    return found


class Daemon:
    """One data directory, and the daemon that has it, which may be started several times."""

    def __init__(self, *options):
        self.state = support.State()
        self.data = self.state.path
        self.log_path = os.path.join(self.data, "thawd.log")
        self.options = ("--retry-scale", "0.01", "--drain", str(DRAIN), *options)
        self.process = None
        self.url = self.port = None
        self.starts = 0

    # --- its life -------------------------------------------------------------------------------

    def command(self):
        # No configuration of this machine's.
        return [THAWD, "--config", "/dev/null", "--data", self.data, "--listen", "127.0.0.1:0",
                "--region", REGION, *self.options]

    def start(self):
        self.log_from = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        end = time.monotonic() + START_LIMIT
        while True:
            found = LISTENING.search(self.log()[self.log_from:])
            if found:
                break
            if self.process.poll() is not None or time.monotonic() > end:
                code = self.process.poll()
                self.kill()
                raise AssertionError(f"thawd did not start (exit code {code}):\n{self.log()}")
            time.sleep(0.02)
        self.url, self.port = found.group(1), int(found.group(2))
        self.starts += 1
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def print_log(self):
        say(f"--- thawd's log ---\n{self.log()[-20000:]}\n--- end of thawd's log ---")

    def stop(self):
        """As an administrator does, with all that must be true afterwards; {} or what is wrong."""
        process, wrong = self.process, {}
        if process is None:
            return wrong
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(DRAIN + 15)
            if code != 0:
                wrong["exit code"] = code
        except subprocess.TimeoutExpired:
            wrong["not ended in"] = f"{DRAIN + 15} s"
        self.kill()
        left = self.left()
        if left:
            wrong["left"] = left
        return wrong

    def kill(self):
        """As a crash ends it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def left(self):
        """What a daemon that is gone must not have left: {} if all is well."""
        left = {}
        processes = [child for child in support.wait_no_children() if child[1] == "thaw-vmm"]
        for pid, _ in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if processes:
            left["processes"] = processes
        if groups(self.data):
            left["control groups"] = groups(self.data)
        if self.state.half_made():
            left["half-made"] = self.state.half_made()
        return left

    def remove(self):
        self.kill()
        self.state.remove()

    # --- what it holds --------------------------------------------------------------------------

    def descriptors(self):
        """How many of each kind: sockets, pipes, files by name."""
        kinds = collections.Counter()
        folder = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                kinds[re.sub(r"\[\d+\]$|/proc/\d+", "", os.readlink(os.path.join(folder, name)))] += 1
        return kinds

    def shells(self):
        """MicroVMs in waiting: they are nobody's, and stay."""
        return json.loads(self.thaw("top", "--json").out)["host"]["shells"]

    def machines(self):
        return [pid for pid, name in support.children(self.process.pid) if name == "thaw-vmm"]

    # --- talking to it --------------------------------------------------------------------------

    def health(self, timeout=10):
        with urllib.request.urlopen(self.url + "/health", timeout=timeout) as answer:
            return answer.status == 200 and answer.read() == b"ok\n"

    def thaw(self, *arguments):
        return support.thaw(arguments[0], *arguments[1:], "--data", self.data)

    def account(self, name, verb="create"):
        """A tenant, or (verb: key) another key of one."""
        result = self.thaw("account", verb, name, "--env")
        if result.code != 0:
            raise AssertionError(f"no account: {result}")
        lines = dict(re.findall(r"^export (\w+)=(.*)$", result.out.decode(), re.M))
        return Account(name, lines["THAW_ACCOUNT"], lines["AWS_ACCESS_KEY_ID"],
                       lines["AWS_SECRET_ACCESS_KEY"])

    def lines(self, function, *options):
        """What a function has printed: records, oldest first."""
        result = self.thaw("logs", function, "--json", *options)
        if result.code != 0:
            return []
        return [json.loads(line) for line in result.out.splitlines()]

    def environ(self, account):
        """For clients that are programs; nothing of this machine's own configuration."""
        keep = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**keep, "AWS_ACCESS_KEY_ID": account.key, "AWS_SECRET_ACCESS_KEY": account.secret,
                "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": self.url,
                "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": ""}
