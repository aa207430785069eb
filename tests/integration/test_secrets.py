#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is in a snapshot, and what must not be: its memory, as it is mapped into every clone, is searched for
secrets that were planted.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import support
from test_daemon import FUNCTIONS, Daemon

RANDOM = os.path.join(support.PROGRAMS, "known_random.so")
VARIABLE = b"variable-planted-before-the-snapshot"
PAYLOAD = b"payload-planted-after-the-snapshot"
CONTEXT = b'{"custom":{"k":"context-planted-after-the-snapshot"}}'


def pieces(file, overlap=256):
    """Its bytes, without its holes; each piece begins with the end of the one before."""
    end, at, tail = os.fstat(file.fileno()).st_size, 0, b""
    while at < end:
        try:
            begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:
            return
        stop = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
        tail = tail if begin == at else b""
        at = begin
        while at < stop:
            data = os.pread(file.fileno(), min(stop - at, 16 << 20), at)
            yield tail + data
            tail = data[-overlap:]
            at += len(data)


def search(folder, needles):
    """{needle: files below the folder that have it}."""
    found = {needle: [] for needle in needles}
    for path, _, files in os.walk(folder):
        for name in files:
            full = os.path.join(path, name)
            if os.path.islink(full) or not os.path.isfile(full):
                continue
            with open(full, "rb") as file:
                left = set(needles)
                for piece in pieces(file):
                    for needle in sorted(left):
                        if needle in piece:
                            found[needle].append(os.path.relpath(full, folder))
                            left.remove(needle)
    return found


class Snapshot(support.Case):
    """One made by hand. The image is that of all memory, decompressed: the first restore has made it."""

    def test_memory(self):
        preload = {"LD_PRELOAD": RANDOM}
        made = self.thaw("snapshot", "create", "--runtime", "python3.11", "--code", support.handler("behaviours"),
                         "--handler", "app.handler", "--timeout", "60", "--env", "SECRET=" + VARIABLE.decode(),
                         "-o", "known", env=preload)
        self.assertEqual(made.code, support.OK, made)
        event = json.dumps({"do": "echo", "value": PAYLOAD.decode()}).encode()
        for options in (("--keep", "--count", "2"), ("--mode", "uffd", "--record")):
            result = self.invoke(event, *options, name="known", env=preload)
            self.assertEqual(result.code, support.OK, result)
            self.assertIn(PAYLOAD, result.out)
            # Ids are made of the same.
            self.assertIn("6b6e6f77-6e2d-4261", result.err, "the randomness is not the known one")
        found = search(self.state.path, [VARIABLE, PAYLOAD, b"known-random"])
        # Variables are there when the function is initialised, and so in its memory. It shows that we look well.
        self.assertIn("snapshots/known/image.raw", found[VARIABLE])
        self.assertEqual(found[PAYLOAD], [])
        # Nothing of what the host has drawn for the guest, be it before the snapshot or after a restore. Its own
        # key it has drawn too.
        self.assertEqual(found[b"known-random"], ["host.key"])


class Service(unittest.TestCase):
    """One that thawd has made: nothing of the host's or of its tenants' is in it."""

    def test_memory(self):
        data = tempfile.mkdtemp(prefix="thaw-secrets-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(shutil.rmtree, data)
        daemon = Daemon(data)
        self.addCleanup(daemon.stop)
        account = subprocess.run([support.THAW, "account", "create", "tenant", "--data", data, "--env"],
                                 capture_output=True, check=True, text=True).stdout
        secret = re.search(r"AWS_SECRET_ACCESS_KEY='?([^\s']{30,})", account).group(1)
        daemon.create("f", Publish=True, SnapStart={"ApplyOn": "PublishedVersions"},
                      Environment={"Variables": {"SECRET": VARIABLE.decode()}})
        daemon.wait_active("f:1")
        response, body = daemon.ask("POST", FUNCTIONS + "/f:1/invocations", {"do": "echo", "value": PAYLOAD.decode()},
                                    {"X-Amz-Client-Context": base64.b64encode(CONTEXT).decode()})
        self.assertEqual(response.status, 200, body)
        self.assertIn(PAYLOAD, body)
        time.sleep(1)
        keys = []
        for path, _, files in os.walk(data):
            for name in files:
                if "key" in name:
                    with open(os.path.join(path, name), "rb") as file:
                        keys.append(file.read().strip())
        needles = [VARIABLE, PAYLOAD, CONTEXT[16:-3], base64.b64encode(CONTEXT), secret.encode(),
                   *(key for key in keys if len(key) >= 16)]
        found = search(os.path.join(data, "snapshots"), needles)
        self.assertTrue([path for path in found[VARIABLE] if path.endswith("image.raw")], found)
        for needle in needles[1:]:
            self.assertEqual(found[needle], [], needle)
        # Nor is an event that was answered anywhere else, logs included.
        self.assertEqual(search(data, [PAYLOAD])[PAYLOAD], [])


if __name__ == "__main__":
    support.main()
