/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine calls itself, where a handler looks: /proc/sys/kernel/random/boot_id. The
 * kernel draws it once, so all clones of a snapshot would bear the same one; a file of ours lies
 * over the kernel's and is written anew after each restore. There is no machine id: images have no
 * /etc/machine-id.
 */
#ifndef THAW_AGENT_IDENTITY_H
#define THAW_AGENT_IDENTITY_H

struct thaw_error;

/* Lays the file over the one in the /proc below `root`, with a first identity. Once. */
int thaw_identity_lay(const char *root, struct thaw_error *err);

/* A new identity, from the kernel's randomness, which must be new itself. Nothing when none has
 * been laid: then there is nobody who could have seen the old one. */
int thaw_identity_renew(struct thaw_error *err);

#endif
