# SPDX-License-Identifier: Apache-2.0
"""Invocations, with boto3: what functions are given, what becomes of those that fail, of events, of
weights and limits."""

import base64
import collections
import http.server
import json
import re
import threading
import time

import daemon
import shared
import support
from shared import eventually, invoke, result

MIB = 1 << 20


def prepare():
    shared.begin()
    # Booted while others are at work; the breaker's first event waits for it.
    STATE["breaker"] = threading.Thread(target=lambda: STATE.update(first=invoke(
        shared.client(), "tell", shared.breaker(), LogType="Tail")))
    STATE["breaker"].start()


STATE = {}


def function_arn(name, qualifier=None):
    tail = f":{qualifier}" if qualifier else ""
    return f"arn:aws:lambda:{daemon.REGION}:{shared.account().id}:function:{name}{tail}"


class Receiver:
    """An HTTP server that keeps what is posted to it."""

    def __init__(self):
        bodies = self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/results"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Case(shared.Case):
    @classmethod
    def setUpClass(cls):
        cls.lambdas = shared.client()
        cls.addClassCleanup(cls.lambdas.close)


class Invocations(Case):
    def test_what_a_function_is_given(self):
        got, response = invoke(self.lambdas, {"do": "self"})
        self.assertEqual((response["StatusCode"], response["ExecutedVersion"]), (200, "1"))
        environ = got["environ"]
        self.assertEqual((environ["COLOUR"], environ["EMPTY"]), ("green", ""))
        for name, value in (("AWS_REGION", daemon.REGION), ("AWS_LAMBDA_FUNCTION_NAME", "actor"),
                            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                            ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start"),
                            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11")):
            self.assertEqual(environ[name], value)
        # Nothing of the host's.
        self.assertNotIn("AWS_SECRET_ACCESS_KEY", environ)
        self.assertEqual((got["name"], got["function_version"], got["memory"]), ("actor", "1", "128"))
        self.assertEqual(got["arn"], function_arn("actor", "1"))
        self.assertEqual(got["id"], response["ResponseMetadata"]["RequestId"])
        self.assertEqual(result(self.lambdas, {"do": "layer"}), "from a layer")

    def test_client_context(self):
        context = base64.b64encode(json.dumps({"custom": {"shop": "ä"}}).encode()).decode()
        got = result(self.lambdas, {"do": "self"}, ClientContext=context)
        self.assertEqual(got["custom"], {"shop": "ä"})
        self.refused("InvalidRequestContentException", 400, self.lambdas.invoke, FunctionName="actor",
                     Qualifier="1", ClientContext="bm90IEpTT04=")

    def test_trace_header(self):
        trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

        def add(request, **_):
            request.headers["X-Amzn-Trace-Id"] = trace

        lambdas = shared.client()
        self.addCleanup(lambdas.close)
        lambdas.meta.events.register("before-sign.lambda.Invoke", add)
        self.assertEqual(result(lambdas, {"do": "self"})["environ"]["_X_AMZN_TRACE_ID"], trace)

    def test_large(self):
        value = "x" * MIB
        self.assertEqual(len(result(self.lambdas, {"value": value})), len(value))
        self.refused("RequestTooLargeException", 413, self.lambdas.invoke, FunctionName="actor",
                     Qualifier="1", Payload=b'"' + b"x" * (6 * MIB) + b'"')
        self.refused("RequestTooLargeException", 413, self.lambdas.invoke, FunctionName="actor",
                     Qualifier="1", InvocationType="Event", Payload=b'"' + b"x" * MIB + b'"')

    def test_dry_run(self):
        response = self.lambdas.invoke(FunctionName="actor", Qualifier="1", InvocationType="DryRun")
        self.assertEqual((response["StatusCode"], response["Payload"].read()), (204, b""))

    def test_refusals(self):
        self.refused("ResourceNotFoundException", 404, self.lambdas.invoke, FunctionName="nobody")
        self.refused("ResourceNotFoundException", 404, self.lambdas.invoke, FunctionName="actor:7")
        self.refused("InvalidRequestContentException", 400, self.lambdas.invoke, FunctionName="actor:1",
                     Payload=b"{no JSON")
        self.refused("InvalidParameterValueException", 400, self.lambdas.invoke, FunctionName="actor:1",
                     Qualifier="2")

    def test_exception(self):
        payload, response = invoke(self.lambdas, {"do": "raise", "message": "ä \"quoted\""}, LogType="Tail")
        self.assertEqual((response["StatusCode"], response["FunctionError"]), (200, "Unhandled"))
        self.assertEqual((payload["errorType"], payload["errorMessage"]), ("TeapotError", "ä \"quoted\""))
        self.assertIn("do_raise", "".join(payload["stackTrace"]))
        log = base64.b64decode(response["LogResult"]).decode()
        self.assertIn("[ERROR] TeapotError", log)
        self.assertEqual(re.search(support.REPORT, log)["status"], "error")

    def test_log_tail_is_the_last_4_kb(self):
        line = "\n".join(f"line {number:094}" for number in range(60))
        _, response = invoke(self.lambdas, {"do": "print", "line": line}, LogType="Tail")
        log = base64.b64decode(response["LogResult"]).decode()
        self.assertTrue(3900 < len(log) <= 4096, len(log))
        lines = log.splitlines()
        self.assertTrue(lines[-1].startswith("REPORT "), log)
        numbers = [int(line.split()[1]) for line in lines if line.startswith("line ")]
        self.assertEqual(numbers, list(range(60 - len(numbers), 60)))
        self.assertNotIn("LogResult", invoke(self.lambdas, {"value": 1})[1])

    def test_stream(self):
        self.assertTrue(hasattr(self.lambdas, "invoke_with_response_stream"))
        value = "y" * 100000
        response = self.lambdas.invoke_with_response_stream(
            FunctionName="actor", Qualifier="1", LogType="Tail", Payload=json.dumps({"value": value}))
        self.assertEqual((response["StatusCode"], response["ExecutedVersion"]), (200, "1"))
        events = list(response["EventStream"])
        chunks = [event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event]
        self.assertEqual(json.loads(b"".join(chunks)), value)
        self.assertGreater(len(chunks), 1)
        complete = events[-1]["InvokeComplete"]
        self.assertNotIn("ErrorCode", complete)
        self.assertIn("REPORT RequestId", base64.b64decode(complete["LogResult"]).decode())
        response = self.lambdas.invoke_with_response_stream(FunctionName="actor", Qualifier="1",
                                                            Payload=json.dumps({"do": "raise"}))
        complete = list(response["EventStream"])[-1]["InvokeComplete"]
        self.assertEqual(complete["ErrorCode"], "TeapotError")
        self.assertEqual(json.loads(complete["ErrorDetails"])["errorType"], "TeapotError")

    def test_weights(self):
        shared.actor(2)
        self.lambdas.create_alias(FunctionName="actor", Name="both", FunctionVersion="1",
                                  RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
        seen = collections.Counter()
        for _ in range(60):
            payload, response = invoke(self.lambdas, {"do": "self"}, Qualifier="both")
            self.assertEqual(payload["version"], {"1": "first", "2": "second"}[response["ExecutedVersion"]])
            self.assertEqual(payload["arn"], function_arn("actor", "both"))
            seen[response["ExecutedVersion"]] += 1
        # Wrong once in some millions.
        self.assertGreater(min(seen["1"], seen["2"]), 10, seen)
        self.lambdas.delete_alias(FunctionName="actor", Name="both")

    def test_provisioned(self):
        shared.actor(2)
        put = self.lambdas.put_provisioned_concurrency_config(
            FunctionName="actor", Qualifier="2", ProvisionedConcurrentExecutions=1)
        self.assertEqual(put["Status"], "IN_PROGRESS")

        def ready():
            got = self.lambdas.get_provisioned_concurrency_config(FunctionName="actor", Qualifier="2")
            self.assertIn(got["Status"], ("IN_PROGRESS", "READY"))
            return got["Status"] == "READY" and got["AvailableProvisionedConcurrentExecutions"] == 1

        eventually(ready, 120)
        pages = self.lambdas.get_paginator("list_provisioned_concurrency_configs").paginate(
            FunctionName="actor")
        listed = [one for page in pages for one in page["ProvisionedConcurrencyConfigs"]]
        self.assertEqual([one["FunctionArn"] for one in listed], [function_arn("actor", "2")])
        self.assertEqual(result(self.lambdas, {"do": "self"}, version=2)["version"], "second")
        self.lambdas.delete_provisioned_concurrency_config(FunctionName="actor", Qualifier="2")
        self.refused("ProvisionedConcurrencyConfigNotFoundException", 404,
                     self.lambdas.get_provisioned_concurrency_config, FunctionName="actor", Qualifier="2")

    def test_no_concurrency(self):
        self.lambdas.put_function_concurrency(FunctionName="actor", ReservedConcurrentExecutions=0)
        self.addCleanup(self.lambdas.delete_function_concurrency, FunctionName="actor")
        response = self.refused("TooManyRequestsException", 429, self.lambdas.invoke,
                                FunctionName="actor", Qualifier="1")
        self.assertEqual(response["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
        self.assertEqual(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"], "1")
        self.assertEqual(response["Error"]["Message"], "Rate Exceeded.")

    def test_one_at_a_time(self):
        self.lambdas.put_function_concurrency(FunctionName="actor", ReservedConcurrentExecutions=1)
        self.addCleanup(self.lambdas.delete_function_concurrency, FunctionName="actor")
        other = shared.client()
        self.addCleanup(other.close)
        slow = threading.Thread(target=invoke, args=(other, {"do": "note", "id": "slow", "s": 3}))
        slow.start()
        self.addCleanup(slow.join)
        time.sleep(1)
        self.refused("TooManyRequestsException", 429, self.lambdas.invoke, FunctionName="actor",
                     Qualifier="1")
        slow.join()
        self.assertEqual(result(self.lambdas, {"value": 1}), 1)


class Breaking(Case):
    """A custom runtime that ends, hangs, or is killed: the error, and that the next call works."""

    def broken(self, event, error_type, message):
        payload, response = invoke(self.lambdas, event, "breaker", LogType="Tail")
        self.assertEqual((response["StatusCode"], response["FunctionError"]), (200, "Unhandled"))
        self.assertEqual(payload["errorType"], error_type)
        request_id = response["ResponseMetadata"]["RequestId"]
        self.assertRegex(payload["errorMessage"], f"^RequestId: {request_id} Error: {message}$")
        report = re.search(support.REPORT, base64.b64decode(response["LogResult"]).decode())
        self.assertEqual(report["status"], "timeout" if error_type == "Sandbox.Timedout" else "error")
        following, response = invoke(self.lambdas, "tell", "breaker")
        self.assertNotIn("FunctionError", response, following)
        self.assertEqual(following["calls"], 1)

    def test_0_first(self):
        STATE["breaker"].join()
        payload, response = STATE["first"]
        self.assertNotIn("FunctionError", response, payload)
        self.assertEqual((payload["calls"], response["ExecutedVersion"]), (1, "$LATEST"))
        report = re.search(support.REPORT, base64.b64decode(response["LogResult"]).decode())
        self.assertGreater(float(report["init"]), 0)
        self.assertIsNone(report["restore"])

    def test_exit(self):
        self.broken("exit", "Runtime.ExitError", "Runtime exited with error: exit status 7")

    def test_hang(self):
        self.broken("hang", "Sandbox.Timedout", r"Task timed out after 3\.00 seconds")

    def test_kill(self):
        # As for who needs too much memory. That takes minutes where KVM is software: see kvm/handlers.
        self.broken("kill", "Runtime.ExitError", "Runtime exited with error: signal: killed")

    def test_headers(self):
        """As a runtime sees them."""
        context = base64.b64encode(b'{"custom":\n{"a": "\\"b"}}').decode()
        got, _ = invoke(self.lambdas, "tell", "breaker", ClientContext=context)
        self.assertEqual(json.loads(got["context"]), {"custom": {"a": '"b'}})


class Events(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        STATE["breaker"].join()
        shared.actor(1)
        cls.receiver = Receiver()
        cls.addClassCleanup(cls.receiver.close)

    def send(self, event, name="actor:1"):
        response = self.lambdas.invoke(FunctionName=name, InvocationType="Event",
                                       Payload=json.dumps(event))
        self.assertEqual((response["StatusCode"], response["Payload"].read()), (202, b""))
        return response["ResponseMetadata"]["RequestId"]

    def starts(self, request_id):
        return [line for line in shared.service().lines("actor", "--request-id", request_id)
                if line["text"].startswith("START ")]

    def test_failure(self):
        """Tried three times under one id, then told to the destination, a function."""
        self.lambdas.put_function_event_invoke_config(
            FunctionName="actor", Qualifier="1",
            DestinationConfig={"OnFailure": {"Destination": function_arn("breaker")},
                               "OnSuccess": {"Destination": self.receiver.url}})
        event = {"do": "note", "id": "failing", "fail": True}
        request_id = self.send(event)

        def told():
            for line in shared.service().lines("breaker", "--filter", request_id):
                if line["kind"] == "function" and line["text"].startswith("{"):
                    return json.loads(line["text"])

        record = eventually(told, 120)
        self.assertEqual(record["version"], "1.0")
        self.assertEqual(record["requestContext"]["requestId"], request_id)
        self.assertEqual(record["requestContext"]["condition"], "RetriesExhausted")
        self.assertEqual(record["requestContext"]["approximateInvokeCount"], 3)
        self.assertEqual(record["requestContext"]["functionArn"], function_arn("actor", "1"))
        self.assertEqual(record["requestPayload"], event)
        self.assertEqual(record["responseContext"], {"statusCode": 200, "executedVersion": "1",
                                                     "functionError": "Unhandled"})
        self.assertEqual(record["responsePayload"]["errorType"], "TeapotError")
        self.assertEqual(len(self.starts(request_id)), 3)
        # And a success, to a URL.
        request_id = self.send({"do": "note", "id": "well"})
        record = eventually(lambda: [one for one in self.receiver.bodies
                                     if one["requestContext"]["requestId"] == request_id], 60)[0]
        self.assertEqual(record["requestContext"]["condition"], "Success")
        self.assertEqual(record["responsePayload"], "well")
        self.assertEqual(len(self.starts(request_id)), 1)
        self.lambdas.delete_function_event_invoke_config(FunctionName="actor", Qualifier="1")

    def test_fewer_retries(self):
        self.lambdas.put_function_event_invoke_config(
            FunctionName="actor", Qualifier="1", MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": self.receiver.url}})
        request_id = self.send({"do": "note", "id": "once", "fail": True})
        record = eventually(lambda: [one for one in self.receiver.bodies
                                     if one["requestContext"]["requestId"] == request_id], 60)[0]
        self.assertEqual(record["requestContext"]["approximateInvokeCount"], 1)
        self.assertEqual(len(self.starts(request_id)), 1)
        self.lambdas.delete_function_event_invoke_config(FunctionName="actor", Qualifier="1")

    def test_throttled(self):
        """An event waits while its function may not run."""
        self.lambdas.put_function_concurrency(FunctionName="actor", ReservedConcurrentExecutions=0)
        request_id = self.send({"do": "note", "id": "patient"})
        with self.assertRaises(AssertionError):
            eventually(lambda: self.starts(request_id), 1)
        self.lambdas.delete_function_concurrency(FunctionName="actor")
        eventually(lambda: self.starts(request_id), 60)

    def test_invoke_async(self):
        response = self.lambdas.invoke_async(FunctionName="actor:1", InvokeArgs=b'{"value": 1}')
        self.assertEqual(response["Status"], 202)
        request_id = response["ResponseMetadata"]["RequestId"]
        eventually(lambda: self.starts(request_id), 60)

