/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File systems: the few the agent itself stands on, and the tree a runtime lives in.
 *
 * The agent stays in the initramfs, where nothing of the image can reach it; the image is mounted
 * at THAW_NEWROOT and the runtime is put there by chroot. It cannot leave: it has no capability
 * and no descriptor from outside.
 */
#ifndef THAW_AGENT_MOUNTS_H
#define THAW_AGENT_MOUNTS_H

#include "proto/agent.pb-c.h"

struct thaw_error;

#define THAW_NEWROOT     "/newroot"
#define THAW_CGROUP_ROOT "/cgroup"
#define THAW_CGROUP      THAW_CGROUP_ROOT "/runtime"

/* /dev, the first thing PID 1 does; then the rest: /proc, the cgroup tree with its controllers. */
int thaw_mounts_dev(struct thaw_error *err);
int thaw_mounts_boot(struct thaw_error *err);

/* Root, /var/task, /opt and other drives of Configure, then /tmp, /proc, /sys and a /dev with
 * nothing in it that a handler has no use for. */
int thaw_mounts_apply(const char *root, const Thaw__Agent__Configure *configure,
		      struct thaw_error *err);

#endif
