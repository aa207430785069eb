#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the snapshot that several themes use, in the directory THAW_TEST_FIXTURE, which is emptied
before."""

import os
import shutil
import sys

import support


def main():
    folder = os.environ["THAW_TEST_FIXTURE"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        sys.exit("these tests need /dev/kvm, which is missing or forbidden here")
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.remove(path)
    # Made elsewhere: not every shared file system can all that a state directory needs.
    support.become_subreaper()
    state = support.State()
    try:
        result = support.create_behaviours(state.path)
        print(result)
        if result.code == support.OK:
            for name in ("image.raw", "image.id"):
                os.remove(state.snapshot("behaviours", name))
            for part in ("snapshots", "digests", "templates", "code", "host.key", "parts"):
                support.subprocess.run(["cp", "-a", "--sparse=always", os.path.join(state.path, part),
                                        folder], check=True)
        left = support.wait_no_children()
        if left:
            sys.exit(f"processes left behind: {left}")
        return result.code
    finally:
        state.remove()


if __name__ == "__main__":
    sys.exit(main())
