# SPDX-License-Identifier: Apache-2.0
"""A handler that attacks what it runs in, as the event's "do" says. What is left of it answers."""

import os
import socket
import threading
import time

import doors
import hunger
import talk


def do_echo(event, _):
    return event.get("value")


def do_doors(event, _):
    return doors.try_all()


def do_doors_and_forge(event, own):
    return [doors.try_all(), talk.forge(own)]


def do_kill_all(event, _):
    """Every process that it can reach, in the end itself."""
    try:
        os.kill(-1, 9)  # all but ourselves and 1
        os.kill(1, 9)
    except PermissionError:
        os.kill(os.getpid(), 9)


def do_hunger(event, _):
    """Takes something to its end. The answer comes if there is somebody left to give it."""
    if event["for"] == "sockets":
        family = getattr(socket, event["family"])
        return hunger.sockets(family, getattr(socket, event.get("kind", "SOCK_DGRAM")), event.get("protocol", 0))
    return getattr(hunger, event["for"])(*event.get("with", ()))


def do_forge(event, own):
    return talk.forge(own)


def do_answer_twice(event, own):
    return talk.answer_twice(own)


def do_answer_too_long(event, own):
    return talk.answer_too_long(own)


def do_fail_oddly(event, own):
    return talk.fail_oddly(own)


def do_crowd(event, _):
    return talk.crowd(event["count"])


def do_drip(event, _):
    talk.drip(event["s"])
    time.sleep(event.get("sleep", 0))
    return "dripping"


def do_haunt(event, own):
    talk.haunt(own)
    return own


def do_forge_lines(event, own):
    talk.forge_lines(own)
    return own


def do_flood(event, _):
    return talk.flood(event["s"], event.get("line", "x" * 99 + "\n").encode())


def do_flood_on(event, own):
    """A flood that goes on when this has answered."""
    threading.Thread(target=talk.flood, args=(3600, b"x" * 99 + b"\n"), daemon=True).start()
    return own


def do_leave(event, _):
    """A word wherever words can be left."""
    for folder in ("/tmp", "/dev/shm"):
        with open(folder + "/word", "w", encoding="ascii") as file:
            file.write(event["word"])
    os.environ["WORD"] = event["word"]
    return True


def do_find(event, _):
    time.sleep(event.get("s", 0))
    found = {"environ": os.environ.get("WORD")}
    for folder in ("/tmp", "/dev/shm"):
        try:
            with open(folder + "/word", encoding="ascii") as file:
                found[folder] = file.read()
        except FileNotFoundError:
            found[folder] = None
    return found


def handler(event, context):
    return globals()["do_" + event["do"].replace("-", "_")](event, context.aws_request_id)
