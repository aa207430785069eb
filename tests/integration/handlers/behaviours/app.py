# SPDX-License-Identifier: Apache-2.0
"""A handler that does what the event's "do" says: one snapshot of it serves most tests.

{"do": "sequence", "steps": [...]} does the next of its steps each time it is called, whatever
became of the runtime meanwhile: the counter lies in /tmp.
"""

import hashlib
import json
import os
import random
import secrets
import ssl
import sys
import tempfile
import time
import uuid

import tsc

BORN = time.monotonic()
# Drawn before the snapshot, so that every generator has a state that clones would share.
DRAWN = [random.random(), uuid.uuid4().hex, uuid.uuid1().hex, ssl.RAND_bytes(8), secrets.token_hex(8),
         next(tempfile._get_candidate_names())]
CALLS = 0


class TeapotError(Exception):
    pass


def kernel_uuid(name="uuid"):
    with open("/proc/sys/kernel/random/" + name, encoding="ascii") as file:
        return file.read().strip()


def device_bytes():
    with open("/dev/urandom", "rb", buffering=0) as file:
        return file.read(16)


def do_echo(event):
    return event.get("value")


def do_raise(event):
    raise TeapotError("short and \"stout\"")


def do_exit(event):
    os._exit(event.get("status", 0))


def do_sys_exit(event):
    sys.exit(event.get("status", 0))


def do_signal(event):
    os.kill(os.getpid(), event["signal"])


def do_hang(event):
    print("going to hang", flush=True)
    while True:
        time.sleep(60)


def do_spin(event):
    while True:
        pass


def do_eat(event):
    """Memory until there is no more; huge pages make it quick."""
    import mmap

    held = []
    while True:
        piece = mmap.mmap(-1, 8 << 20)
        piece.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, len(piece), 4096):
            piece[at] = 1
        held.append(piece)


def do_print(event):
    """Numbered lines of 100 bytes, in one write, without an end of line at the end."""
    count = event["bytes"] // 100
    sys.stdout.write("".join(f"{number:099d}\n" for number in range(count)) + "no end")
    sys.stderr.write("to standard error\n")
    return count


def do_return_string(event):
    # As JSON a string is two bytes longer.
    return "y" * (event["bytes"] - 2)


def do_return_bytes(event):
    return b"\xff\xfe not JSON"


def do_measure(event):
    value = event["value"]
    return {"length": len(value), "sha256": hashlib.sha256(value.encode()).hexdigest()}


def do_random(event):
    return {
        "urandom": os.urandom(16).hex(),
        "random": random.random(),
        "uuid4": str(uuid.uuid4()),
        "kernel": kernel_uuid(),
        "tempfile": next(tempfile._get_candidate_names()),
        "ssl": ssl.RAND_bytes(16).hex(),
        "getrandom": os.getrandom(16).hex(),
        "device": device_bytes().hex(),
        "secrets": secrets.token_hex(16),
        "uuid1": str(uuid.uuid1()),
        # These two stay with their clone.
        "node": f"{uuid.uuid1().node:012x}",
        "boot": kernel_uuid("boot_id"),
    }


def do_clock(event):
    return {"monotonic": time.monotonic(), "born": BORN}


def do_clock_tsc(event):
    return tsc.sample()


def do_clock_lines(event):
    for _ in range(event["count"]):
        print(f"clock {time.time():.6f}", flush=True)
        time.sleep(event["pause"])
    return event["count"]


def do_sleep(event):
    time.sleep(event["s"])
    return "slept"


def do_announced_sleep(event):
    print("now sleeping", flush=True)
    return do_sleep(event)


def do_self(event):
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "cpus": os.cpu_count(),
    }


def do_write_tmp(event):
    with open("/tmp/file", "ab") as file:
        file.write(event["value"].encode())
    with open("/tmp/file", "rb") as file:
        return file.read().decode()


def do_open(event):
    try:
        with open(event["path"], event.get("mode", "rb")) as file:
            return {"read": file.read(event.get("bytes", 100)).decode("latin-1")}
    except OSError as error:
        return {"errno": error.errno}


def do_sequence(event):
    try:
        with open("/tmp/step", encoding="ascii") as file:
            step = int(file.read())
    except FileNotFoundError:
        step = 0
    with open("/tmp/step", "w", encoding="ascii") as file:
        file.write(str(step + 1))
    return act(event["steps"][step])


def act(event):
    return globals()["do_" + event["do"].replace("-", "_")](event)


def handler(event, context):
    global CALLS
    now = time.time()
    CALLS += 1
    result = act(event)
    if event.get("bare"):
        return result
    return {
        "result": result,
        "time": now,
        "calls": CALLS,
        "id": context.aws_request_id,
        "left": context.get_remaining_time_in_millis(),
    }
