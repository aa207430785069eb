# SPDX-License-Identifier: Apache-2.0
"""System calls of x86-64 by number: what Python has no function for, and the errno of each."""

import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)

NUMBERS = {
    "ptrace": 101, "syslog": 103, "personality": 135, "pivot_root": 155, "chroot": 161, "mount": 165,
    "umount2": 166, "reboot": 169, "iopl": 172, "ioperm": 173, "init_module": 175, "modify_ldt": 154,
    "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
    "unshare": 272, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308,
    "process_vm_readv": 310, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
    "io_uring_enter": 426, "open_tree": 428, "fsopen": 430, "pidfd_open": 434, "pidfd_getfd": 438,
    "settimeofday": 164, "sethostname": 170, "setuid": 105, "capset": 126, "mknod": 133, "acct": 163,
    "swapon": 167, "setpriority": 141, "sched_setscheduler": 144, "quotactl": 179, "prctl": 157,
    "socket": 41,
}


def call(name, *arguments):
    """What the call returns; OSError with its errno."""
    number = name if isinstance(name, int) else NUMBERS[name]
    result = libc.syscall(ctypes.c_long(number), *(
        ctypes.c_long(value) if isinstance(value, int) else value for value in arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(name))
    return result


class Ring:
    """The smallest io_uring that can carry out one request: a way to make system calls that a filter of
    system calls does not see."""

    ENTRIES = 4
    OFF_SQ, OFF_CQ, OFF_SQES = 0, 0x8000000, 0x10000000

    def __init__(self):
        import mmap

        self.parameters = ctypes.create_string_buffer(120)
        self.fd = call("io_uring_setup", self.ENTRIES, self.parameters)
        words = struct.unpack_from("<10I", self.parameters.raw, 0)
        self.sq = struct.unpack_from("<10I", self.parameters.raw, 40)
        self.cq = struct.unpack_from("<10I", self.parameters.raw, 80)
        self.sq_map = mmap.mmap(self.fd, self.sq[6] + words[0] * 4, offset=self.OFF_SQ)
        self.cq_map = mmap.mmap(self.fd, self.cq[5] + words[1] * 16, offset=self.OFF_CQ)
        self.entries = mmap.mmap(self.fd, words[0] * 64, offset=self.OFF_SQES)

    def socket(self, family, kind):
        """IORING_OP_SOCKET; a descriptor."""
        entry = struct.pack("<BBHiQQIIQ", 45, 0, 0, family, kind, 0, 0, 0, 1)
        self.entries[:64] = entry.ljust(64, b"\0")
        struct.pack_into("<I", self.sq_map, self.sq[6], 0)
        (tail,) = struct.unpack_from("<I", self.sq_map, self.sq[1])
        struct.pack_into("<I", self.sq_map, self.sq[1], tail + 1)
        call("io_uring_enter", self.fd, 1, 1, 1, 0, 0)
        (head,) = struct.unpack_from("<I", self.cq_map, self.cq[0])
        _, result, _ = struct.unpack_from("<QiI", self.cq_map, self.cq[5] + (head % self.ENTRIES) * 16)
        if result < 0:
            raise OSError(-result, os.strerror(-result), "IORING_OP_SOCKET")
        return result
