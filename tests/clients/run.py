#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tests of thawd with real clients: run.py [THEME...], all themes by default. They share one
daemon (shared.py), which is ended at the end, and must leave nothing behind.
"""

import importlib
import os
import sys
import time
import unittest

import shapes
import shared
import support

THEMES = ("boto3", "invocations", "tenants", "javascript", "awscli", "life")


def main():
    themes = sys.argv[1:] or THEMES
    support.become_subreaper()
    began = time.monotonic()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        sys.exit("these tests need /dev/kvm, which is missing or forbidden here")
    suite = unittest.TestSuite()
    modules = [importlib.import_module("test_" + theme) for theme in themes]
    for module in modules:
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    good = False
    try:
        # What takes long is begun at once, and waited for by who needs it.
        for module in modules:
            getattr(module, "prepare", lambda: None)()
        good = unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful()
        wrong = shared.finish()
        if shapes.FAULTS:
            wrong["responses"] = shapes.FAULTS
        if not sys.argv[1:] and shapes.missing():
            wrong["operations that were not called"] = shapes.missing()
        left = support.wait_no_children()
        if left:
            wrong["processes"] = left
        if wrong:
            support.say(f"FAILED at the end: {wrong}")
            good = False
        if not good:
            shared.failed()
    finally:
        shared.remove()
    support.say(f"all in {time.monotonic() - began:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
