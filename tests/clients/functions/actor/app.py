# SPDX-License-Identifier: Apache-2.0
"""A handler that does what the event's "do" says: one version of it serves most tests.

Whatever it is to remember beyond its environment it prints: the tests read its log.
"""

import json
import os
import time

VERSION = "first"
CALLS = 0


class TeapotError(Exception):
    pass


def do_echo(event, context):
    return event.get("value")


def do_self(event, context):
    return {
        "version": VERSION,
        "calls": CALLS,
        "environ": dict(os.environ),
        "name": context.function_name,
        "function_version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "id": context.aws_request_id,
        "custom": context.client_context.custom if context.client_context else None,
    }


def do_layer(event, context):
    import greeting  # from /opt/python

    return greeting.GREETING


def do_raise(event, context):
    raise TeapotError(event.get("message", "short and stout"))


def do_print(event, context):
    print(event["line"], flush=True)
    return len(event["line"])


def do_note(event, context):
    """Says that it ran, and then may take its time or fail."""
    print(f"note {event['id']}", flush=True)
    time.sleep(event.get("s", 0))
    if event.get("fail"):
        raise TeapotError(event["id"])
    print(f"done {event['id']}", flush=True)
    return event["id"]


def handler(event, context):
    global CALLS
    CALLS += 1
    if "requestContext" in event:
        # The result of another function, which it was told as a destination.
        print("destination " + json.dumps(event), flush=True)
        return None
    return globals()["do_" + event.get("do", "echo")](event, context)
