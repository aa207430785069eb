#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Functions in JavaScript: cold, by a callback, failing, and as copies of a snapshot that have nothing in
common but what they loaded."""

import base64
import hashlib
import json

import support
from support import COLD_LIMIT, FUNCTION_ERROR, OK, PAYLOAD_MAX


def options(name="app.handler"):
    return ("--runtime", "nodejs18.x", "--code", support.handler("nodejs"), "--handler", name,
            "--memory", "128", "--timeout", "60")


class Cold(support.Case):
    """Without a snapshot."""

    def run_once(self, name, event):
        return self.thaw("run", *options(name), "--event", "-", data=json.dumps(event).encode(),
                         limit=COLD_LIMIT)

    def test_callback(self):
        result = self.run_once("app.callback", {"value": ["ä", 1.5, None]})
        self.assertEqual(result.code, OK, result)
        self.assertEqual(result.json(), ["ä", 1.5, None], result)

    def test_import_error(self):
        result = self.run_once("nowhere.handler", {})
        document = self.assert_function_error(result, "Runtime.ImportModuleError",
                                              "^Error: Cannot find module 'nowhere'")
        self.assertTrue(document["trace"], result)
        self.assertRegex(result.err, r"Z\tundefined\tERROR\tUncaught Exception \t\{")


class Copies(support.Case):
    """Of one snapshot."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        result = support.thaw("--state", cls.state.path, "snapshot", "create", *options(),
                              "-o", "nodejs", limit=COLD_LIMIT)
        if result.code != OK:
            raise AssertionError(f"no snapshot to test with: {result}")

    def invoke_nodejs(self, event, *more):
        return self.invoke(event, *more, name="nodejs")

    def test_behaviours(self):
        """One environment, an event after the other, whatever became of the runtime meanwhile."""
        steps = [{"do": "echo", "value": {"a": "ä"}}, {"do": "raise"}, {"do": "reject"},
                 {"do": "unhandled"}, {"do": "print", "lines": 3}, {"do": "exit", "status": 7},
                 {"do": "echo", "value": "still here"}]
        result = self.invoke_nodejs({"do": "sequence", "steps": steps}, "--keep", "--count",
                                    str(len(steps)))
        self.assertEqual(result.code, FUNCTION_ERROR, result)
        echo, raised, rejected, unhandled, printed, left, last = result.lines()
        self.assertEqual((echo["result"], echo["calls"]), ({"a": "ä"}, 1), result)
        self.assertTrue(0 < echo["left"] <= 60000, result)
        self.assertEqual(raised["errorType"], "RangeError", result)
        self.assertEqual(raised["errorMessage"], 'short and "stout"', result)
        self.assertIn("at Object.raise (/var/task/app.js:", "\n".join(raised["trace"]))
        self.assertEqual(rejected["errorMessage"], "rejected", result)
        self.assertEqual(unhandled["errorType"], "Runtime.UnhandledPromiseRejection", result)
        self.assertEqual(unhandled["errorMessage"], "RangeError: nobody looked", result)
        # That one ended the process, and a new one counts anew.
        self.assertEqual((printed["result"], printed["calls"]), (3, 1), result)
        self.assertRegex(result.err, rf"Z\t{printed['id']}\tINFO\tline 0\n")
        self.assertEqual(left["errorType"], "Runtime.ExitError", result)
        self.assertRegex(left["errorMessage"], "exit status 7$", result)
        self.assertEqual((last["result"], last["calls"]), ("still here", 1), result)
        self.assertEqual([report["status"] for report in result.reports()],
                         [None, "error", "error", "error", None, "error", None], result)

    def test_differ(self):
        """In every generator, though all had drawn ahead before the snapshot."""
        results = [self.invoke_nodejs({"do": "random"}) for _ in range(8 if support.EMULATED else 2)]
        self.assertEqual({result.code for result in results}, {OK}, results[0])
        drawn = [result.json()["result"] for result in results]
        self.assertEqual(len({json.dumps(one.pop("drawn")) for one in drawn}), 1)
        for name in drawn[0]:
            values = [json.dumps(one[name]) for one in drawn]
            self.assertEqual(len(set(values)), len(values), f"{name}: {values}")

    def test_compute(self):
        """What hot code and wide registers would show, where they are not kept."""
        result = self.invoke_nodejs({"do": "compute"})
        self.assertEqual(result.code, OK, result)
        text = ("ä€😀x" * 5000).encode()
        numbers = [0.0] * 4096
        total = 0.0
        for turn in range(200):
            numbers = [number * 0.5 + ((i * 7919 + turn) % 1009) / 1024
                       for i, number in enumerate(numbers)]
            total += numbers[turn]
        self.assertEqual(result.json()["result"], {
            "sum": total, "back": True, "text": True,
            "base64": hashlib.sha256(base64.b64encode(text)).hexdigest()}, result)

    def test_six_megabytes(self):
        # Around the string: {"result":"...","calls":1,"id":"...","left":...}
        result = self.invoke_nodejs({"do": "big", "bytes": PAYLOAD_MAX - 200})
        self.assertEqual(result.code, OK, result.err[-1000:])
        self.assertEqual(len(result.json()["result"]), PAYLOAD_MAX - 202)


if __name__ == "__main__":
    support.main()
