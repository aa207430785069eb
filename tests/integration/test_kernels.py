#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kernels that are none or do no good, and hosts without a usable KVM."""

import os
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

import support
from support import FAILED, HOST

ELF_MACHINE, AARCH64 = 18, 183


def cpio_entry(name, mode, data=b"", device=(0, 0)):
    """A member of a newc archive, as Linux unpacks it."""
    path = name.encode() + b"\0"
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0]
    entry = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    entry += bytes(-len(entry) % 4) + data
    return entry + bytes(-len(entry) % 4)


class Kernels(support.Case):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="thaw-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def run_kernel(self, kernel, **options):
        code = os.path.join(support.PROGRAMS, "fp")
        return self.thaw("run", "--runtime", "provided", "--code", code, "--handler", "none",
                         "--event", "-", "--kernel", kernel, data=b"{}", **options)

    def own_kernel(self):
        with open(os.path.join(support.BUILD, "guest", "vmlinux"), "rb") as file:
            return file.read()

    def test_not_a_kernel(self):
        for name, data, pattern in (
                ("text", b"I am not a kernel\n" * 100, "not a kernel"),
                ("empty", b"", "not a kernel"),
                ("script", b"#!/bin/sh\n", "not a kernel"),
                ("zeros", bytes(1 << 20), "not a kernel")):
            with self.subTest(name):
                result = self.run_kernel(self.file(name, data))
                self.assert_one_line_error(result, FAILED, pattern)

    def test_an_ordinary_program(self):
        result = self.run_kernel("/bin/busybox")
        self.assertEqual(result.code, FAILED, result)
        result = self.run_kernel(support.THAW)
        self.assert_one_line_error(result, FAILED, "not a kernel")

    def test_missing_and_odd_files(self):
        result = self.run_kernel(os.path.join(self.folder, "missing"))
        self.assert_one_line_error(result, HOST, "missing.*No such file|No such file.*missing")
        self.assert_one_line_error(self.run_kernel(self.folder), HOST, "not a regular file")
        self.assert_one_line_error(self.run_kernel("/dev/null"), HOST, "not a regular file")

    def test_truncated_kernel(self):
        kernel = self.own_kernel()
        for size in (40, 64, 100, 4096, len(kernel) // 2):
            with self.subTest(size):
                result = self.run_kernel(self.file("short", kernel[:size]))
                self.assert_one_line_error(result, FAILED, "cut short")

    def test_kernel_of_another_architecture(self):
        kernel = bytearray(self.own_kernel())
        struct.pack_into("<H", kernel, ELF_MACHINE, AARCH64)
        result = self.run_kernel(self.file("foreign", kernel))
        self.assert_one_line_error(result, FAILED, "not for 64-bit x86")

    def test_kvm_stops_at_an_instruction(self):
        result = self.run_kernel(os.path.join(support.PROGRAMS, "kernels/fpstore.elf"))
        self.assert_one_line_error(result, FAILED,
                                   r"KVM cannot emulate the instruction at 0x10000\w\w .*bytes "
                                   r"(d9 ee )?df 3b")

    def test_triple_fault(self):
        result = self.run_kernel(os.path.join(support.PROGRAMS, "kernels/triple.elf"))
        self.assert_one_line_error(result, FAILED, "triple fault")
        self.assertLess(result.seconds, 30)

    def test_halt_for_ever(self):
        result = self.run_kernel(os.path.join(support.PROGRAMS, "kernels/halt.elf"),
                                 env={"THAW_TIMEOUT_SCALE": "0.1"})
        self.assert_one_line_error(result, FAILED, "booting the guest.*in time")

    def test_initramfs_that_does_not_fit(self):
        """A library directory with an initramfs larger than the guest."""
        for part in ("guest", "images"):
            shutil.copytree(os.path.join(support.BUILD, part), os.path.join(self.folder, part),
                            symlinks=True, ignore=lambda folder, names: [
                                name for name in names
                                if not name.endswith(("provided.erofs", "vmlinux"))])
        with open(os.path.join(self.folder, "guest/initramfs.cpio"), "wb") as file:
            file.truncate(256 << 20)
        result = self.thaw("trust", env={"THAW_LIBDIR": self.folder})
        self.assertEqual(result.code, support.OK, result)
        self.addCleanup(os.remove, os.path.join(self.state.path, "parts"))
        result = self.run_kernel(os.path.join(self.folder, "guest/vmlinux"),
                                 env={"THAW_LIBDIR": self.folder})
        self.assert_one_line_error(result, HOST, "do not fit|does not fit")

    @unittest.skipUnless(support.EMULATED, "a stock kernel needs KVM in hardware")
    def test_stock_debian_kernel(self):
        kernel = subprocess.run([os.path.join(support.SOURCE, "tests/host/run"), "--print-kernel"],
                                stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
        with open(os.path.join(support.PROGRAMS, "kernels/stock_init"), "rb") as file:
            init = file.read()
        initrd = self.file("initrd", cpio_entry("dev", 0o040755)
                           + cpio_entry("dev/console", 0o020600, device=(5, 1))
                           + cpio_entry("init", 0o100755, init) + cpio_entry("TRAILER!!!", 0))
        began = time.monotonic()
        done = subprocess.run(
            [os.path.join(support.PROGRAMS, "boot_kernel"), "-t", "120", "-i", initrd, "-a",
             "console=ttyS0 reboot=k panic=-1 loglevel=4", support.VMM, kernel],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)
        self.assertRegex(done.stdout, r"stock-guest: Linux 6\.\d+\.\S*cloud\S*, 1 CPUs, 2\d\d MiB")
        self.assertIn("the guest reset itself", done.stderr)
        support.say(f"    {done.stdout[done.stdout.index('stock-guest'):].splitlines()[0]} "
                    f"in {time.monotonic() - began:.1f} s")


class Kvm(support.Case):
    """What `thaw` says where KVM cannot be used. Needs root, to arrange it."""

    def in_namespace(self, prepare, *arguments):
        """A command after `prepare` in a mount namespace of its own."""
        script = f'{prepare}\nexec "$@"'
        began = time.monotonic()
        command = ["unshare", "-m", "sh", "-ec", script, "sh", support.THAW, "--state",
                   self.state.path, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        return support.finish(process, arguments, began)

    RUN = ("run", "--runtime", "provided", "--code", os.path.join(support.PROGRAMS, "fp"),
           "--handler", "none")

    def test_no_device(self):
        # All of /dev but kvm.
        prepare = ("mkdir -p /run/thaw-test-dev && mount -t tmpfs none /run/thaw-test-dev && "
                   "for n in null zero full random urandom; do : >/run/thaw-test-dev/$n; "
                   "mount --bind /dev/$n /run/thaw-test-dev/$n; done && "
                   "mount --rbind /run/thaw-test-dev /dev")
        self.addCleanup(lambda: os.path.isdir("/run/thaw-test-dev") and os.rmdir("/run/thaw-test-dev"))
        result = self.in_namespace(prepare, *self.RUN)
        self.assert_one_line_error(result, HOST, "/dev/kvm is not there: this machine has no KVM")

    def test_another_device(self):
        result = self.in_namespace("mount --bind /dev/null /dev/kvm", *self.RUN)
        self.assert_one_line_error(result, HOST, "/dev/kvm is not a KVM device")

    def test_no_permission(self):
        began = time.monotonic()
        # A build tree in a private home is none of this test's business.
        with tempfile.TemporaryDirectory(prefix="thaw-test-") as folder:
            os.chmod(folder, 0o755)
            prefix = os.path.join(folder, "build")
            for part in ("bin", "guest", "images", "code"):
                os.makedirs(os.path.join(prefix, part))
            for part in ("bin/thaw", "bin/thaw-vmm", "guest/vmlinux", "guest/initramfs.cpio",
                         "images/provided.erofs"):
                shutil.copy(os.path.join(support.BUILD, part), os.path.join(prefix, part))
            shutil.copy(os.path.join(support.PROGRAMS, "fp/bootstrap"), os.path.join(prefix, "code"))
            state = os.path.join(folder, "state")
            os.mkdir(state)
            os.chown(state, 65534, 65534)
            process = subprocess.Popen(
                ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--",
                 os.path.join(prefix, "bin/thaw"), "--state", state, "run", "--runtime", "provided",
                 "--code", os.path.join(prefix, "code"), "--handler", "none"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            result = support.finish(process, ("run",), began)
        self.assert_one_line_error(result, HOST, "no permission to open /dev/kvm .*kvm USER")

    def test_doctor_tells(self):
        result = self.in_namespace("mount --bind /dev/null /dev/kvm", "doctor")
        self.assertEqual(result.code, HOST, result)
        self.assertRegex(result.out.decode() + result.err, "not a KVM device", result)


if __name__ == "__main__":
    support.main()
