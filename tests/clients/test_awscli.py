# SPDX-License-Identifier: Apache-2.0
"""AWS' own command line (awscli 2), used as README.md shows it."""

import atexit
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile

import shared
import support

AWS = "/usr/bin/aws"  # Debian's; a wrapper of a version manager may come first in PATH
EXAMPLE = os.path.join(support.SOURCE, "examples", "orders")
STATE = {}


def run_aws(*arguments):
    # Options, as Debian's version is older than AWS_ENDPOINT_URL.
    return subprocess.run([AWS, "lambda", *arguments, "--endpoint-url", shared.service().url], cwd="/",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=400, text=True, check=False,
                          env=shared.service().environ(shared.account()))


def aws(*arguments):
    """A command that must do well; what it printed."""
    ended = run_aws(*arguments)
    if ended.returncode != 0:
        raise AssertionError(f"aws lambda {' '.join(arguments)}: exit code {ended.returncode}\n"
                             f"{ended.stdout}{ended.stderr}")
    return json.loads(ended.stdout) if ended.stdout.strip() else None


def prepare():
    """The first version of the function of all tests here."""
    folder = STATE["folder"] = tempfile.mkdtemp(prefix="thaw-test-")
    atexit.register(shutil.rmtree, folder)
    with open(os.path.join(EXAMPLE, "app.py"), encoding="utf-8") as file:
        text = file.read()
    for name, code in (("one", text), ("two", text + "\n\nSECOND = True\n")):
        with zipfile.ZipFile(os.path.join(folder, name + ".zip"), "w") as packed:
            packed.writestr(zipfile.ZipInfo("app.py"), code)
    aws("create-function", "--function-name", "orders", "--runtime", "python3.11", "--role", shared.ROLE,
        "--handler", "app.handler", "--zip-file", f"fileb://{folder}/one.zip", "--snap-start",
        "ApplyOn=PublishedVersions", "--timeout", "60", "--tags", "team=sales,cost=1")
    aws("wait", "function-active-v2", "--function-name", "orders")
    STATE["published"] = aws("publish-version", "--function-name", "orders")


class Awscli(shared.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder, cls.published = STATE["folder"], STATE["published"]

    def aws_refused(self, code, message, *arguments):
        ended = run_aws(*arguments)
        self.assertEqual((ended.returncode, ended.stdout), (254, ""), ended)
        self.assertRegex(ended.stderr, rf"An error occurred \({code}\) when calling the \w+ operation"
                                       rf".*: {message}")

    def test_1_published(self):
        self.assertEqual(self.published["Version"], "1")
        self.assertEqual(self.published["State"], "Pending")
        self.assertEqual(self.published["SnapStart"]["ApplyOn"], "PublishedVersions")
        aws("wait", "published-version-active", "--function-name", "orders", "--qualifier", "1")
        made = aws("get-function", "--function-name", "orders:1")
        self.assertEqual(made["Configuration"]["State"], "Active")
        self.assertEqual(made["Configuration"]["SnapStart"],
                         {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"})
        self.assertEqual(made["Tags"], {"team": "sales", "cost": "1"})

    def test_2_invoke(self):
        out = os.path.join(self.folder, "out.json")
        event = "file://" + os.path.join(EXAMPLE, "event.json")
        invoke = ("invoke", "--function-name", "orders:1", "--cli-binary-format", "raw-in-base64-out",
                  "--payload", event, "--log-type", "Tail")
        restored = aws(*invoke, out)
        self.assertEqual((restored["StatusCode"], restored["ExecutedVersion"]), (200, "1"))
        self.assertNotIn("FunctionError", restored)
        with open(out, encoding="utf-8") as file:
            self.assertIsInstance(json.load(file), dict)
        log = base64.b64decode(restored["LogResult"]).decode()
        request_id = re.search(rf"^START RequestId: ({support.UUID}) Version: 1$", log, re.M).group(1)
        self.assertEqual(re.search(support.END, log).group(1), request_id)
        report = re.search(support.REPORT, log)
        self.assertEqual(report["id"], request_id)
        self.assertGreater(float(report["restore"]), 0, log)
        self.assertGreater(int(report["billed_restore"]), 0, log)
        self.assertEqual(report["memory"], "128")
        warm = aws(*invoke, out)
        log = base64.b64decode(warm["LogResult"]).decode()
        self.assertNotIn("Restore Duration", log)
        self.assertNotIn("Init Duration", log)

    def test_3_update(self):
        updated = aws("update-function-code", "--function-name", "orders", "--zip-file",
                           f"fileb://{self.folder}/two.zip", "--publish")
        self.assertEqual(updated["Version"], "2")
        self.assertNotEqual(updated["CodeSha256"], self.published["CodeSha256"])
        aws("wait", "function-updated-v2", "--function-name", "orders")
        versions = aws("list-versions-by-function", "--function-name", "orders")["Versions"]
        self.assertEqual([one["Version"] for one in versions], ["$LATEST", "1", "2"])
        # The same code again is no other version.
        again = aws("publish-version", "--function-name", "orders", "--code-sha256",
                         updated["CodeSha256"])
        self.assertEqual(again["Version"], "2")
        changed = aws("update-function-configuration", "--function-name", "orders", "--memory-size",
                           "256", "--environment", "Variables={TABLE=orders,QUOTED=a b}")
        self.assertEqual(changed["MemorySize"], 256)
        self.assertEqual(changed["Environment"]["Variables"], {"TABLE": "orders", "QUOTED": "a b"})

    def test_4_aliases(self):
        made = aws("create-alias", "--function-name", "orders", "--name", "live",
                        "--function-version", "1", "--description", "what customers use")
        self.assertTrue(made["AliasArn"].endswith(":function:orders:live"))
        out = os.path.join(self.folder, "out.json")
        event = "file://" + os.path.join(EXAMPLE, "event.json")
        answer = aws("invoke", "--function-name", "orders", "--qualifier", "live",
                          "--cli-binary-format", "raw-in-base64-out", "--payload", event, out)
        self.assertEqual(answer["ExecutedVersion"], "1")
        moved = aws("update-alias", "--function-name", "orders", "--name", "live",
                         "--function-version", "2", "--revision-id", made["RevisionId"])
        self.assertEqual(moved["FunctionVersion"], "2")
        self.aws_refused("PreconditionFailedException", ".*[Rr]evision", "update-alias",
                         "--function-name", "orders", "--name", "live", "--revision-id",
                         made["RevisionId"])
        names = aws("list-aliases", "--function-name", "orders")["Aliases"]
        self.assertEqual([one["Name"] for one in names], ["live"])
        self.aws_refused("ResourceConflictException", ".*alias", "delete-function", "--function-name",
                         "orders", "--qualifier", "2")
        self.assertIsNone(aws("delete-alias", "--function-name", "orders", "--name", "live"))

    def test_5_pages(self):
        for number in range(3):
            aws("create-function", "--function-name", f"page-{number}", "--runtime", "python3.11",
                     "--role", shared.ROLE, "--handler", "app.handler", "--zip-file",
                     f"fileb://{self.folder}/one.zip")
        names, token = [], []
        while True:
            page = aws("list-functions", "--max-items", "2", *token)
            self.assertLessEqual(len(page["Functions"]), 2)
            names += [one["FunctionName"] for one in page["Functions"]]
            if "NextToken" not in page:
                break
            token = ["--starting-token", page["NextToken"]]
        for number in range(3):
            self.assertEqual(names.count(f"page-{number}"), 1, names)
        self.assertEqual(len(names), len(set(names)), names)
        # The server's own pages.
        small = aws("list-functions", "--page-size", "1")
        self.assertEqual([one["FunctionName"] for one in small["Functions"]], names)
        for number in range(3):
            self.assertIsNone(aws("delete-function", "--function-name", f"page-{number}"))

    def test_6_tags(self):
        arn = self.published["FunctionArn"].rpartition(":")[0]
        aws("tag-resource", "--resource", arn, "--tags", "stage=test,name=A b+c@d")
        self.assertEqual(aws("list-tags", "--resource", arn)["Tags"],
                         {"team": "sales", "cost": "1", "stage": "test", "name": "A b+c@d"})
        aws("untag-resource", "--resource", arn, "--tag-keys", "team", "name")
        self.assertEqual(aws("list-tags", "--resource", arn)["Tags"], {"cost": "1", "stage": "test"})

    def test_7_errors(self):
        self.aws_refused("ResourceNotFoundException",
                         f"Function not found: arn:aws:lambda:us-east-1:{shared.account().id}:function:none",
                         "get-function", "--function-name", "none")
        self.aws_refused("ResourceNotFoundException", "Function not found", "invoke", "--function-name",
                         "none", os.path.join(self.folder, "out.json"))
        self.aws_refused("ResourceConflictException", "Function already exist: orders",
                         "create-function", "--function-name", "orders", "--runtime", "python3.11",
                         "--role", shared.ROLE, "--handler", "app.handler", "--zip-file",
                         f"fileb://{self.folder}/one.zip")
        self.aws_refused("InvalidParameterValueException", ".*below its minimum", "put-function-concurrency",
                         "--function-name", "orders", "--reserved-concurrent-executions", "1000")

    def test_8_delete(self):
        self.assertIsNone(aws("delete-function", "--function-name", "orders"))
        self.aws_refused("ResourceNotFoundException", "Function not found", "get-function",
                         "--function-name", "orders")
