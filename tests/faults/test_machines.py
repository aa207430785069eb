#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""thawd while microVMs and agents die or stand still at each step, and while it is ended itself."""

import errno
import os
import signal
import threading
import time

from faults import WRITE, Case, support

SNAP_START = {"Publish": True, "SnapStart": {"ApplyOn": "PublishedVersions"}}


class Steps(Case):
    def fails(self, *orders, name="f"):
        """An invocation meanwhile: refused as the host's fault, in time, and the next one is served."""
        self.place.order(*orders)
        began = time.monotonic()
        answer = self.invoke(name)
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual(answer.status, 500, (orders, answer))
        self.assertEqual(answer.headers["x-amzn-ErrorType"], "ServiceException")
        self.place.order()
        self.works(name)

    def test_start(self):
        """kill and SIGSTOP of thaw-vmm and agent while an environment starts cold."""
        for step in ("create", "boot", "vsock", "connect", "configure", "init"):
            for fault in ("kill", "stop"):
                with self.subTest(step=step, fault=fault):
                    self.forget_environments()
                    self.fails(f"{step} {fault}")
        self.assertLessEqual(len(self.place.machines()), 3)

    def test_no_memory(self):
        """thaw-vmm has no memory for the machine."""
        self.forget_environments()
        self.fails("create fail 12")

    def test_invoke(self):
        for fault in ("kill", "stop", "hangup", "cut", "noise"):
            with self.subTest(fault=fault):
                self.fails(f"invoke {fault}")

    def test_between(self):
        """It dies between two events: nobody notices, as another takes the event."""
        self.works()
        for step in ("pause", "run"):
            for fault in ("kill", "stop"):
                with self.subTest(step=step, fault=fault):
                    self.place.order(f"{step} {fault}")
                    self.works()
                    time.sleep(0.1)
                    self.works()
                    self.place.order()
                    self.works()
        self.daemon.wait_idle()
        self.end_machines()
        self.works()

    def test_restart_takes_too_long(self):
        """A runtime that cannot be started anew within the function's time costs one invocation, not all."""
        self.place.order("invoke dead")
        self.assertEqual(self.invoke().error, "Unhandled")
        machines = self.place.machines()
        self.place.order("invoke gone")
        self.assertEqual(self.invoke().error, "Unhandled")
        self.place.order()
        self.works()
        self.daemon.wait_idle()
        self.assertFalse(set(machines) & set(self.place.machines()))

    def test_restart(self):
        """One that can be started anew stays, and its /tmp with it."""
        self.place.order("invoke dead")
        self.assertEqual(self.invoke().error, "Unhandled")
        machines = self.place.machines()
        self.place.order("invoke late")
        self.assertEqual(self.invoke().error, "Unhandled")
        self.place.order()
        self.works()
        self.assertTrue(set(machines) & set(self.place.machines()))


class Snapshots(Case):
    def test_making(self):
        """The version is Failed with the host's reason, and nothing is half-made."""
        for number, (step, fault) in enumerate((("listens", "kill"), ("prepare", "kill"), ("prepare", "stop"),
                                                ("pause", "kill"), ("snapshot", "kill"),
                                                ("snapshot", "fail 28"))):
            with self.subTest(step=step, fault=fault):
                self.place.order(f"{step} {fault}")
                self.daemon.create(f"s{number}", **SNAP_START)
                state = self.wait_state(f"s{number}:1", "Failed")
                self.assertEqual(state["StateReasonCode"], "InternalError")
                self.assertEqual((self.place.half_made(), self.place.snapshots()), ([], []))
                self.place.order()
                self.works(f"s{number}")

    def test_state_cannot_be_written(self):
        """What a snapshot came to is written when the disk takes it again: no version stays Pending."""
        self.place.order("prepare slow 500")
        self.daemon.create("p", Timeout=1, **SNAP_START)
        self.shim.set(WRITE, 1, 10 ** 6, code=errno.ENOSPC, path="thaw.db")
        time.sleep(1)
        self.assertGreater(self.shim.hit, 0)
        self.shim.set()
        self.place.order()
        self.assertEqual(self.state_of("p:1")["State"], "Pending")
        self.wait_state("p:1", "Active")
        self.works("p:1")

    def test_restoring(self):
        self.daemon.create("r", Timeout=1, **SNAP_START)
        self.wait_state("r:1", "Active")
        for step, fault in (("restore", "kill"), ("resume", "kill"), ("resume", "stop"), ("connect", "hangup")):
            with self.subTest(step=step, fault=fault):
                self.place.order(f"{step} {fault}")
                answer = self.invoke("r:1")
                self.assertEqual(answer.status, 500, answer)
                self.place.order()
                self.works("r:1")
                # It is to be restored the next time.
                self.end_machines()
        before = self.place.snapshots()
        # What lies in the host is not the snapshot's fault.
        for code in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC):
            self.place.order(f"restore fail {code}")
            self.assertEqual(self.invoke("r:1").status, 500)
            self.place.order()
        time.sleep(0.3)
        self.assertEqual(self.place.snapshots(), before)
        # A snapshot that thaw-vmm will not have is made again, and the event is served meanwhile.
        self.place.order("restore fail 22")
        self.works("r:1")
        self.place.order()
        end = time.monotonic() + 10
        while self.place.snapshots() == before and time.monotonic() < end:
            time.sleep(0.02)
        self.assertNotEqual(self.place.snapshots(), before)


class Images(Case):
    """A memory image that is not what it was kills its clones: it is made again, with the snapshot."""

    def test_cut(self):
        self.daemon.create("i", Timeout=1, **SNAP_START)
        self.wait_state("i:1", "Active")
        self.works("i:1")
        before = self.place.snapshots()
        image = os.path.join(self.place.data, "snapshots", before[0], "image.raw")
        os.truncate(image, 4096)
        self.end_machines()
        # What SIGBUS would be.
        self.place.order("resume kill")
        self.assertEqual(self.invoke("i:1").status, 500)
        self.place.order()
        # Cold meanwhile.
        self.works("i:1")
        end = time.monotonic() + 10
        while set(self.place.snapshots()) & set(before) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertFalse(set(self.place.snapshots()) & set(before), "".join(self.daemon.log[-12:]))
        self.works("i:1")

    def test_made_again_later(self):
        """The host fails to make it again: the version starts cold, until it can."""
        before = set(self.place.snapshots())
        self.daemon.create("l", Timeout=1, **SNAP_START)
        self.wait_state("l:1", "Active")
        self.works("l:1")
        mine, = set(self.place.snapshots()) - before
        os.truncate(os.path.join(self.place.data, "snapshots", mine, "image.raw"), 4096)
        self.end_machines()
        self.place.order("resume kill", "snapshot fail 28")
        self.assertEqual(self.invoke("l:1").status, 500)
        end = time.monotonic() + 15
        while not [line for line in self.daemon.log if '"l"' in line and "as ordered" in line]:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.works("l:1")
        self.assertEqual(self.state_of("l:1")["State"], "Active")
        self.place.order()
        while len([line for line in self.daemon.log if '"l"' in line and "snapshot made" in line]) < 2:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.works("l:1")

    def test_young(self):
        """A function that kills its machines makes no work for the others' snapshots."""
        self.daemon.create("y", Timeout=1, **SNAP_START)
        self.wait_state("y:1", "Active")
        before = self.place.snapshots()
        self.place.order("resume kill")
        for _ in range(5):
            self.assertEqual(self.invoke("y:1").status, 500)
        self.place.order()
        self.works("y:1")
        self.assertEqual(self.place.snapshots(), before)


class Shells(Case):
    """MicroVMs in waiting die as others do, and nobody waits for them."""

    shells = 2

    def waiting(self):
        end = time.monotonic() + 5
        while self.daemon.top()["shells"] < 1 and time.monotonic() < end:
            time.sleep(0.02)
        return self.place.machines()

    def test_shells(self):
        self.works()
        for number in (signal.SIGKILL, signal.SIGSTOP):
            with self.subTest(signal=number):
                self.forget_environments()
                self.daemon.wait_idle()
                self.works()
                self.forget_environments()
                time.sleep(0.1)
                for pid in self.waiting():
                    os.kill(pid, number)
                # One that stands still is found out by its silence, at the cost of this one.
                answers = {self.invoke().status for _ in range(4)}
                self.assertLessEqual(answers, {200} if number == signal.SIGKILL else {200, 500})
                self.works()
        for fault in ("kill", "stop"):
            with self.subTest(fault=fault):
                self.forget_environments()
                self.waiting()
                self.place.order(f"attach {fault}")
                self.assertEqual(self.invoke().status, 500)
                self.place.order()
                self.works()


class Ends(Case):
    """SIGTERM: thawd ends by itself, in time, and leaves nothing (Case.end looks too)."""

    options = ("--drain", "1")

    def end_in(self, seconds):
        began = time.monotonic()
        code = self.daemon.stop()
        self.assertEqual(code, 0)
        self.assertLess(time.monotonic() - began, seconds)
        self.assertEqual(self.place.left(), {})

    def again(self):
        self.place.order()
        type(self).daemon = self.place.start(*self.options)

    def test_while_a_snapshot_is_made(self):
        for number, step in enumerate(("spawn", "listens", "init", "prepare", "snapshot")):
            with self.subTest(step=step):
                self.place.order(f"{step} mute" if step != "spawn" else "spawn slow 5000")
                self.daemon.create(f"e{number}", **SNAP_START)
                time.sleep(0.3)
                self.assertEqual(self.state_of(f"e{number}:1")["State"], "Pending")
                self.end_in(5)
                self.assertEqual([name for name in self.place.snapshots()
                                  if name.startswith(f"thawd-{number + 2}-")], [])
                self.again()
                self.wait_state(f"e{number}:1", "Active")
                self.works(f"e{number}:1")

    def test_while_an_invocation_hangs(self):
        self.place.order("invoke mute")
        answers = []

        def ask():
            try:
                answers.append(self.invoke().status)
            except OSError as error:
                answers.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.3)
        self.end_in(8)
        thread.join(10)
        self.assertEqual(len(answers), 1)
        self.assertNotEqual(answers[0], 200)
        self.again()
        self.works()

    def test_while_a_machine_stands_still(self):
        """One that does not even die by its socket."""
        self.place.order("invoke stop")
        thread = threading.Thread(target=self.quietly)
        thread.start()
        time.sleep(0.3)
        self.end_in(8)
        thread.join(10)
        self.again()
        self.works()

    def quietly(self):
        try:
            self.invoke()
        except OSError:
            pass


class Stands(Case):
    """thawd itself stands still for longer than its waits, and goes on."""

    def test_stopped(self):
        self.works()
        answers = []
        self.place.order("invoke talk 5")
        thread = threading.Thread(target=lambda: answers.append(self.invoke(event={"sleep": 300})))
        thread.start()
        time.sleep(0.15)
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        time.sleep(2.2)  # 1 s for the function, 0.5 s for the agent
        os.kill(self.daemon.process.pid, signal.SIGCONT)
        thread.join(20)
        # The answer has been there all the time.
        self.assertEqual((answers[0].status, answers[0].error), (200, None), answers[0])
        self.works()
        response, _ = self.daemon.ask("GET", "/health")
        self.assertEqual(response.status, 200)


if __name__ == "__main__":
    support.main()
