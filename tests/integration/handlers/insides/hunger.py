# SPDX-License-Identifier: Apache-2.0
"""Takes all there is of something, and keeps it: processes, memory of every kind, files, descriptors."""

import errno
import mmap
import os
import signal
import socket
import threading
import time

MAP_NORESERVE = 0x4000
HELD = []  # what a handler has taken stays taken when it has answered


def until_refused(take):
    """How often it went well, and the errno that ended it."""
    count = 0
    try:
        while True:
            HELD.append(take())
            count += 1
    except OSError as error:
        return [count, errno.errorcode.get(error.errno, str(error))]
    except (RuntimeError, MemoryError) as error:
        return [count, str(error)]


def spin():
    while True:
        pass


def fork_bomb(spinning):
    """All the processes there can be. `spinning`: and each wants a processor."""
    def take():
        child = os.fork()
        if child:
            return child
        try:
            if spinning:
                spin()
            signal.pause()
        finally:
            os._exit(0)

    return until_refused(take)


def fork_for_ever():
    """Each forks and ends, so that there is never one to be caught."""
    while True:
        try:
            if os.fork():
                os._exit(0)
        except OSError:
            pass


def threads():
    def take():
        thread = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
        thread.start()
        return thread

    return until_refused(take)


def anonymous():
    """Huge pages make it quick."""
    while True:
        piece = mmap.mmap(-1, 8 << 20)
        piece.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, len(piece), 4096):
            piece[at] = 1
        HELD.append(piece)


def shared():
    """Files in memory: /dev/shm, and those without a name."""
    piece = b"x" * (1 << 20)
    try:
        with open("/dev/shm/fill", "wb", buffering=0) as file:
            while True:
                file.write(piece)
    except OSError:
        pass
    while True:
        fd = os.memfd_create("fill")
        HELD.append(fd)
        for _ in range(64):
            os.write(fd, piece)


def page_tables():
    """A page of every 2 MiB, read only: all are the zero page, and each has a table of its own."""
    while True:
        piece = mmap.mmap(-1, 1 << 30, prot=mmap.PROT_READ,
                          flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        HELD.append(piece)
        for at in range(0, len(piece), 2 << 20):
            piece[at]


def pipes():
    """In as many processes as it takes: each has so many descriptors."""
    def fill():
        ends = os.pipe()
        os.set_blocking(ends[1], False)
        try:
            while True:
                os.write(ends[1], b"x" * 65536)
        except BlockingIOError:
            pass
        return ends

    def take():
        child = os.fork()
        if child:
            return child
        until_refused(fill)
        signal.pause()
        os._exit(0)

    until_refused(take)
    return until_refused(fill)


def sockets(family, kind, protocol=0):
    """Datagrams that nobody reads."""
    def fill():
        if family == socket.AF_NETLINK:
            deaf = socket.socket(family, kind, protocol)
            deaf.bind((0, 0))
            sender = socket.socket(family, kind, protocol)
            where = deaf.getsockname()
        elif family == socket.AF_UNIX:
            deaf, sender = socket.socketpair(family, kind)
            where = None
        else:
            deaf = socket.socket(family, kind)
            deaf.bind(("127.0.0.1", 0))
            sender = socket.socket(family, kind)
            where = deaf.getsockname()
        sender.setblocking(False)
        try:
            for _ in range(1000):
                if where is None:
                    sender.send(b"x" * 16384)
                else:
                    sender.sendto(b"x" * 16384, where)
        except (BlockingIOError, ConnectionRefusedError, OSError):
            pass
        return deaf, sender

    def take():
        child = os.fork()
        if child:
            return child
        until_refused(fill)
        signal.pause()
        os._exit(0)

    until_refused(take)
    return until_refused(fill)


def descriptors():
    return until_refused(lambda: open("/dev/null", "rb"))


def disk():
    """/tmp to its last block."""
    told, size = [], 64 << 20
    with open("/tmp/fill", "wb") as file:
        end = 0
        while size:
            try:
                os.posix_fallocate(file.fileno(), end, size)
                end += size
            except OSError as error:
                told.append(errno.errorcode.get(error.errno, str(error)))
                size >>= 4
    return [end >> 20, sorted(set(told))]
