# SPDX-License-Identifier: Apache-2.0
"""Handlers that the tests of the agent drive."""

import os
import sys
import time

calls = 0


def echo(event, context):
    return event


def count(event, context):
    global calls
    calls += 1
    return calls


def whoami(event, context):
    context.identity, context.client_context  # fields that must be there
    return {
        "request_id": context.aws_request_id,
        "name": context.function_name,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "group": context.log_group_name,
        "stream": context.log_stream_name,
        "remaining": context.get_remaining_time_in_millis(),
        "env": dict(os.environ),
        "cwd": os.getcwd(),
        "path": sys.path[:3],
        "uid": os.getuid(),
    }


class TeapotError(Exception):
    pass


def inner():
    raise TeapotError("short and \"stout\"")


def fail(event, context):
    inner()


def leave(event, context):
    sys.exit(event)


def die(event, context):
    os.kill(os.getpid(), event)


def sleep(event, context):
    print("going to sleep", flush=True)
    time.sleep(event)
    return "slept"


def talk(event, context):
    line = "x" * 99
    for _ in range(event // 100):
        print(line)
    sys.stdout.write("no end of line")
    sys.stderr.write("an error line\n")
    return "said"


def large(event, context):
    # As JSON a string is two bytes longer.
    return "y" * (event - 2)


def unserialisable(event, context):
    return b"bytes"


def log(event, context):
    import logging

    logging.getLogger().warning("to whom it may concern")
    context.log("raw\n")
    return None


def spawn_and_leave(event, context):
    """A child that would outlive its parent, in a session of its own."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(1000)
        os._exit(0)
    print(pid, flush=True)
    os._exit(3)


def forbidden(event, context):
    import ctypes
    import socket

    answers = {}
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        answers["vsock"] = "made"
    except OSError as error:
        answers["vsock"] = error.errno
    libc = ctypes.CDLL(None, use_errno=True)
    for name, number in (("bpf", 321), ("keyctl", 250), ("userfaultfd", 323)):
        libc.syscall(number, 0, 0, 0)
        answers[name] = ctypes.get_errno()
    with open("/proc/self/status") as status:
        for line in status:
            name, _, value = line.partition(":")
            if name in ("NoNewPrivs", "CapEff", "CapPrm", "Seccomp", "Uid", "Gid"):
                answers[name] = value.split()[0]
    return answers
