#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots that are damaged, foreign or forged; names that are paths; disks that are full; and
processes that are killed at any moment."""

import contextlib
import os
import random
import shutil
import signal
import struct
import subprocess
import time

import forge
import support
from support import COLD_LIMIT, OK, SNAPSHOT, USAGE

FILES = ("manifest.json", "state", "index", "frames", "code.erofs", "tmp.img")
SEED = int(os.environ.get("THAW_TEST_SEED", time.time()))


class Damage(support.Case):
    behaviours = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Its working set is there from now on.
        result = support.thaw("--state", cls.state.path, "invoke", "behaviours", "--event", "-",
                              "--record", data=b'{"do": "echo"}')
        if result.code != OK:
            raise AssertionError(str(result))

    def damaged(self):
        """A fresh copy."""
        return self.state.copy("behaviours", "damaged")

    def invoke_damaged(self, mode, **options):
        # As whoever has the host's key: what is behind the seal must hold too.
        forge.seal(self.state.path, "damaged")
        return self.invoke({"do": "echo", "value": 1, "bare": True}, "--mode", mode, name="damaged",
                           **options)

    def assert_refused(self, pattern="", mode="eager", code=SNAPSHOT):
        """By an invocation; by inspect too; and nothing has died of it."""
        result = self.invoke_damaged(mode)
        if result.seconds > 3:
            support.say(f"    refused after {result.seconds:.1f} s: {result.err.strip()}")
        self.assert_one_line_error(result, code, pattern)
        self.assertNotRegex(result.err, "died|signal")
        return result

    def assert_inspect_refuses(self, pattern=""):
        result = self.thaw("snapshot", "inspect", "damaged", "--verify")
        self.assertEqual(result.code, SNAPSHOT, result)
        self.assertRegex(result.err, pattern)

    def test_truncated(self):
        for name in FILES:
            size = os.path.getsize(self.state.snapshot("behaviours", name))
            # The manifest's last byte is the end of its line, which says nothing.
            last = size - 2 if name == "manifest.json" else size - 1
            for left in (0, 1, size // 2, last):
                with self.subTest(f"{name} {left}"):
                    path = os.path.join(self.damaged(), name)
                    forge.truncate(path, left)
                    self.assert_refused(name)

    def test_missing(self):
        for name in FILES:
            with self.subTest(name):
                os.remove(os.path.join(self.damaged(), name))
                self.assert_refused(name)

    def test_truncated_with_a_manifest_that_agrees(self):
        """As an attacker would: only thaw-vmm can tell."""
        for name, key in (("state", "state"), ("index", "index"), ("frames", "frames")):
            size = os.path.getsize(self.state.snapshot("behaviours", name))
            for left in (0, 20, size // 2, size - 8, size - 1):
                with self.subTest(f"{name} {left}"):
                    folder = self.damaged()
                    path = os.path.join(folder, name)
                    forge.truncate(path, left)
                    forge.change_manifest(folder, lambda m: m["files"].update({key: left}))
                    self.assert_refused()

    def test_flips_in_state(self):
        path = self.state.snapshot("behaviours", "state")
        places = {"magic": 0, "version": 8, "size": 12, "checksum": 16}
        for number, kind, _, begin in forge.state_fields(path):
            places[f"field {number}"] = forge.STATE_HEADER + begin
            if number == forge.STATE_CPU and kind == 2:
                cpu = forge.decode(dict((n, v) for n, _, v, _ in forge.state_fields(path))[number])
                for inner, _, _, at in cpu:
                    places[f"cpu field {inner}"] = forge.STATE_HEADER + begin + at
        for what, at in places.items():
            with self.subTest(what):
                forge.flip(os.path.join(self.damaged(), "state"), at, random.randrange(8))
                self.assert_refused("state")

    def test_flips_in_index(self):
        path = self.state.snapshot("behaviours", "index")
        size = os.path.getsize(path)
        table, frames = forge.frame_table(forge.read(path))
        places = {"magic": 0, "version": 8, "page size": 12, "pages": 16, "runs": 24, "frames": 28,
                  "size of frames": 32, "first run": 40, "a run": 40 + 16 * 3 + 4, "last run": table - 1,
                  "first frame": table, "last frame": table + 24 * len(frames) - 1,
                  "checksum": size - 1}
        for what, at in places.items():
            with self.subTest(what):
                forge.flip(os.path.join(self.damaged(), "index"), at, random.randrange(8))
                self.assert_refused("index")

    def test_flips_in_frames(self):
        _, frames = forge.frame_table(forge.read(self.state.snapshot("behaviours", "index")))
        for number in (0, len(frames) // 2, len(frames) - 1):
            offset, stored, _, _ = frames[number]
            for at in (offset, offset + stored // 2, offset + stored - 1):
                with self.subTest(f"frame {number} at {at}"):
                    folder = self.damaged()
                    forge.flip(os.path.join(folder, "frames"), at, random.randrange(8))
                    self.assert_refused("frame")
        # And when the raw image has to be made of them.
        self.assert_refused("frame", mode="map")

    def test_flips_in_manifest(self):
        text = forge.read(self.state.snapshot("behaviours", "manifest.json"))
        starts = [at + 1 for at in range(len(text) - 2) if text[at:at + 1] == b"\n"]
        for at in starts:
            # In the middle of the line; a space that becomes another is no damage.
            end = text.index(b"\n", at)
            middle = next(i for i in range((at + end) // 2, end) if text[i:i + 1] not in b" \t")
            with self.subTest(text[at:end].decode().strip()):
                forge.flip(os.path.join(self.damaged(), "manifest.json"), middle)
                self.assert_refused("manifest")

    def test_flips_in_drives(self):
        """What clones have mapped, and what they copy: data and holes."""
        for name in ("code.erofs", "tmp.img"):
            size = os.path.getsize(self.state.snapshot("behaviours", name))
            for at in (1024, size // 2, size - 1):
                with self.subTest(f"{name} {at}"):
                    forge.flip_sparse(os.path.join(self.damaged(), name), at, random.randrange(8))
                    self.assert_refused(f"{name}.*checksum")

    def test_flips_in_working_set(self):
        size = os.path.getsize(self.state.snapshot("behaviours", "working_set"))
        for at in (0, 8, 12, 16, 24, size // 2, size - 1):
            with self.subTest(at):
                forge.flip(os.path.join(self.damaged(), "working_set"), at, random.randrange(8))
                self.assert_refused("working set", mode="uffd")

    def test_raw_image_is_a_cache(self):
        """Damaged or gone, it is made again; the frames are what counts."""
        for what in ("flipped", "truncated", "removed", "replaced"):
            with self.subTest(what):
                folder = self.damaged()
                # Made for this copy first.
                self.assertEqual(self.invoke_damaged("map").code, OK)
                path = os.path.join(folder, "image.raw")
                if what == "flipped":
                    os.chmod(path, 0o600)
                    with open(path, "r+b") as file:
                        file.seek(os.path.getsize(path) // 2)
                        file.write(b"\xff" * 65536)
                elif what == "truncated":
                    os.truncate(path, 4096)
                elif what == "removed":
                    os.remove(path)
                else:
                    os.remove(path)
                    os.symlink("/dev/zero", path)
                result = self.invoke_damaged("map")
                self.assertEqual(result.code, OK, result)
                self.assertEqual(result.json(), 1)

    def test_other_versions(self):
        for name in ("state", "index", "working_set"):
            with self.subTest(name):
                folder = self.damaged()
                data = forge.read(os.path.join(folder, name))
                struct.pack_into("<I", data, 8, 2)
                if name == "index":
                    forge.write_index(folder, data)
                else:
                    if name == "working_set":
                        data[-8:] = forge.xxh3(data[:-8])
                    forge.write(os.path.join(folder, name), data)
                self.assert_refused("version 2", mode="uffd")
        folder = self.damaged()
        forge.change_manifest(folder, lambda manifest: manifest.update(format=2))
        self.assert_refused("format 2")

    def test_other_cpu_template(self):
        folder = self.damaged()
        fields = dict((number, value) for number, _, value, _ in
                      forge.state_fields(os.path.join(folder, "state")))
        other = 3 - fields[forge.STATE_TEMPLATE]
        forge.change_state(folder, forge.replace_field(forge.STATE_TEMPLATE, other))
        self.assert_refused("template")
        # In both places alike it is what a host of the other kind would have made.
        forge.change_manifest(folder, lambda manifest: manifest.update(cpu_template=other))
        result = self.invoke_damaged("eager")
        self.assertEqual(result.code, SNAPSHOT, result)

    def test_forged_states(self):
        """Checksums right, contents not."""
        device = forge.STATE_DEVICES

        def without_cpu(fields):
            return [field for field in fields if field[0] != forge.STATE_CPU]

        def cpus_twice(fields):
            return fields + [field for field in fields if field[0] == forge.STATE_CPU]

        def without_devices(fields):
            return [field for field in fields if field[0] != device]

        def devices_backwards(fields):
            devices = [field for field in fields if field[0] == device][::-1]
            return [field for field in fields if field[0] != device] + devices

        def cpu(inner, value):
            def change(fields):
                out = []
                for number, kind, old, at in fields:
                    if number == forge.STATE_CPU:
                        old = forge.encode([(n, k, value(v) if n == inner else v)
                                            for n, k, v, _ in forge.decode(old)])
                    out.append((number, kind, old, at))
                return out
            return change

        forgeries = {
            "no vCPU": without_cpu,
            "a vCPU too many": cpus_twice,
            "vCPUs it has not": forge.replace_field(forge.STATE_VCPUS, 6),
            "a million vCPUs": forge.replace_field(forge.STATE_VCPUS, 1 << 20),
            "no memory": forge.replace_field(forge.STATE_MEMORY, 0),
            "more memory": forge.replace_field(forge.STATE_MEMORY, 1 << 40),
            "no devices": without_devices,
            "devices in another order": devices_backwards,
            "another index": forge.replace_field(forge.STATE_INDEX, b"12345678"),
            "a clock of a byte": forge.replace_field(5, b"1"),
            "an I/O APIC too large": forge.replace_field(8, bytes(4096)),
            "no protobuf": lambda fields: [(1, 2, b"\xff" * 100)],
            "short CPUID": cpu(1, lambda value: value[:-1]),
            "short SREGS": cpu(2, lambda value: value[:-1]),
            "no registers": cpu(3, lambda value: b""),
            "long XSAVE": cpu(4, lambda value: value + bytes(1 << 16)),
            "MSRs nobody knows": cpu(8, lambda value: b"\xee" * len(value)),
            "SREGS of ones": cpu(2, lambda value: b"\xff" * len(value)),
            "a CPU of the future": cpu(1, lambda value: b"\xff" * len(value)),
        }
        for what, change in forgeries.items():
            with self.subTest(what):
                forge.change_state(self.damaged(), change)
                self.assert_refused()

    def test_forged_indexes(self):
        def set_u32(at, value):
            return lambda data: struct.pack_into("<I", data, at, value)

        def set_u64(at, value):
            return lambda data: struct.pack_into("<Q", data, at, value)

        table, frames = forge.frame_table(forge.read(self.state.snapshot("behaviours", "index")))
        forgeries = {
            "runs without end": set_u32(24, 0xffffffff),
            "frames without end": set_u32(28, 0xffffffff),
            "no pages": set_u64(16, 0),
            "too many pages": set_u64(16, 1 << 60),
            "pages of another size": set_u32(12, 8192),
            "a run beyond the end": set_u32(40, 0xfffffff0),
            "a run of nothing": set_u32(44, 0),
            "a run of an unknown kind": set_u32(48, 9),
            "a frame beyond the file": set_u64(table, 1 << 50),
            "a frame of no bytes": set_u32(table + 8, 0),
            "a frame of too many pages": set_u32(table + 12, 0xffff),
            "more frames than the file has": set_u64(32, 1 << 40),
        }
        for what, change in forgeries.items():
            with self.subTest(what):
                folder = self.damaged()
                data = forge.read(os.path.join(folder, "index"))
                change(data)
                forge.write_index(folder, data)
                self.assert_refused("index")

    def test_bomb(self):
        folder = self.damaged()
        forge.bomb(folder)
        result = self.assert_refused("frame")
        self.assertLess(result.seconds, 20)
        self.assert_refused("frame", mode="map")
        self.assert_inspect_refuses("frame")

    def test_names(self):
        for name in ("../x", "a/b", "/etc/passwd", ".", "..", "", "x" * 65, "a b", "a\n", "é", "-x"):
            for command in (("invoke", "--event", "-", "--", name), ("snapshot", "inspect", "--", name),
                            ("snapshot", "rm", "--", name),
                            ("snapshot", "create", "--runtime", "python3.11", "--code",
                             support.handler("behaviours"), "--handler", "app.handler", "-o", name)):
                # A name may well begin with a dash.
                if name == "-x":
                    continue
                with self.subTest(f"{command[:2]} {name!r}"):
                    result = self.thaw(*command, data=b"{}")
                    self.assert_one_line_error(result, USAGE, "name|path")
        result = self.thaw("invoke", "nobody", "--event", "-", data=b"{}")
        self.assert_one_line_error(result, SNAPSHOT, 'no snapshot "nobody"')

    def test_a_link_is_no_snapshot(self):
        os.symlink(self.state.snapshot("behaviours"), self.state.snapshot("link"))
        self.addCleanup(os.remove, self.state.snapshot("link"))
        result = self.invoke({"do": "echo"}, name="link")
        self.assertEqual(result.code, SNAPSHOT, result)


class Foreign(support.Case):
    """What this host has neither made nor imported, by whoever can write into the state directory but not read the
    host's key."""

    behaviours = True
    refusal = r'snapshot "foreign" is none that this host has made or imported \(.*%s.*\): .*thaw trust foreign'

    def foreign(self):
        """A copy, as it was sealed: under another name."""
        folder = self.state.copy("behaviours", "foreign")
        shutil.copy2(self.state.snapshot("behaviours", "seal"), self.state.snapshot("foreign", "seal"))
        return folder

    def ours(self):
        return self.state.copy("behaviours", "foreign")

    def invoke_foreign(self, mode="map"):
        return self.invoke({"do": "echo", "value": 1, "bare": True}, "--mode", mode, name="foreign")

    def assert_refused(self, why, mode="map"):
        self.assert_one_line_error(self.invoke_foreign(mode), SNAPSHOT, self.refusal % why)

    def assert_works(self, mode="map"):
        result = self.invoke_foreign(mode)
        self.assertEqual(result.code, OK, result)
        self.assertEqual(result.json(), 1)

    def trust(self):
        return self.thaw("trust", "foreign")

    def test_imported(self):
        folder = self.foreign()
        self.assert_refused("snapshot behaviours")
        self.assert_one_line_error(self.thaw("snapshot", "inspect", "foreign"), SNAPSHOT, self.refusal % "")
        os.remove(os.path.join(folder, "seal"))
        self.assert_refused("no seal")
        # The image of whoever it was is none of ours.
        with open(os.path.join(folder, "image.raw"), "wb") as file:
            file.truncate(1 << 20)
        self.assertEqual(self.trust().code, OK)
        self.assertFalse(os.path.exists(os.path.join(folder, "image.raw")))
        for mode in ("map", "eager"):
            self.assert_works(mode)

    def test_not_imported(self):
        """What is damaged, or open to others, is not imported, and stays as it was."""
        folder = self.foreign()
        _, frames = forge.frame_table(forge.read(os.path.join(folder, "index")))
        forge.flip(os.path.join(folder, "frames"), frames[-1][0] + 9)
        self.assert_one_line_error(self.trust(), SNAPSHOT, "frame")
        folder = self.foreign()
        os.chmod(os.path.join(folder, "tmp.img"), 0o606)
        self.assert_one_line_error(self.trust(), SNAPSHOT, "tmp.img.*others")
        os.chmod(os.path.join(folder, "tmp.img"), 0o600)
        self.assert_refused("snapshot behaviours")

    def test_changed(self):
        for name in ("manifest.json", "state", "index", "frames", "seal"):
            with self.subTest(name):
                path = os.path.join(self.ours(), name)
                forge.flip(path, os.path.getsize(path) // 2)
                self.assert_refused("seal" if name == "seal" else name, "eager" if name == "frames" else "map")
        # With checksums of its own that are right.
        with self.subTest("another handler"):
            forge.change_manifest(self.ours(), lambda manifest: manifest["function"].update(handler="os.system"))
            self.assert_refused("manifest.json")
        with self.subTest("another state"):
            forge.change_state(self.ours(), forge.replace_field(forge.STATE_VCPUS, 2))
            self.assert_refused("manifest.json|state")
        with self.subTest("a working set of one's own"):
            folder = self.ours()
            with open(os.path.join(folder, "working_set"), "wb") as file:
                file.write(b"THAWWSET")
            self.assert_refused("working_set")

    def test_image(self):
        """It is trusted by its times and by a note: neither can be forged without the key."""
        folder = self.ours()
        self.assert_works()
        image, note = os.path.join(folder, "image.raw"), os.path.join(folder, "image.id")
        before = os.stat(image)
        with open(image, "r+b") as file:
            file.write(b"\xff" * 65536)
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = os.stat(image)
        self.assertNotEqual(after.st_ctime_ns, before.st_ctime_ns)
        text = forge.read(note).decode().split(" ")
        text[4] = f"{after.st_ctime_ns // 10**9}.{after.st_ctime_ns % 10**9:09d}"
        forge.write(note, " ".join(text).encode())
        self.assert_works()
        self.assertNotEqual(os.stat(image).st_ino, before.st_ino)

    def test_another_key(self):
        path = os.path.join(self.state.path, "host.key")
        key = forge.read(path)
        self.addCleanup(os.chmod, path, 0o600)
        self.addCleanup(forge.write, path, key)
        self.ours()
        os.remove(path)
        self.assert_refused("another host or key")
        self.assertEqual(os.path.getsize(path), len(key))
        self.assertNotEqual(forge.read(path), key)
        # The parts are not this host's any more, either.
        result = self.thaw("run", "--runtime", "provided", "--code", support.handler("behaviours"), "--handler", "x")
        self.assert_one_line_error(result, result.code, "not one that this host has imported.*thaw trust")
        self.assertEqual(self.thaw("trust").code, OK)
        self.addCleanup(os.remove, os.path.join(self.state.path, "parts"))
        self.assertEqual(self.trust().code, OK)
        self.assert_works()


class FullDisk(support.Case):
    behaviours = True

    def small_disk(self, mib):
        """A tmpfs as state directory. Needs root."""
        path = self.state.path + "-full"
        os.mkdir(path)
        self.addCleanup(os.rmdir, path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "thaw-test", path], check=True)
        self.addCleanup(subprocess.run, ["umount", path], check=True)
        return path

    def assert_clean(self, path):
        self.assertEqual([name for name in support.listing(os.path.join(path, "tmp"))
                          if name != ".lock"], [])

    def create(self, path):
        return support.create_behaviours(path, "full")

    def test_no_room_for_the_drives(self):
        path = self.small_disk(1)
        result = self.create(path)
        self.assert_one_line_error(result, support.HOST, "No space left")
        self.assert_clean(path)

    def test_no_room_for_the_snapshot(self):
        path = self.small_disk(14)
        result = self.create(path)
        self.assertEqual(result.code, support.HOST, result)
        self.assertRegex(result.err.splitlines()[-1], "^thaw: .*No space left", result)
        self.assertEqual(os.listdir(os.path.join(path, "snapshots")), [])
        self.assert_clean(path)

    def test_no_room_for_the_raw_image(self):
        source = self.state.snapshot("behaviours")
        used = sum(os.stat(os.path.join(source, name)).st_blocks * 512 for name in os.listdir(source)
                   if name != "image.raw")
        path = self.small_disk(used // (1 << 20) + 8)
        os.makedirs(os.path.join(path, "snapshots/behaviours"))
        shutil.copy2(os.path.join(self.state.path, "host.key"), path)
        for name in os.listdir(source):
            if name not in ("image.raw", "image.id"):
                subprocess.run(["cp", "--sparse=always", os.path.join(source, name),
                                os.path.join(path, "snapshots/behaviours")], check=True)
        arguments = ("--state", path, "invoke", "behaviours", "--event", "-")
        event = b'{"do": "echo", "value": 5, "bare": true}'
        result = support.thaw(*arguments, "--mode", "map", data=event)
        self.assert_one_line_error(result, support.HOST, "image.*No space left")
        self.assert_clean(path)
        # What needs no room goes on.
        result = support.thaw(*arguments, "--mode", "eager", data=event)
        self.assertEqual(result.code, OK, result)
        self.assertEqual(result.json(), 5)


class Kills(support.Case):
    behaviours = True
    event = b'{"do": "random"}'

    def setUp(self):
        super().setUp()
        random.seed(SEED)
        support.say(f"    THAW_TEST_SEED={SEED}")

    def kill_at(self, process, victim, delay):
        """SIGKILL to thaw itself, or to one of its thaw-vmm. Which it was, or None: it was done."""
        time.sleep(delay)
        targets = [process.pid] if victim == "thaw" else [
            pid for pid, name in support.children(process.pid) if name == "thaw-vmm"]
        if process.poll() is not None or not targets:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(targets[-1], signal.SIGKILL)
            return victim
        return None

    def after(self, process, killed, began, arguments):
        """Of a killed thaw nothing is known; a killed thaw-vmm is one clear error."""
        result = support.finish(process, arguments, began, limit=COLD_LIMIT)
        if killed == "thaw-vmm" and result.code != OK:
            self.assertRegex(result.err.splitlines()[-1], "^thaw: .*(died: signal 9|closed its socket)",
                             result)
        elif killed == "thaw":
            # Or it ended between our look and the signal.
            self.assertIn(result.code, (-signal.SIGKILL, OK), result)
        left = support.wait_no_children()
        self.assertEqual(left, [], f"left behind by a killed {killed}")

    def sweep(self):
        result = self.thaw("snapshot", "ls")
        self.assertEqual(result.code, OK, result)
        self.assertEqual(self.state.half_made(), [])

    def assert_works(self):
        result = self.invoke({"do": "echo", "value": 7, "bare": True})
        self.assertEqual(result.code, OK, result)
        self.assertEqual(result.json(), 7)
        self.assertEqual(self.state.half_made(), [])

    def test_during_restores(self):
        self.assert_works()
        begun = time.monotonic()
        self.assert_works()
        usual = time.monotonic() - begun
        for round_number in range(12):
            victim = ("thaw", "thaw-vmm")[round_number % 2]
            # The raw image has to be made anew every third time.
            if round_number % 3 == 2:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.state.snapshot("behaviours", "image.raw"))
            mode = random.choice(("map", "uring", "uffd", "eager"))
            arguments = ("invoke", "behaviours", "--event", "-", "--mode", mode)
            began = time.monotonic()
            process = support.start("--state", self.state.path, *arguments, stdin=subprocess.PIPE)
            process.stdin.write(self.event)
            process.stdin.close()
            process.stdin = None
            delay = random.uniform(0, usual)
            killed = self.kill_at(process, victim, delay)
            support.say(f"    {mode}, {victim} after {delay * 1000:.0f} ms: "
                        f"{'killed' if killed else 'was done'}")
            self.after(process, killed, began, arguments)
            self.assert_works()

    def test_during_creation(self):
        arguments = ("snapshot", "create", "--runtime", "python3.11", "--code",
                     support.handler("behaviours"), "--handler", "app.handler", "-o", "killed")
        for victim, delay in (("thaw", random.uniform(0, 0.5)), ("thaw-vmm", random.uniform(0.5, 3)),
                              ("thaw", random.uniform(1, 8))):
            began = time.monotonic()
            process = support.start("--state", self.state.path, *arguments)
            killed = self.kill_at(process, victim, delay)
            done = process.poll() == OK
            support.say(f"    {victim} after {delay:.2f} s: "
                        f"{'killed' if killed else 'was done' if done else 'was not there'}")
            if killed:
                self.after(process, killed, began, arguments)
            else:
                process.kill()
                process.communicate()
            self.sweep()
            # Whole or not at all.
            there = os.path.exists(self.state.snapshot("killed"))
            self.assertTrue(there or not done)
            if there:
                self.assertEqual(self.thaw("snapshot", "inspect", "killed", "--verify").code, OK)
                self.assertEqual(self.thaw("snapshot", "rm", "killed").code, OK)
        self.assert_works()

    def test_while_it_is_saved(self):
        """The moment when files are written: seen by the working directory's growth."""
        arguments = ("snapshot", "create", "--runtime", "python3.11", "--code",
                     support.handler("behaviours"), "--handler", "app.handler", "-o", "killed")
        began = time.monotonic()
        process = support.start("--state", self.state.path, *arguments)
        while process.poll() is None and time.monotonic() < began + COLD_LIMIT:
            if any(name.endswith("frames") for name in self.state.half_made()):
                break
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.05))
        killed = process.poll() is None
        process.kill()
        process.communicate()
        self.assertTrue(killed, "it was done before it could be killed")
        self.assertEqual(support.wait_no_children(), [])
        self.sweep()
        self.assertFalse(os.path.exists(self.state.snapshot("killed")))
        self.assert_works()


if __name__ == "__main__":
    support.main()
