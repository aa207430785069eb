/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the parts of Thaw are on this host.
 *
 *	thaw-vmm      beside the running executable, or $THAW_VMM
 *	guest/...     in $THAW_LIBDIR; else in the folder above the executable's (a build tree:
 *	images/...    build/bin, build/guest, build/images); else in ../lib/thaw (an installation)
 *	/dev/kvm      or $THAW_KVM
 */
#ifndef THAW_HOST_PATHS_H
#define THAW_HOST_PATHS_H

#include <limits.h>

struct thaw_error;

struct thaw_paths {
	char vmm[PATH_MAX];
	char lib[PATH_MAX]; /* holds guest/ and images/ */
};

/* -ENAMETOOLONG or what reading /proc/self/exe gave. Looks at no part yet. */
int thaw_paths_find(struct thaw_paths *paths, struct thaw_error *err);

/* Read-only descriptors, the caller's. `override` (NULL: none) is a path given by the user. The
 * error names the path and says how to get the part. `runtime` is [a-z0-9.]{1,32}. */
int thaw_paths_open_kernel(const struct thaw_paths *paths, const char *override,
			   struct thaw_error *err);
int thaw_paths_open_initramfs(const struct thaw_paths *paths, struct thaw_error *err);
int thaw_paths_open_image(const struct thaw_paths *paths, const char *runtime,
			  struct thaw_error *err);

/* 0, or -EINVAL with an error that lists the images that are there. */
int thaw_paths_check_runtime(const struct thaw_paths *paths, const char *runtime,
			     struct thaw_error *err);

/* Opens the KVM device: missing, forbidden and foreign devices each have their own error, which
 * says what to do. -ENODEV, -EACCES, ... */
int thaw_kvm_open(struct thaw_error *err);

/* /dev/userfaultfd, by which thaw-vmm makes its userfaultfd; -1 and an error where the kernel has
 * none or forbids it. */
int thaw_userfaultfd_open(struct thaw_error *err);

#endif
