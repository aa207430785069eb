# SPDX-License-Identifier: Apache-2.0
"""Hooks around a snapshot, under the name and with the interface of AWS's module.

    from snapshot_restore_py import register_before_snapshot, register_after_restore

    @register_before_snapshot
    def close(): ...

    register_after_restore(connect, "host", port=5432)

Before a snapshot hooks run in reverse order of registration, after a restore in order.
"""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before_snapshot


def get_after_restore():
    return _after_restore
