/* SPDX-License-Identifier: Apache-2.0 */
#include "host/kvm_kind.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/host.h"
#include "lib/fd.h"

#define NOTE     "kvm"
#define NOTE_MAX 256

static const char *const kinds[] = {
	[THAW__VMM__KVM_KIND__KVM_KIND_HARDWARE] = "hardware",
	[THAW__VMM__KVM_KIND__KVM_KIND_SOFTWARE] = "software",
};

/* Everything that must be as it was, before the kind. */
static bool kind_conditions(const struct thaw_host *host, char text[NOTE_MAX])
{
	static const char *const modules[] = {"/sys/module/kvm_intel", "/sys/module/kvm_amd",
					      "/sys/module/kvm_pvm"};
	cleanup_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	unsigned int loaded = 0;
	struct stat st;
	char boot[37];

	if (fd < 0 || read(fd, boot, 36) != 36 || fstat(host->kvm, &st) < 0)
		return false;
	boot[36] = 0;
	for (unsigned int i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		loaded |= (access(modules[i], F_OK) == 0 ? 1u : 0u) << i;
	snprintf(text, NOTE_MAX, "%s %llx %lld.%09ld %u ", boot, (unsigned long long)st.st_rdev,
		 (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec, loaded);
	return true;
}

Thaw__Vmm__KvmKind thaw_kvm_kind_remembered(const struct thaw_host *host)
{
	char wanted[NOTE_MAX], found[NOTE_MAX];

	/* A symbolic link holds its text in its inode, and is made and read in one call. */
	ssize_t n = readlinkat(host->state.root, NOTE, found, sizeof(found) - 1);
	if (n <= 0 || !kind_conditions(host, wanted))
		return THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN;
	found[n] = 0;
	size_t size = strlen(wanted);
	for (unsigned int kind = 1; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
		if (strncmp(found, wanted, size) == 0 && strcmp(found + size, kinds[kind]) == 0)
			return (Thaw__Vmm__KvmKind)kind;
	}
	return THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN;
}

void thaw_kvm_kind_remember(const struct thaw_host *host, bool software)
{
	char note[NOTE_MAX];

	if (!kind_conditions(host, note))
		return;
	strcat(note, kinds[software ? THAW__VMM__KVM_KIND__KVM_KIND_SOFTWARE
				    : THAW__VMM__KVM_KIND__KVM_KIND_HARDWARE]);
	/* Whoever looks between the two finds nothing, and asks again. */
	unlinkat(host->state.root, NOTE, 0);
	(void)!symlinkat(note, host->state.root, NOTE);
}
