# SPDX-License-Identifier: Apache-2.0
"""The wall clock, pinned to the processor's time stamp counter: where guests see the host's counter,
their clock can be compared with the host's however late the answer comes."""

import ctypes
import mmap
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
CODE = bytes.fromhex("0f31 48c1e220 4809d0 c3")

page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(CODE)
rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))


def sample(tries=20):
    """[counter, wall clock in nanoseconds], both of one moment: that try which was the least disturbed."""
    best = None
    for _ in range(tries):
        before = rdtsc()
        now = time.time_ns()
        after = rdtsc()
        if best is None or after - before < best[0]:
            best = (after - before, before + (after - before) // 2, now)
    return [best[1], best[2]]
