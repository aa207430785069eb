# SPDX-License-Identifier: Apache-2.0
"""Doors that must be shut to a handler: each is tried once, and what came of it is told, "open" or the
name of an errno."""

import ctypes
import errno
import os
import socket
import struct

import system

AF_VSOCK = 40
AGENT_PORT = 1024


def vsock(cid, port):
    with socket.socket(AF_VSOCK, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        connection.connect((cid, port))


def vsock_by_ring(cid, port):
    with socket.socket(fileno=system.Ring().socket(AF_VSOCK, socket.SOCK_STREAM)) as connection:
        connection.settimeout(2)
        connection.connect((cid, port))


def vsock_pair():
    socket.socketpair(AF_VSOCK, socket.SOCK_STREAM)


def write(path, data=b"1"):
    with open(path, "wb", buffering=0) as file:
        file.write(data)


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read(64)


def make_node(path, major, minor):
    os.mknod(path, 0o20666, os.makedev(major, minor))


def remount(path):
    system.call("mount", b"none", path, b"tmpfs", 32, 0)  # MS_REMOUNT


def set_time():
    system.call("clock_settime", 0, struct.pack("<qq", 0, 0))


def raise_limit():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))


def run_set_user_id():
    """A program with the set-user-id bit, on the one place where files can be made."""
    path = "/tmp/set-user-id"
    with open("/proc/self/exe", "rb") as source, open(path, "wb") as copy:
        copy.write(source.read(1 << 20))
    os.chmod(path, 0o6755)
    os.chown(path, 0, 0)


def read_memory_of(pid):
    buffer = ctypes.create_string_buffer(16)
    local = struct.pack("<QQ", ctypes.addressof(buffer), 16)
    remote = struct.pack("<QQ", 0x400000, 16)
    system.call("process_vm_readv", pid, local, 1, remote, 1, 0)


def others():
    """Every process that can be seen is ours."""
    mine = os.getuid()
    seen = [name for name in os.listdir("/proc") if name.isdigit() and os.stat("/proc/" + name).st_uid != mine]
    if not seen:
        raise OSError(errno.ESRCH, "none")
    return seen


def descriptors():
    """Those that the agent left open in us: none but pipes and its socket."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + name))
        except FileNotFoundError:
            pass  # that of the listing itself
    odd = [name for name in found if not name.startswith(("pipe:", "socket:", "/dev/null", "/proc/"))]
    if not odd:
        raise OSError(errno.EBADF, "none")
    return odd


def doors():
    found = {
        # First, before we have opened any ourselves.
        "descriptors": descriptors,
        "kill 1": lambda: os.kill(1, 9),
        "stop 1": lambda: os.kill(1, 19),
        "ptrace 1": lambda: system.call("ptrace", 16, 1, 0, 0),
        "seize 1": lambda: system.call("ptrace", 0x4206, 1, 0, 0),
        "read 1": lambda: read_memory_of(1),
        "pidfd 1": lambda: system.call("pidfd_getfd", system.call("pidfd_open", 1, 0), 0, 0),
        "nice 1": lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
        "others": others,
        "mount": lambda: system.call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
        "bind": lambda: system.call("mount", b"/tmp", b"/var/task", b"", 4096, 0),
        "remount /": lambda: remount(b"/"),
        "remount /proc": lambda: remount(b"/proc"),
        "umount": lambda: system.call("umount2", b"/proc", 2),
        "fsopen": lambda: system.call("fsopen", b"tmpfs", 0),
        "open_tree": lambda: system.call("open_tree", -100, b"/", 1),
        "pivot_root": lambda: system.call("pivot_root", b"/tmp", b"/tmp"),
        "chroot": lambda: os.chroot("/tmp"),
        "unshare user": lambda: system.call("unshare", 0x10000000),
        "unshare mount": lambda: system.call("unshare", 0x20000),
        "unshare net": lambda: system.call("unshare", 0x40000000),
        "clone user": lambda: system.call(56, 0x10000000 | 17, 0, 0, 0, 0),
        "setns": lambda: system.call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0),
        "setuid": lambda: os.setuid(0),
        "setgroups": lambda: os.setgroups([0]),
        "capset": lambda: system.call("capset", struct.pack("<Ii", 0x20080522, 0), struct.pack("<6I", *[0xffffffff] * 6)),
        "set-user-id": run_set_user_id,
        "mknod": lambda: make_node("/tmp/mem", 1, 1),
        "mknod vda": lambda: make_node("/tmp/vda", 254, 0),
        "iopl": lambda: system.call("iopl", 3),
        "ioperm": lambda: system.call("ioperm", 0x510, 16, 1),
        "reboot": lambda: system.call("reboot", 0xfee1dead, 672274793, 0x1234567, 0),
        "init_module": lambda: system.call("init_module", b"", 0, b""),
        "kexec_load": lambda: system.call("kexec_load", 0, 0, 0, 0),
        "swapon": lambda: system.call("swapon", b"/tmp/set-user-id", 0),
        "acct": lambda: system.call("acct", b"/tmp/set-user-id"),
        "sethostname": lambda: system.call("sethostname", b"mine", 4),
        "clock_settime": set_time,
        "settimeofday": lambda: system.call("settimeofday", struct.pack("<qq", 0, 0), 0),
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
        "real time": lambda: system.call("sched_setscheduler", 0, 1, struct.pack("<i", 1)),
        "raise limit": raise_limit,
        "syslog": lambda: system.call("syslog", 3, ctypes.create_string_buffer(64), 64),
        "bpf": lambda: system.call("bpf", 0, ctypes.create_string_buffer(128), 128),
        "userfaultfd": lambda: system.call("userfaultfd", 0),
        "perf_event_open": lambda: system.call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0),
        "add_key": lambda: system.call("add_key", b"user", b"k", b"v", 1, -3),
        "request_key": lambda: system.call("request_key", b"user", b"k", 0, -3),
        "keyctl": lambda: system.call("keyctl", 0, -3, 0),
        "modify_ldt": lambda: system.call("modify_ldt", 0, ctypes.create_string_buffer(64), 64),
        "io_uring": lambda: system.call("io_uring_setup", 1, ctypes.create_string_buffer(120)),
        "x32": lambda: system.call(0x40000000 | 39),
        "open by handle": lambda: system.call("open_by_handle_at", -100, struct.pack("<Ii8x", 8, 1), 0),
        "vsock host": lambda: vsock(2, AGENT_PORT),
        "vsock agent": lambda: vsock(3, AGENT_PORT),
        "vsock loopback": lambda: vsock(1, AGENT_PORT),
        "vsock pair": vsock_pair,
        "vsock by ring, host": lambda: vsock_by_ring(2, AGENT_PORT),
        "vsock by ring, agent": lambda: vsock_by_ring(3, AGENT_PORT),
        "vsock by ring, loopback": lambda: vsock_by_ring(1, AGENT_PORT),
        "vsock by ring, sibling": lambda: vsock_by_ring(4, AGENT_PORT),
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
        "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "port 80": lambda: socket.socket().bind(("127.0.0.1", 9001)),
    }
    for path in ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/vsock", "/dev/vhost-vsock", "/dev/pmem0", "/dev/pmem1",
                 "/dev/vda", "/dev/hwrng", "/dev/kmsg", "/dev/kvm", "/dev/console", "/proc/1/environ", "/proc/1/mem",
                 "/proc/1/maps", "/proc/1/root/init", "/proc/1/fd", "/proc/1/stat", "/proc/kcore", "/proc/kmsg",
                 "/proc/kallsyms.", "/proc/self/root/../../init", "/sys/kernel/debug", "/sys/fs/cgroup/cgroup.procs"):
        found["read " + path] = lambda path=path: read(path)
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
                 "/proc/sys/kernel/hostname", "/proc/sys/user/max_user_namespaces", "/proc/sys/vm/drop_caches",
                 "/proc/sys/kernel/random/boot_id", "/proc/self/oom_score_adj.", "/proc/acpi/wakeup",
                 "/sys/power/state", "/sys/kernel/uevent_helper", "/sys/bus/virtio/drivers_probe", "/etc/passwd",
                 "/etc/resolv.conf", "/etc/new", "/var/task/new", "/var/task/app.py", "/opt/new",
                 "/var/runtime/bootstrap", "/var/runtime/new", "/usr/lib/new", "/dev/new", "/dev/null.new", "/new",
                 "/proc/1/oom_score_adj", "/proc/1/clear_refs"):
        found["write " + path] = lambda path=path: write(path)
    return found


def try_all():
    told = {}
    for name, door in doors().items():
        try:
            result = door()
            told[name] = "open" if result is None else f"open: {result!r}"[:200]
        except OSError as error:
            told[name] = errno.errorcode.get(error.errno, str(error))
        except ValueError as error:
            told[name] = f"refused: {error}"
    return told
