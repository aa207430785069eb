/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"

#define MOUNTS_MAX 16u

int thaw_mounts_dev(struct thaw_error *err)
{
	mkdir("/dev", 0755);
	if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") < 0 &&
	    errno != EBUSY)
		return thaw_error_errno(err, errno, "mounting /dev");
	return 0;
}

int thaw_mounts_boot(struct thaw_error *err)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	/* Not cpu: there is one cgroup, with nobody to share with, and each level of the
	 * scheduler's tree costs at every tick and wake-up. */
	static const char controllers[] = "+memory +pids";

	mkdir("/proc", 0555);
	mkdir(THAW_CGROUP_ROOT, 0755);
	mkdir(THAW_NEWROOT, 0755);
	if (mount("proc", "/proc", "proc", flags, NULL) < 0)
		return thaw_error_errno(err, errno, "mounting /proc");
	if (mount("cgroup2", THAW_CGROUP_ROOT, "cgroup2", flags, NULL) < 0)
		return thaw_error_errno(err, errno, "mounting the cgroup tree");
	cleanup_close int fd =
		open(THAW_CGROUP_ROOT "/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return thaw_error_errno(err, errno, "opening cgroup.subtree_control");
	int rc = thaw_write_full(fd, controllers, sizeof(controllers) - 1);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "turning the cgroup controllers on");
	return 0;
}

/* `root` and a path below it that is already there: an image without the mount point is not one
 * for functions, and being read-only it cannot be helped. */
static int place(char path[PATH_MAX], const char *root, const char *target, struct thaw_error *err)
{
	struct stat st;

	if (snprintf(path, PATH_MAX, "%s%s", root, strcmp(target, "/") ? target : "") >= PATH_MAX)
		return thaw_error_set(err, ENAMETOOLONG, "the mount point \"%s\"", target);
	/* lstat: a link of the image would lead out of it, to the agent's own files. */
	if (lstat(path, &st) < 0)
		return thaw_error_errno(err, errno, "the image has no \"%s\"", target);
	if (!S_ISDIR(st.st_mode))
		return thaw_error_set(err, ENOTDIR, "\"%s\" of the image is not a directory",
				      target);
	return 0;
}

/* No ".." and no empty parts: paths of the protocol are used as they are. */
static bool is_plain_path(const char *path, const char *prefix)
{
	if (strncmp(path, prefix, strlen(prefix)) != 0)
		return false;
	if (strcmp(path, "/") == 0)
		return true;
	for (const char *part = path; *part;) {
		size_t size = strcspn(part + 1, "/");
		if (*part != '/' || size == 0 || (size == 1 && part[1] == '.') ||
		    (size == 2 && part[1] == '.' && part[2] == '.'))
			return false;
		part += 1 + size;
	}
	return true;
}

#define DRIVE_WAIT_MS 20000u
#define DRIVE_LOOK_MS 5u

/* The kernel looks for drives while it already runs us: one that is not there yet is waited for. */
static int mount_waiting(const char *device, const char *path, const char *type,
			 unsigned long flags, const char *options)
{
	const struct timespec look = {.tv_nsec = DRIVE_LOOK_MS * 1000000};

	for (unsigned int waited = 0;; waited += DRIVE_LOOK_MS) {
		if (mount(device, path, type, flags, options) == 0)
			return 0;
		if ((errno != ENXIO && errno != ENOENT && errno != ENODEV) ||
		    waited >= DRIVE_WAIT_MS)
			return -errno;
		nanosleep(&look, NULL);
	}
}

static int mount_drive(const char *root, const Thaw__Agent__Mount *drive, struct thaw_error *err)
{
	char path[PATH_MAX];

	if (!is_plain_path(drive->device, "/dev/") || !is_plain_path(drive->target, "/"))
		return thaw_error_set(err, EINVAL, "a mount of \"%s\" at \"%s\"", drive->device,
				      drive->target);
	if (strcmp(drive->type, "erofs") != 0)
		return thaw_error_set(err, EINVAL, "\"%s\" file systems are not mounted here",
				      drive->type);
	int rc = place(path, root, drive->target, err);
	if (rc < 0)
		return rc;
	rc = mount_waiting(drive->device, path, drive->type, MS_RDONLY | MS_NOSUID | MS_NODEV,
			   drive->dax ? "dax=always" : NULL);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "mounting %s at \"%s\"", drive->device,
					drive->target);
	return 0;
}

static int mount_tmp(const char *root, const Thaw__Agent__Tmp *tmp, struct thaw_error *err)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV;
	char path[PATH_MAX];
	char options[64] = "mode=1777";

	int rc = place(path, root, "/tmp", err);
	if (rc < 0)
		return rc;
	if (tmp && tmp->device[0]) {
		if (!is_plain_path(tmp->device, "/dev/"))
			return thaw_error_set(err, EINVAL, "a /tmp on \"%s\"", tmp->device);
		rc = mount_waiting(tmp->device, path, "ext4", flags, NULL);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "mounting %s at /tmp", tmp->device);
		if (chmod(path, 01777) < 0)
			return thaw_error_errno(err, errno, "opening /tmp to all");
		return 0;
	}
	if (tmp && tmp->size_mib)
		snprintf(options, sizeof(options), "mode=1777,size=%um", tmp->size_mib);
	if (mount("tmpfs", path, "tmpfs", flags, options) < 0)
		return thaw_error_errno(err, errno, "mounting /tmp");
	return 0;
}

static int make_in(int dir, const char *name, unsigned int major_number, unsigned int minor_number)
{
	return mknodat(dir, name, S_IFCHR | 0666, makedev(major_number, minor_number)) < 0 ||
			       fchmodat(dir, name, 0666, 0) < 0
		       ? -errno
		       : 0;
}

/* A /dev of our own: the kernel's has the drives, the vsock, and /dev/port in it. */
static int make_dev(const char *root, struct thaw_error *err)
{
	static const struct {
		const char *name;
		unsigned int major_number;
		unsigned int minor_number;
	} nodes[] = {
		{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
		{"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	};
	static const struct {
		const char *name;
		const char *to;
	} links[] = {
		{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
		{"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
		{"ptmx", "pts/ptmx"},
	};
	char path[PATH_MAX];

	int rc = place(path, root, "/dev", err);
	if (rc < 0)
		return rc;
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0)
		return thaw_error_errno(err, errno, "mounting the runtime's /dev");
	cleanup_close int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return thaw_error_errno(err, errno, "opening the runtime's /dev");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		rc = make_in(dir, nodes[i].name, nodes[i].major_number, nodes[i].minor_number);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "making /dev/%s", nodes[i].name);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (symlinkat(links[i].to, dir, links[i].name) < 0)
			return thaw_error_errno(err, errno, "making /dev/%s", links[i].name);
	}
	if (mkdirat(dir, "shm", 01777) < 0 || mkdirat(dir, "pts", 0755) < 0)
		return thaw_error_errno(err, errno, "making the runtime's /dev");
	strncat(path, "/shm", sizeof(path) - strlen(path) - 1);
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777") < 0)
		return thaw_error_errno(err, errno, "mounting /dev/shm");
	/* A tiny kernel may have no pseudo terminals: a handler seldom misses them. */
	memcpy(path + strlen(path) - 3, "pts", 3);
	mount("devpts", path, "devpts", MS_NOSUID | MS_NOEXEC,
	      "newinstance,mode=0620,ptmxmode=0666");
	return 0;
}

static int mount_kernel(const char *root, struct thaw_error *err)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	char path[PATH_MAX];

	int rc = place(path, root, "/proc", err);
	if (rc < 0)
		return rc;
	/* A handler sees its own processes; of the agent it sees nothing. */
	if (mount("proc", path, "proc", flags, "hidepid=invisible") < 0)
		return thaw_error_errno(err, errno, "mounting the runtime's /proc");
	rc = place(path, root, "/sys", err);
	if (rc < 0)
		return rc;
	/* What a runtime looks for there (the number of CPUs) it also finds elsewhere. */
	if (mount("sysfs", path, "sysfs", flags | MS_RDONLY, NULL) < 0 && errno != ENODEV)
		return thaw_error_errno(err, errno, "mounting the runtime's /sys");
	return 0;
}

int thaw_mounts_apply(const char *root, const Thaw__Agent__Configure *configure,
		      struct thaw_error *err)
{
	if (configure->n_mounts == 0 || configure->n_mounts > MOUNTS_MAX ||
	    strcmp(configure->mounts[0]->target, "/") != 0)
		return thaw_error_set(err, EINVAL,
				      "%zu mounts, the first of which must be at \"/\"",
				      configure->n_mounts);
	for (size_t i = 0; i < configure->n_mounts; i++) {
		int rc = mount_drive(root, configure->mounts[i], err);
		if (rc < 0)
			return rc;
	}
	int rc = mount_tmp(root, configure->tmp, err);
	if (rc == 0)
		rc = make_dev(root, err);
	if (rc == 0)
		rc = mount_kernel(root, err);
	return rc;
}
