# SPDX-License-Identifier: Apache-2.0
"""AWS' client library for JavaScript, under Node.js (javascript/client.cjs)."""

import os
import subprocess
import tempfile

import daemon
import shared
import support


def prepare():
    shared.begin()


class JavaScript(shared.Case):
    def test_all(self):
        installer = os.path.join(support.SOURCE, "scripts", "install-clients")
        folder = subprocess.run([installer, "--path"], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.strip()
        self.assertTrue(os.path.isdir(folder), f"{folder} is missing: run {installer}")
        version = shared.actor(1)
        with tempfile.NamedTemporaryFile(prefix="thaw-test-", suffix=".zip") as archive:
            archive.write(daemon.archive("actor"))
            archive.flush()
            ended = subprocess.run(
                ["node", os.path.join(daemon.HERE, "javascript", "client.cjs"), archive.name,
                 f"actor:{version}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, timeout=300, check=False,
                env={**shared.service().environ(shared.account()), "THAW_CLIENTS": folder})
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertEqual(ended.stdout.split(), ["create", "update", "pages", "invoke", "stream", "errors",
                                                "remove"], ended.stderr)
        if ended.stderr:
            support.say(f"    {ended.stderr}")
