#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The way of an invocation: cold, restored in every mode, warm; the log's lines; snapshots in the
store; custom runtimes."""

import json
import os
import tempfile
import time
import zipfile

import forge
import support
from support import COLD_LIMIT, OK, REPORT, SNAPSHOT

ORDERS = os.path.join(support.SOURCE, "examples/orders")
MODES = ("map", "uring", "uffd", "eager")


VARYING = ("id", "time", "date", "receipt", "instance")


def stable(response):
    """A response without what may differ between invocations."""
    def walk(value):
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()
                    if not any(word in key.lower() for word in VARYING)}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return value
    return walk(response)


class Orders(support.Case):
    """The example of the repository, its whole way; in this order."""

    event = os.path.join(ORDERS, "event.json")
    response = None

    def check_response(self, response):
        """All ways lead to the same."""
        if Orders.response is None:
            Orders.response = stable(response)
        self.assertTrue(stable(response))
        self.assertEqual(stable(response), Orders.response)

    def check_log(self, result, restored, count=1):
        """START, END and REPORT of each invocation, in this order."""
        starts = support.START.findall(result.err)
        ends = support.END.findall(result.err)
        reports = result.reports()
        self.assertEqual((len(starts), len(ends), len(reports)), (count, count, count), result)
        self.assertEqual(sorted(starts), sorted(ends))
        for report in reports:
            self.assertIn(report["id"], starts)
            duration, billed = float(report["duration"]), int(report["billed"])
            self.assertTrue(duration <= billed < duration + 1.01, report)
            self.assertTrue(0 < int(report["used"]) <= int(report["memory"]), report)
            self.assertIsNone(report["status"], report)
        self.assertEqual(reports[0]["restore"] is not None, restored, result)
        self.assertEqual(reports[0]["init"] is not None, not restored, result)
        for line in result.err.splitlines():
            if line.startswith("REPORT"):
                self.assertRegex(line, REPORT)
        return reports

    def test_1_cold(self):
        result = self.thaw("run", "--runtime", "python3.11", "--code", ORDERS, "--handler",
                           "app.handler", "--event", self.event, limit=COLD_LIMIT)
        self.assertEqual(result.code, OK, result)
        self.check_log(result, restored=False)
        self.check_response(result.json())
        support.say(f"    cold: {result.seconds:.2f} s in all")

    def test_2_snapshot(self):
        result = self.thaw("snapshot", "create", "--runtime", "python3.11", "--code", ORDERS,
                           "--handler", "app.handler", "-o", "orders", limit=COLD_LIMIT)
        self.assertEqual(result.code, OK, result)
        again = self.thaw("snapshot", "create", "--runtime", "python3.11", "--code", ORDERS,
                          "--handler", "app.handler", "-o", "orders", limit=COLD_LIMIT)
        self.assertNotEqual(again.code, OK, again)
        self.assertRegex(again.err, "--force")
        self.assertLess(again.seconds, 3 if not support.EMULATED else 10, "refused after a boot")

    def test_3_listed(self):
        result = self.thaw("snapshot", "ls")
        self.assertEqual(result.code, OK, result)
        self.assertIn(b"orders", result.out)
        listed = self.thaw("snapshot", "ls", "--json").json()
        self.assertIn("orders", json.dumps(listed))
        result = self.thaw("snapshot", "inspect", "orders")
        self.assertEqual(result.code, OK, result)
        for word in (b"zero", b"frames", b"python3.11", b"app.handler"):
            self.assertIn(word, result.out)
        inspected = self.thaw("snapshot", "inspect", "orders", "--json").json()
        self.assertIn("app.handler", json.dumps(inspected))

    def test_4_restored_in_every_mode(self):
        for mode in MODES:
            with self.subTest(mode):
                result = self.thaw("invoke", "orders", "--event", self.event, "--mode", mode)
                self.assertEqual(result.code, OK, result)
                report = self.check_log(result, restored=True)[0]
                self.check_response(result.json())
                support.say(f"    {mode}: restore {report['restore']} ms, duration "
                            f"{report['duration']} ms, {result.seconds:.3f} s in all")

    def test_5_warm(self):
        result = self.thaw("invoke", "orders", "--event", self.event, "--keep", "--count", "5")
        self.assertEqual(result.code, OK, result)
        reports = self.check_log(result, restored=True, count=5)
        for response in result.lines():
            self.check_response(response)
        for report in reports[1:]:
            self.assertIsNone(report["restore"], result)
            self.assertIsNone(report["init"], result)

    def test_6_working_set(self):
        result = self.thaw("invoke", "orders", "--event", self.event, "--record")
        self.assertEqual(result.code, OK, result)
        path = self.state.snapshot("orders", "working_set")
        pages = (os.path.getsize(path) - 32) // 4
        self.assertGreater(pages, 100)
        inspected = self.thaw("snapshot", "inspect", "orders")
        self.assertIn(str(pages).encode(), inspected.out, inspected)
        used = self.thaw("invoke", "orders", "--event", self.event, "--mode", "uffd", "--verbose")
        self.assertEqual(used.code, OK, used)
        self.check_response(used.json())
        support.say(f"    working set of {pages} pages")

    def test_7_clones_do_not_touch_the_snapshot(self):
        folder = self.state.snapshot("orders")
        before = {name: os.stat(os.path.join(folder, name)) for name in os.listdir(folder)}
        result = self.thaw("invoke", "orders", "--event", self.event, "--count", "4", "--parallel", "4")
        self.assertEqual(result.code, OK, result)
        for name, was in before.items():
            now = os.stat(os.path.join(folder, name))
            self.assertEqual((now.st_ino, now.st_size, now.st_mtime_ns, now.st_blocks),
                             (was.st_ino, was.st_size, was.st_mtime_ns, was.st_blocks), name)

    def test_8_removed(self):
        self.assertEqual(self.thaw("snapshot", "rm", "orders").code, OK)
        self.assertFalse(os.path.exists(self.state.snapshot("orders")))
        self.assert_one_line_error(self.thaw("snapshot", "rm", "orders"), SNAPSHOT, "no snapshot")
        self.assert_one_line_error(self.thaw("snapshot", "inspect", "orders"), SNAPSHOT, "no snapshot")
        self.assertNotIn(b"orders", self.thaw("snapshot", "ls").out)


class Custom(support.Case):
    """Runtimes that bring their own bootstrap, under `provided`."""

    def run_code(self, folder, event, handler="function.handler"):
        return self.thaw("run", "--runtime", "provided", "--code", folder, "--handler", handler,
                         "--timeout", "60", "--event", "-", data=json.dumps(event).encode(),
                         limit=COLD_LIMIT)

    def test_shell(self):
        folder = os.path.join(support.SOURCE, "guest/runtimes/examples/shell")
        result = self.run_code(folder, {"name": "shell"})
        self.assertEqual(result.code, OK, result)
        self.assertTrue(result.out.strip(), result)
        self.assertEqual(len(result.reports()), 1, result)

    def test_static_c(self):
        source = os.path.join(support.SOURCE, "guest/runtimes/examples/static-c/bootstrap.c")
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            support.subprocess.run(["cc", "-static", "-O2", "-o", os.path.join(folder, "bootstrap"),
                                    source], check=True)
            os.chmod(folder, 0o755)
            began = time.monotonic()
            created = self.thaw("snapshot", "create", "--runtime", "provided", "--code", folder,
                                "--handler", "none", "-o", "static", limit=COLD_LIMIT)
        self.assertEqual(created.code, OK, created)
        support.say(f"    snapshot of a static binary after {time.monotonic() - began:.1f} s")
        for mode in MODES:
            result = self.invoke({"name": "C"}, "--mode", mode, name="static")
            self.assertEqual(result.code, OK, result)
            self.assertTrue(result.out.strip(), result)

    def test_no_bootstrap(self):
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            with open(os.path.join(folder, "readme"), "w", encoding="utf-8") as file:
                file.write("nothing to run\n")
            result = self.run_code(folder, {})
        self.assert_function_error(
            result, "Runtime.InvalidEntrypoint",
            r"Couldn't find valid bootstrap\(s\): \[/var/task/bootstrap /opt/bootstrap\]")


class Layers(support.Case):
    """What lies in /opt, from a cold start and from a snapshot."""

    APP = """
import os

import layered


def handler(event, context):
    import late  # of the drive as it is after a restore

    try:
        open("/opt/new", "w")
    except OSError as error:
        refused = error.strerror
    with open("/opt/data") as data, open("/proc/mounts") as mounts:
        return {"value": layered.VALUE, "late": late.VALUE, "data": data.read(), "refused": refused,
                "program": os.popen("layer-program").read(),
                "mount": next(line.split() for line in mounts if " /opt " in line)}
"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="thaw-test-")
        cls.addClassCleanup(folder.cleanup)

        def write(name, text, mode=0o644):
            path = os.path.join(folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, mode)

        write("code/app.py", cls.APP)
        write("first/python/layered.py", "VALUE = 'first'\n")
        write("first/data", "of the first")
        write("first/bin/layer-program", "#!/bin/sh\necho -n ran\n", 0o755)
        with zipfile.ZipFile(os.path.join(folder.name, "second.zip"), "w") as archive:
            archive.writestr("python/layered.py", "VALUE = 'second'\n")
            archive.writestr("python/lib/python3.11/site-packages/late.py", "VALUE = 'late'\n")
        cls.options = ("--runtime", "python3.11", "--code", os.path.join(folder.name, "code"),
                       "--layer", os.path.join(folder.name, "first"),
                       "--layer", os.path.join(folder.name, "second.zip"),
                       "--handler", "app.handler", "--timeout", "60")

    def check(self, result):
        self.assertEqual(result.code, OK, result)
        response = result.json()
        mount = response.pop("mount")
        self.assertEqual(mount[1:3], ["/opt", "erofs"])
        self.assertIn("ro", mount[3].split(","))
        self.assertEqual(response, {"value": "second", "late": "late", "data": "of the first",
                                    "refused": "Read-only file system", "program": "ran"})

    def test_1_cold(self):
        self.check(self.thaw("run", *self.options, limit=COLD_LIMIT))

    def test_2_restored(self):
        result = self.thaw("snapshot", "create", *self.options, "-o", "layered", limit=COLD_LIMIT)
        self.assertEqual(result.code, OK, result)
        # Clones need nothing of the cache.
        for name in os.listdir(os.path.join(self.state.path, "code")):
            os.remove(os.path.join(self.state.path, "code", name))
        for mode in MODES:
            with self.subTest(mode):
                self.check(self.invoke({}, "--mode", mode, name="layered"))

    def refused(self, pattern, folder):
        forge.seal(self.state.path, os.path.basename(folder))
        result = self.invoke({}, "--mode", "eager", name=os.path.basename(folder))
        self.assert_one_line_error(result, SNAPSHOT, pattern)

    def test_3_damaged(self):
        def damaged():
            return self.state.copy("layered", "damaged")

        def layers(**values):
            return lambda manifest: manifest["layers"].update(values)

        size = os.path.getsize(self.state.snapshot("layered", "layers.erofs"))
        for at in (1024, size // 2, size - 1):
            folder = damaged()
            forge.flip_sparse(os.path.join(folder, "layers.erofs"), at)
            self.refused("layers.erofs.*checksum", folder)
        folder = damaged()
        os.remove(os.path.join(folder, "layers.erofs"))
        self.refused("layers.erofs.*missing", folder)
        # Of another function, or of none: the machine must not be given what it did not have.
        folder = damaged()
        os.remove(os.path.join(folder, "layers.erofs"))
        os.link(os.path.join(folder, "code.erofs"), os.path.join(folder, "layers.erofs"))
        self.refused("layers.erofs.*checksum", folder)
        folder = damaged()
        forge.change_manifest(folder, layers(drive_sha256=""))
        self.refused("manifest.*range", folder)
        forge.change_manifest(folder, layers(sha256=""))
        self.refused("drives|devices", folder)


if __name__ == "__main__":
    support.main()
