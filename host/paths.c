/* SPDX-License-Identifier: Apache-2.0 */
#include "host/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "lib/fd.h"

static bool path_format(char out[PATH_MAX], const char *format, const char *a, const char *b)
{
	int n = snprintf(out, PATH_MAX, format, a, b);

	return n > 0 && n < PATH_MAX;
}

static bool path_exists(const char *dir, const char *name)
{
	char path[PATH_MAX];

	return path_format(path, "%s/%s", dir, name) && access(path, F_OK) == 0;
}

int thaw_paths_find(struct thaw_paths *paths, struct thaw_error *err)
{
	const char *vmm = getenv("THAW_VMM");
	const char *lib = getenv("THAW_LIBDIR");
	char here[PATH_MAX];
	bool fits = true;

	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 1);
	if (n < 0)
		return thaw_error_errno(err, errno, "reading /proc/self/exe");
	here[n] = 0;
	char *slash = strrchr(here, '/');
	if (slash)
		*slash = 0;

	if (vmm && *vmm)
		fits &= path_format(paths->vmm, "%s%s", vmm, "");
	else
		fits &= path_format(paths->vmm, "%s/%s", here, "thaw-vmm");
	if (lib && *lib) {
		fits &= path_format(paths->lib, "%s%s", lib, "");
	} else {
		slash = strrchr(here, '/');
		if (slash)
			*slash = 0;
		fits &= path_format(paths->lib, "%s%s", here, "");
		if (!path_exists(here, "guest") && path_exists(here, "lib/thaw"))
			fits &= path_format(paths->lib, "%s/%s", here, "lib/thaw");
	}
	if (!fits)
		return thaw_error_set(err, ENAMETOOLONG, "the path of Thaw's parts is too long");
	return 0;
}

static int path_open_part(const char *path, const char *what, const char *remedy,
			  struct thaw_error *err)
{
	struct stat st;
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && *remedy)
		return thaw_error_set(err, ENOENT, "%s \"%s\" is missing%s", what, path, remedy);
	if (fd < 0)
		return thaw_error_errno(err, errno, "%s \"%s\"", what, path);
	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "%s \"%s\"", what, path);
	if (!S_ISREG(st.st_mode))
		return thaw_error_set(err, EINVAL, "%s \"%s\" is not a regular file", what, path);
	return thaw_fd_take(&fd);
}

int thaw_paths_open_kernel(const struct thaw_paths *paths, const char *override,
			   struct thaw_error *err)
{
	char path[PATH_MAX];

	if (override)
		return path_open_part(override, "the kernel", "", err);
	if (!path_format(path, "%s/%s", paths->lib, "guest/vmlinux"))
		return thaw_error_set(err, ENAMETOOLONG,
				      "the path of the guest kernel is too long");
	return path_open_part(path, "the guest kernel", ": build it, or set THAW_LIBDIR", err);
}

int thaw_paths_open_initramfs(const struct thaw_paths *paths, struct thaw_error *err)
{
	char path[PATH_MAX];

	if (!path_format(path, "%s/%s", paths->lib, "guest/initramfs.cpio"))
		return thaw_error_set(err, ENAMETOOLONG, "the path of the initramfs is too long");
	return path_open_part(path, "the initramfs", ": build it, or set THAW_LIBDIR", err);
}

static bool runtime_name_valid(const char *runtime)
{
	size_t length = strlen(runtime);

	return length >= 1 && length <= 32 && runtime[0] != '.' &&
	       strspn(runtime, "abcdefghijklmnopqrstuvwxyz0123456789.") == length;
}

int thaw_paths_check_runtime(const struct thaw_paths *paths, const char *runtime,
			     struct thaw_error *err)
{
	char path[PATH_MAX];
	char known[256] = "";
	size_t used = 0;

	if (!path_format(path, "%s/%s", paths->lib, "images"))
		return thaw_error_set(err, ENAMETOOLONG, "the path of the images is too long");
	DIR *dir = opendir(path);
	struct dirent *entry;
	/* Without descriptors or memory nothing is known of runtimes. */
	if (!dir && errno != ENOENT && errno != ENOTDIR)
		return thaw_error_errno(err, errno, "looking for runtimes in \"%s\"", path);
	while (dir && (entry = readdir(dir))) {
		char *dot = strrchr(entry->d_name, '.');
		if (!dot || strcmp(dot, ".erofs") != 0)
			continue;
		*dot = 0;
		if (strcmp(entry->d_name, runtime) == 0) {
			closedir(dir);
			return 0;
		}
		if (!runtime_name_valid(entry->d_name))
			continue;
		int n = snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
				 entry->d_name);
		if (n > 0 && (size_t)n < sizeof(known) - used)
			used += (size_t)n;
		else
			known[used] = 0;
	}
	if (dir)
		closedir(dir);
	return thaw_error_set(err, EINVAL, "there is no runtime \"%s\" (known: %s)", runtime,
			      used ? known : "none: images are built with the rest");
}

int thaw_paths_open_image(const struct thaw_paths *paths, const char *runtime,
			  struct thaw_error *err)
{
	char dir[PATH_MAX];
	char path[PATH_MAX];

	if (!runtime_name_valid(runtime))
		return thaw_error_set(err, EINVAL, "\"%s\" is not the name of a runtime", runtime);
	if (!path_format(dir, "%s/images/%s", paths->lib, runtime) ||
	    !path_format(path, "%s%s", dir, ".erofs"))
		return thaw_error_set(err, ENAMETOOLONG, "the path of the image is too long");
	return path_open_part(path, "the root image", ": build it, or set THAW_LIBDIR", err);
}

int thaw_kvm_open(struct thaw_error *err)
{
	const char *path = getenv("THAW_KVM");

	if (!path || !*path)
		path = "/dev/kvm";
	cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return thaw_error_set(err, ENODEV,
				      "%s is not there: this machine has no KVM (load kvm_intel or "
				      "kvm_amd, or turn on nested virtualisation)",
				      path);
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return thaw_error_set(err, EACCES,
				      "no permission to open %s (run as root, or join its group: "
				      "usermod -aG kvm USER)",
				      path);
	if (fd < 0)
		return thaw_error_errno(err, errno, "opening %s", path);
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return thaw_error_set(err, ENODEV, "%s is not a KVM device", path);
	if (version != KVM_API_VERSION)
		return thaw_error_set(err, ENODEV, "%s speaks version %d of the KVM API, not %d",
				      path, version, KVM_API_VERSION);
	return thaw_fd_take(&fd);
}

int thaw_userfaultfd_open(struct thaw_error *err)
{
	int fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return thaw_error_errno(err, errno, "opening /dev/userfaultfd");
	return fd;
}
