/* SPDX-License-Identifier: Apache-2.0 */
#include "host/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "host/forwarding.h"
#include "host/host.h"
#include "host/kvm_kind.h"
#include "host/doctor_internal.h"
#include "host/parts.h"
#include "host/subprocess.h"
#include "host/timeouts.h"
#include "host/vmm_client.h"
#include "lib/error.h"
#include "lib/fd.h"

#define CGROUP2_MAGIC 0x63677270

const char *thaw_kvm_label(int software_kvm)
{
	/* Set by tests/host/run. */
	if (getenv("THAW_EMULATED_HOST"))
		return "emulated host";
	return software_kvm ? "software KVM" : "hardware KVM";
}

struct thaw_finding *doctor_found(struct thaw_doctor *doctor, const char *name,
				  enum thaw_health health, const char *format, ...)
{
	static struct thaw_finding spare;
	struct thaw_finding *finding = &spare;
	va_list ap;

	if (doctor->count < THAW_FINDINGS_MAX)
		finding = &doctor->finding[doctor->count++];
	finding->name = name;
	finding->health = health;
	finding->advice[0] = 0;
	va_start(ap, format);
	vsnprintf(finding->detail, sizeof(finding->detail), format, ap);
	va_end(ap);
	return finding;
}

void doctor_advise(struct thaw_finding *finding, const char *advice)
{
	snprintf(finding->advice, sizeof(finding->advice), "%s", advice);
}

/* Which module stands behind /dev/kvm, as far as sysfs tells. */
static const char *kvm_module(void)
{
	static const char *const names[] = {"kvm_intel", "kvm_amd", "kvm_pvm"};
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", names[i]);
		if (access(path, F_OK) == 0)
			return names[i];
	}
	return "built in, or unknown";
}

/* A small machine, made and dropped: the surest test, and it tells the kind. */
static int doctor_try(const struct thaw_host *host, bool *software, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Create create = THAW__VMM__CREATE__INIT;
	Thaw__Vmm__Reply *reply;
	struct thaw_vmm vmm;

	int rc = thaw_vmm_spawn(&vmm, host->paths.vmm, err);
	if (rc < 0)
		return rc;
	create.kvm_fd = 1;
	create.vcpus = 1;
	create.memory_mib = 64;
	create.vsock_cid = 3;
	create.rng = true;
	request.body_case = THAW__VMM__REQUEST__BODY_CREATE;
	request.create = &create;
	rc = thaw_vmm_call(&vmm, &request, &host->kvm, 1, THAW__VMM__REPLY__BODY_CREATE,
			   THAW_TIMEOUT_REQUEST, &reply, err);
	if (rc == 0) {
		*software = reply->create->software_kvm;
		thaw_kvm_kind_remember(host, *software);
		thaw__vmm__reply__free_unpacked(reply, NULL);
	}
	thaw_vmm_close(&vmm);
	return rc;
}

static void examine_kvm(struct thaw_doctor *doctor, struct thaw_host *host)
{
	struct thaw_error err = {0};
	bool software = false;

	doctor->kvm_kind = "none";
	host->kvm = thaw_kvm_open(&err);
	if (host->kvm < 0) {
		doctor_advise(
			doctor_found(doctor, "kvm", THAW_HEALTH_FAIL, "%s", err.message),
			"without it nothing runs here; tests/host/run -- COMMAND runs a command in "
			"an emulated host that has it");
		return;
	}
	if (doctor_try(host, &software, &err) < 0) {
		doctor_advise(doctor_found(doctor, "kvm", THAW_HEALTH_FAIL, "%s", err.message),
			      "/dev/kvm is there, but no microVM can be made with it");
		return;
	}
	doctor->kvm_kind = thaw_kvm_label(software);
	struct thaw_finding *finding =
		doctor_found(doctor, "kvm", software ? THAW_HEALTH_WARN : THAW_HEALTH_OK,
			     "%s (module %s)", doctor->kvm_kind, kvm_module());
	if (software)
		doctor_advise(finding,
			      "guest kernels are emulated, by a CPU template of their own: boots "
			      "take some "
			      "20 s; programs there must not use AVX, which libraries are told "
			      "(docs/guest-kernel.md)");
}

static void examine_parts(struct thaw_doctor *doctor, const struct thaw_host *host)
{
	struct thaw_error err = {0};
	cleanup_close int kernel = thaw_paths_open_kernel(&host->paths, NULL, &err);

	if (access(host->paths.vmm, X_OK) < 0)
		doctor_advise(doctor_found(doctor, "vmm", THAW_HEALTH_FAIL, "\"%s\": %s",
					   host->paths.vmm, strerror(errno)),
			      "build it, or set THAW_VMM");
	else
		doctor_found(doctor, "vmm", THAW_HEALTH_OK, "%s", host->paths.vmm);
	if (kernel < 0)
		doctor_found(doctor, "guest kernel", THAW_HEALTH_FAIL, "%s", err.message);
	else if (host->state.root >= 0 &&
		 thaw_parts_check(host, THAW_PART_KERNEL, kernel, &err) == -EKEYREJECTED)
		doctor_found(doctor, "guest kernel", THAW_HEALTH_FAIL, "%.250s", err.message);
	else
		doctor_found(doctor, "guest kernel", THAW_HEALTH_OK, "%s/guest/vmlinux",
			     host->paths.lib);
	/* The error lists what is there: a name that cannot be a runtime asks for the list. */
	thaw_paths_check_runtime(&host->paths, "?", &err);
	const char *known = strstr(err.message, "(known: ");
	bool none = !known || strstr(known, "none:");
	doctor_found(doctor, "runtimes", none ? THAW_HEALTH_FAIL : THAW_HEALTH_OK, "%.*s",
		     known ? (int)strcspn(known + 8, ")") : 4, known ? known + 8 : "none");
}

static void examine_uring(struct thaw_doctor *doctor)
{
	struct io_uring_params parameters;

	memset(&parameters, 0, sizeof(parameters));
	cleanup_close int fd = (int)syscall(SYS_io_uring_setup, 4, &parameters);
	if (fd >= 0)
		doctor_found(doctor, "io_uring", THAW_HEALTH_OK, "available");
	else
		doctor_advise(
			doctor_found(doctor, "io_uring", THAW_HEALTH_FAIL, "%s", strerror(errno)),
			"set kernel.io_uring_disabled=0 (sysctl), or run outside a container that "
			"filters it: drives and the restore modes uring and uffd need it");
}

static void examine_userfaultfd(struct thaw_doctor *doctor)
{
	cleanup_close int fd = thaw_userfaultfd_open(NULL);

	if (fd >= 0)
		doctor_found(doctor, "userfaultfd", THAW_HEALTH_OK, "/dev/userfaultfd");
	else
		doctor_advise(doctor_found(doctor, "userfaultfd", THAW_HEALTH_WARN,
					   "/dev/userfaultfd: %s", strerror(-fd)),
			      "the restore mode uffd and the recording of working sets need it "
			      "(Linux 6.1, CONFIG_USERFAULTFD); the other modes do not");
}

static void examine_cgroup(struct thaw_doctor *doctor)
{
	struct statfs st;

	if (statfs("/sys/fs/cgroup", &st) == 0 && st.f_type == CGROUP2_MAGIC)
		doctor_found(doctor, "cgroup v2", THAW_HEALTH_OK, "/sys/fs/cgroup");
	else if (statfs("/sys/fs/cgroup/unified", &st) == 0 && st.f_type == CGROUP2_MAGIC)
		doctor_advise(
			doctor_found(doctor, "cgroup v2", THAW_HEALTH_WARN,
				     "hybrid: version 2 is at /sys/fs/cgroup/unified"),
			"boot with systemd.unified_cgroup_hierarchy=1 to limit microVMs by cgroup");
	else
		doctor_advise(doctor_found(doctor, "cgroup v2", THAW_HEALTH_WARN, "not mounted"),
			      "mount -t cgroup2 none /sys/fs/cgroup");
}

static void examine_tun(struct thaw_doctor *doctor)
{
	cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		doctor_found(doctor, "tun", THAW_HEALTH_OK, "/dev/net/tun");
	else
		doctor_advise(doctor_found(doctor, "tun", THAW_HEALTH_WARN, "/dev/net/tun: %s",
					   strerror(errno)),
			      "modprobe tun: only functions that use the network will need it");
}

/* Asks nftables for its generation, which it tells whoever may use it. 0 or an errno. */
static int try_nftables(void)
{
	const struct {
		struct nlmsghdr head;
		struct nfgenmsg body;
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
			 .nlmsg_flags = NLM_F_REQUEST},
		.body = {.version = NFNETLINK_V0},
	};
	_Alignas(struct nlmsghdr) char answer[1024];
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
	cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0)
		return errno;
	ssize_t n = recv(fd, answer, sizeof(answer), 0);
	if (n < (ssize_t)(NLMSG_LENGTH(sizeof(struct nlmsgerr))) && n < (ssize_t)sizeof(request))
		return n < 0 ? errno : EPROTO;
	if (head->nlmsg_type != NLMSG_ERROR)
		return 0;
	return -((const struct nlmsgerr *)NLMSG_DATA(head))->error;
}

/* Only functions with a network want these. */
static void examine_network(struct thaw_doctor *doctor)
{
	int error = try_nftables();
	unsigned int forwarding = thaw_forwarding_count();

	if (error == 0)
		doctor_found(doctor, "nftables", THAW_HEALTH_OK, "available");
	else
		doctor_advise(
			doctor_found(doctor, "nftables", THAW_HEALTH_WARN, "%s", strerror(error)),
			"modprobe nf_tables, as root with CAP_NET_ADMIN: only functions that use "
			"the network will need it");
	if (forwarding)
		doctor_found(doctor, "forwarding", THAW_HEALTH_OK, "%u interfaces forward IPv4",
			     forwarding);
	else
		doctor_advise(doctor_found(doctor, "forwarding", THAW_HEALTH_WARN,
					   "no interface forwards IPv4"),
			      "for the network \"egress\" name the one that leads out as thawd's "
			      "network-uplink (docs/operations.md, Networks)");
}

static void examine_programs(struct thaw_doctor *doctor)
{
	static const struct {
		const char *program, *package, *why;
		enum thaw_health health;
	} wanted[] = {
		{"mkfs.erofs", "erofs-utils", "function code becomes a drive with it",
		 THAW_HEALTH_FAIL},
		{"mkfs.ext4", "e2fsprogs", "the drive behind /tmp is made with it",
		 THAW_HEALTH_FAIL},
		{"gnuplot", "gnuplot-nox", "only thaw bench draws with it", THAW_HEALTH_WARN},
	};
	char path[PATH_MAX], advice[128];

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (thaw_subprocess_find(wanted[i].program, path, sizeof(path)) == 0) {
			doctor_found(doctor, wanted[i].program, THAW_HEALTH_OK, "%.200s", path);
			continue;
		}
		snprintf(advice, sizeof(advice), "apt-get install %s: %s", wanted[i].package,
			 wanted[i].why);
		doctor_advise(doctor_found(doctor, wanted[i].program, wanted[i].health, "missing"),
			      advice);
	}
}

/* A number of /proc/meminfo, KiB; 0 when it is not there. */
static unsigned long long meminfo(const char *key)
{
	char line[128];
	unsigned long long value = 0;
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && fgets(line, sizeof(line), file)) {
		size_t length = strlen(key);
		if (strncmp(line, key, length) == 0 && line[length] == ':')
			value = strtoull(line + length + 1, NULL, 10);
	}
	if (file)
		fclose(file);
	return value;
}

static void examine_memory(struct thaw_doctor *doctor)
{
	unsigned long long total = meminfo("MemTotal"), free_now = meminfo("MemAvailable");
	unsigned long long pages = meminfo("HugePages_Total");
	char text[128] = "unknown";

	struct thaw_finding *finding = doctor_found(
		doctor, "memory", free_now < (512u << 10) ? THAW_HEALTH_WARN : THAW_HEALTH_OK,
		"%llu MiB available of %llu, %d CPUs", free_now >> 10, total >> 10, get_nprocs());
	if (free_now < (512u << 10))
		doctor_advise(finding, "a microVM takes 192 MiB at least while it is made");
	cleanup_close int fd =
		open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (n > 0)
		text[n] = 0;
	char *chosen = strchr(text, '[');
	doctor_found(doctor, "huge pages", THAW_HEALTH_OK, "transparent: %.*s, reserved: %llu",
		     (int)(chosen ? strcspn(chosen + 1, "]") : strlen(text)),
		     chosen ? chosen + 1 : text, pages);
}

/* doctor_try has started a thaw-vmm as any is started: what could fail of the jail has failed
 * there. */
static void examine_jail(struct thaw_doctor *doctor)
{
	if (thaw_vmm_jails())
		doctor_found(doctor, "jail", THAW_HEALTH_OK,
			     "namespaces, an empty root and a user of its own for each microVM");
	else
		doctor_advise(
			doctor_found(doctor, "jail", THAW_HEALTH_WARN,
				     "microVMs run as this user, behind the filter of system "
				     "calls alone"),
			"run as root (CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, CAP_KILL); thawd "
			"does not start without, unless it is told --jail=no");
}

void thaw_doctor_examine(struct thaw_doctor *doctor, const char *state)
{
	struct thaw_host host = THAW_HOST_NONE;
	struct thaw_error err = {0};
	struct utsname name;

	memset(doctor, 0, sizeof(*doctor));
	doctor->kvm_kind = "none";
	if (uname(&name) == 0)
		doctor_found(doctor, "system", THAW_HEALTH_OK, "%s %s, %s", name.sysname,
			     name.release, name.machine);
	if (thaw_host_open(&host, state, &err) < 0)
		doctor_advise(doctor_found(doctor, "state directory", THAW_HEALTH_FAIL, "%s",
					   err.message),
			      "choose another with --state DIR, or run as root");
	else
		doctor_found(doctor, "state directory", THAW_HEALTH_OK, "%.200s", host.state.path);
	examine_kvm(doctor, &host);
	examine_parts(doctor, &host);
	examine_jail(doctor);
	examine_uring(doctor);
	examine_userfaultfd(doctor);
	examine_cgroup(doctor);
	examine_tun(doctor);
	examine_network(doctor);
	examine_programs(doctor);
	examine_memory(doctor);
	doctor_examine_hardening(doctor, "");
	thaw_host_close(&host);
}
