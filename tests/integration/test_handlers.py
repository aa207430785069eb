#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Handlers that misbehave: the client gets Lambda's error document, and the environment serves the
next invocation."""

import hashlib
import json
import os
import tempfile

import forge
import support
from support import FUNCTION_ERROR, OK, PAYLOAD_MAX, USAGE, UUID


class Served(support.Case):
    behaviours = True

    def sequence(self, steps, **more):
        """One environment, an event after the other: the responses and the command's result."""
        result = self.invoke({"do": "sequence", "steps": steps, "bare": True}, "--keep", "--count",
                             str(len(steps)), **more)
        return result.lines(), result

    ECHO = {"do": "echo", "value": "still here"}

    def assert_next_is_served(self, steps, **more):
        """What the first of the steps gives, after which the others must be answered well."""
        responses, result = self.sequence([*steps, self.ECHO], **more)
        self.assertEqual(result.code, FUNCTION_ERROR, result)
        self.assertEqual(len(responses), len(steps) + 1, result)
        self.assertEqual(responses[-1], "still here", result)
        self.assertEqual(len(result.reports()), len(steps) + 1, result)
        self.assertIsNone(result.reports()[-1]["status"], result)
        return responses, result


class Misbehaviours(Served):
    def test_raises(self):
        responses, result = self.assert_next_is_served([{"do": "raise"}])
        document = responses[0]
        self.assertEqual(document["errorType"], "TeapotError")
        self.assertEqual(document["errorMessage"], 'short and "stout"')
        self.assertRegex(document["requestId"], f"^{UUID}$")
        self.assertIn("in do_raise", "".join(document["stackTrace"]))
        self.assertIn('[ERROR] TeapotError: short and "stout"\n', result.err)
        self.assertEqual(result.reports()[0]["status"], "error")
        self.assertEqual(result.reports()[0]["id"], document["requestId"])

    def test_exits(self):
        responses, result = self.assert_next_is_served(
            [{"do": "exit", "status": 7}, {"do": "exit", "status": 0}, {"do": "sys-exit", "status": 3}])
        endings = ("Runtime exited with error: exit status 7", "Runtime exited without providing a reason",
                   "Runtime exited with error: exit status 3")
        for document, ending, report in zip(responses, endings, result.reports()):
            self.assertEqual(document, {
                "errorType": "Runtime.ExitError",
                "errorMessage": f"RequestId: {report['id']} Error: {ending}"}, result)

    def test_is_killed(self):
        responses, result = self.assert_next_is_served(
            [{"do": "signal", "signal": 9}, {"do": "signal", "signal": 11}])
        self.assertRegex(responses[0]["errorMessage"], "Runtime exited with error: signal: killed$")
        self.assertRegex(responses[1]["errorMessage"],
                         "Runtime exited with error: signal: segmentation fault$")

    def test_hangs(self):
        # The same snapshot with other timeouts: it is the host that names them.
        folder = self.state.copy("behaviours", "hang1")
        forge.change_manifest(folder, lambda manifest: manifest["function"].update(timeout_s=1))
        forge.seal(self.state.path, "hang1")
        for what in ("hang", "spin"):
            result = self.invoke({"do": what}, name="hang1")
            document = self.assert_function_error(result, "Sandbox.Timedout", report_status="timeout")
            self.assertEqual(document["errorMessage"], f"RequestId: {result.reports()[0]['id']} "
                             "Error: Task timed out after 1.00 seconds")
            self.assertGreaterEqual(float(result.reports()[0]["duration"]), 1000)
            self.assertLess(float(result.reports()[0]["duration"]), 4000)
        # And the runtime is started anew, in the time of the next invocation.
        folder = self.state.copy("behaviours", "hang20")
        forge.change_manifest(folder, lambda manifest: manifest["function"].update(timeout_s=20))
        forge.seal(self.state.path, "hang20")
        responses, result = self.assert_next_is_served([{"do": "hang"}], name="hang20")
        self.assertRegex(responses[0]["errorMessage"], "Task timed out after 20.00 seconds")
        self.assertIn("going to hang\n", result.err)

    def test_prints_a_megabyte(self):
        result = self.invoke({"do": "print", "bytes": 1000000})
        self.assertEqual(result.code, OK, result)
        lines = [line for line in result.err.splitlines() if line.isdigit()]
        self.assertEqual(len(lines), 10000)
        self.assertEqual([int(line) for line in lines], list(range(10000)))
        self.assertIn("no end", result.err)
        self.assertIn("to standard error\n", result.err)
        # All of it before the end is told.
        self.assertLess(result.err.index(f"{9999:099d}"), result.err.index("END RequestId"))

    def test_returns_six_megabytes_and_one_more(self):
        result = self.invoke({"do": "return-string", "bytes": PAYLOAD_MAX, "bare": True})
        self.assertEqual(result.code, OK, result.err[-1000:])
        body = result.out.rstrip(b"\n")
        self.assertEqual(len(body), PAYLOAD_MAX)
        self.assertEqual(body.replace(b"y", b""), b'""')

        responses, result = self.assert_next_is_served([{"do": "return-string",
                                                         "bytes": PAYLOAD_MAX + 1}])
        self.assertEqual(responses[0], {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size (6291557 bytes) exceeded maximum allowed payload "
                            "size (6291556 bytes)."})

    def test_returns_bytes(self):
        responses, _ = self.assert_next_is_served([{"do": "return-bytes"}])
        self.assertEqual(responses[0]["errorType"], "Runtime.MarshalError")
        self.assertEqual(responses[0]["errorMessage"],
                         "Unable to marshal response: Object of type bytes is not JSON serializable")

    def test_event_of_six_megabytes(self):
        frame = len(json.dumps({"do": "measure", "value": ""}))
        value = "z" * (PAYLOAD_MAX - frame)
        event = json.dumps({"do": "measure", "value": value}).encode()
        self.assertEqual(len(event), PAYLOAD_MAX)
        self.assertEqual(self.result(event), {
            "length": len(value), "sha256": hashlib.sha256(value.encode()).hexdigest()})
        result = self.invoke(event + b" ")
        self.assert_one_line_error(result, USAGE, "6291556")

    def test_event_that_is_not_json(self):
        for event in (b"", b"{", b"{'a': 1}", b"\xff\xfe", b"{} {}", b"nul", b"[1,]", b"\0"):
            with self.subTest(event):
                self.assert_one_line_error(self.invoke(event), USAGE, "JSON")

    def test_rights(self):
        found = self.result({"do": "self"})
        self.assertEqual((found["uid"], found["gid"], found["cwd"]), (993, 990, "/var/task"))
        self.assertEqual(found["environ"]["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:9001")
        self.assertEqual(found["environ"]["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "128")
        self.assertEqual(found["environ"]["LAMBDA_TASK_ROOT"], "/var/task")
        denied, read_only, missing = 13, 30, 2
        for path, mode, errors in (("/proc/1/environ", "rb", (denied, missing)),
                                   ("/dev/port", "rb", (denied, missing)),
                                   ("/dev/vda", "rb", (denied, missing)),
                                   ("/dev/mem", "rb", (denied, missing)),
                                   ("/var/task/new", "wb", (denied, read_only)),
                                   ("/etc/passwd", "ab", (denied, read_only))):
            with self.subTest(path):
                answer = self.result({"do": "open", "path": path, "mode": mode})
                self.assertIn(answer.get("errno"), errors, path)

    def test_tmp_is_fresh_in_each_clone_and_stays_in_one(self):
        result = self.invoke({"do": "write-tmp", "value": "x", "bare": True}, "--count", "3", "--keep")
        self.assertEqual(result.lines(), ["x", "xx", "xxx"], result)
        result = self.invoke({"do": "write-tmp", "value": "x", "bare": True}, "--count", "2")
        self.assertEqual(result.lines(), ["x", "x"], result)


class Memory(Served):
    def test_eats_memory(self):
        responses, result = self.assert_next_is_served([{"do": "eat"}])
        self.assertEqual(responses[0]["errorType"], "Runtime.ExitError")
        self.assertRegex(responses[0]["errorMessage"], "Runtime exited with error: signal: killed$")
        self.assertGreaterEqual(int(result.reports()[0]["used"]), 127, result)
        self.assertLessEqual(int(result.reports()[0]["used"]), 128, result)


class BadInits(support.Case):
    """Functions that cannot even be started. Each is a cold boot."""

    def run_code(self, text, name="app.handler", *options):
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            if text is not None:
                with open(os.path.join(folder, "app.py"), "w", encoding="utf-8") as file:
                    file.write(text)
            return self.thaw("run", "--runtime", "python3.11", "--code", folder, "--handler", name,
                             "--timeout", "60", "--event", "-", *options, data=b"{}",
                             limit=support.COLD_LIMIT)

    def test_missing_module(self):
        result = self.run_code(None)
        self.assert_function_error(result, "Runtime.ImportModuleError",
                                   "^Unable to import module 'app': No module named 'app'$")
        self.assertRegex(result.err, r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: error")

    def test_missing_handler(self):
        result = self.run_code("x = 1\n")
        self.assert_function_error(result, "Runtime.HandlerNotFound",
                                   "^Handler 'handler' missing on module 'app'$")

    def test_syntax_error(self):
        """As a snapshot: there is nothing to be made then, and nothing is left."""
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            with open(os.path.join(folder, "app.py"), "w", encoding="utf-8") as file:
                file.write("def handler(event, context:\n    pass\n")
            result = self.thaw("snapshot", "create", "--runtime", "python3.11", "--code", folder,
                               "--handler", "app.handler", "-o", "broken", limit=support.COLD_LIMIT)
        self.assertEqual(result.code, FUNCTION_ERROR, result)
        self.assertIn("Syntax error in module 'app'", result.err)
        self.assertFalse(os.path.exists(self.state.snapshot("broken")))


if __name__ == "__main__":
    support.main()
