# SPDX-License-Identifier: Apache-2.0
"""thawd among faults: with microVMs that a stand-in plays (standin.c), and with calls of the C library
that fail when the test says so (shim.c). No guest runs.
"""

import collections
import contextlib
import json
import mmap
import os
import re
import signal
import struct
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
sys.path.insert(1, os.path.join(os.path.dirname(HERE), "clients"))
import support  # noqa: E402
from test_daemon import FUNCTIONS, Daemon, alive  # noqa: E402
from daemon import groups  # noqa: E402

PROGRAMS = os.path.join(support.BUILD, "tests", "faults")

# Kinds of calls (shim.c).
OPEN, READ, WRITE, SYNC, SIZE, NAME, SOCKET, ACCEPT, MESSAGE, THREAD, MEMORY = (1 << n for n in range(11))
CHANGES = WRITE | SYNC | SIZE | NAME  # of the disk


class Shim:
    """The file that the shim and the test share."""

    LAYOUT = struct.Struct("=IIIiiIII q 64s")

    def __init__(self, place):
        self.path = os.path.join(place, "faults")
        with open(self.path, "wb") as file:
            file.write(bytes(self.LAYOUT.size))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), self.LAYOUT.size)
        self.shift_s = 0

    def set(self, calls=0, first=0, times=1, code=0, signal=0, wait_ms=0, path=""):
        """calls last: with it the rest begins to count."""
        data = self.LAYOUT.pack(0, first, times, code, signal, wait_ms, 0, 0, self.shift_s, path.encode())
        self.map[0:4] = bytes(4)
        self.map[4:] = data[4:]
        self.map[0:4] = struct.pack("=I", calls)

    def shift(self, seconds):
        self.shift_s = seconds
        self.map[32:40] = struct.pack("=q", seconds)

    @property
    def seen(self):
        return struct.unpack("=I", self.map[24:28])[0]

    @property
    def hit(self):
        return struct.unpack("=I", self.map[28:32])[0]

    def environ(self):
        return {"LD_PRELOAD": os.path.join(PROGRAMS, "shim.so"), "THAW_FAULTS": self.path}


class Place:
    """A data directory, parts for it, a stand-in, a shim, and a daemon that has all that."""

    def __init__(self, data=None, scale="0.05"):
        self.path = tempfile.mkdtemp(prefix="thaw-faults-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.data = data or os.path.join(self.path, "data")
        os.makedirs(self.data, mode=0o700, exist_ok=True)
        parts = os.path.join(self.path, "parts")
        for name in ("guest/vmlinux", "guest/initramfs.cpio", "images/python3.11.erofs"):
            os.makedirs(os.path.dirname(os.path.join(parts, name)), exist_ok=True)
            with open(os.path.join(parts, name), "w", encoding="ascii") as file:
                file.write(name)
        self.vmm = os.path.join(self.path, "thaw-vmm")
        os.symlink(os.path.join(PROGRAMS, "standin"), self.vmm)
        self.shim = Shim(self.path)
        self.environ = {"THAW_VMM": self.vmm, "THAW_LIBDIR": parts, "THAW_TIMEOUT_SCALE": scale,
                        **self.shim.environ()}
        self.daemon = None

    def start(self, *options, env=None, wrap=(), shells=0):
        self.daemon = Daemon(self.data, "--cpu-limit=no", "--shells", str(shells), *options,
                             env={**self.environ, **(env or {})}, wrap=wrap)
        return self.daemon

    def order(self, *lines):
        """Of the stand-in, from now on."""
        new = os.path.join(self.path, "new")
        with open(new, "w", encoding="ascii") as file:
            file.write("".join(line + "\n" for line in lines))
        os.rename(new, os.path.join(self.path, "orders"))

    def half_made(self):
        tmp = os.path.join(self.data, "tmp")
        return [name for name in support.listing(tmp) if name != ".lock"]

    def snapshots(self):
        return os.listdir(os.path.join(self.data, "snapshots"))

    def machines(self):
        """Every stand-in of ours, wherever it hangs."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    file.read(1)
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if not file.read().startswith(b"thaw-vmm\0"):
                        continue
                if os.readlink(f"/proc/{entry}/exe").startswith(PROGRAMS) and alive(int(entry)):
                    found.append(int(entry))
            except OSError:
                pass
        return found

    def left(self):
        """What nobody should have left, when no daemon runs."""
        end = time.monotonic() + 5
        while self.machines() and time.monotonic() < end:
            time.sleep(0.02)
        left = {"processes": self.machines(), "half-made": self.half_made(), "groups": groups(self.data)}
        return {name: what for name, what in left.items() if what}


class Case(unittest.TestCase):
    """A daemon for each class; "f" is a function."""

    options = wrap = ()
    shells = 0
    scale = "0.05"

    @classmethod
    def setUpClass(cls):
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise AssertionError("these tests need /dev/kvm, which is missing or forbidden here")
        cls.place = cls.make_place()
        cls.addClassCleanup(support.shutil.rmtree, cls.place.path)
        cls.addClassCleanup(cls.end)
        cls.daemon = cls.place.start(*cls.options, wrap=cls.wrap, shells=cls.shells)
        cls.prepare()

    @classmethod
    def make_place(cls):
        return Place(scale=cls.scale)

    @classmethod
    def prepare(cls):
        cls.daemon.create("f", Timeout=1)

    @classmethod
    def end(cls):
        cls.place.order()
        cls.place.shim.set()
        code = cls.place.daemon.stop()
        left = cls.place.left()
        if code != 0 or left:
            raise AssertionError(f"thawd ended with {code} and left {left}:\n"
                                 + "".join(cls.place.daemon.log[-30:]))

    def setUp(self):
        self.began = time.monotonic()
        self.addCleanup(lambda: support.say(
            f"  {self.id().rpartition('.')[2]}: {time.monotonic() - self.began:.1f} s"))
        self.addCleanup(self.place.order)
        self.addCleanup(self.place.shim.set)

    def end_machines(self):
        """All environments die while they stand still."""
        time.sleep(0.1)
        for pid in self.place.machines():
            os.kill(pid, signal.SIGKILL)

    @property
    def shim(self):
        return self.place.shim

    def invoke(self, name="f", event=None):
        return self.daemon.invoke(name, event if event is not None else {"n": 1}, tail=False)

    def works(self, name="f"):
        answer = self.invoke(name, {"works": True})
        self.assertEqual((answer.status, answer.error), (200, None), answer)
        self.assertEqual(answer.json(), {"works": True})

    def forget_environments(self, name="f"):
        """Another revision: no environment of before is used again."""
        response, data = self.daemon.ask("PUT", f"{FUNCTIONS}/{name}/configuration",
                                         {"Description": str(time.monotonic())})
        self.assertEqual(response.status, 200, data)

    def state_of(self, name):
        _, data = self.daemon.ask("GET", f"{FUNCTIONS}/{name}/configuration")
        return json.loads(data)

    def wait_state(self, name, state, seconds=20):
        end = time.monotonic() + seconds
        while self.state_of(name).get("State") != state:
            if time.monotonic() > end:
                raise AssertionError(f"{name}: {self.state_of(name)}, wanted {state}\n"
                                     + "".join(self.daemon.log[-10:]))
            time.sleep(0.02)
        return self.state_of(name)

    def descriptors(self):
        """What the daemon has open, by kind; sockets of clients that have gone may be among it for a moment."""
        folder, kinds = f"/proc/{self.daemon.process.pid}/fd", collections.Counter()
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                kinds[re.sub(r"\[?\d+\]?|[0-9a-f]{16,}", "", os.readlink(f"{folder}/{name}"))] += 1
        return kinds
