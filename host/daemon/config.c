/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/function.h"
#include "host/telemetry/traces.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

enum kind { TEXT, LIST, FLAG, U32, U64, REAL, LISTEN };

struct option {
	const char *name;
	enum kind kind;
	size_t offset;
	size_t size; /* TEXT, LIST: of the array */
	uint64_t min, max;
};

#define MEMBER(name, kind, member, min, max)                                                       \
	{                                                                                          \
		name, kind, offsetof(struct thaw_config, member),                                  \
			sizeof(((struct thaw_config *)0)->member), min, max                        \
	}

static const struct option options[] = {
	MEMBER("data", TEXT, data, 0, 0),
	MEMBER("listen", LISTEN, address, 0, 0),
	MEMBER("region", TEXT, region, 0, 0),
	MEMBER("no-auth", FLAG, no_auth, 0, 0),
	MEMBER("unsigned-payload", FLAG, unsigned_payload, 0, 0),
	MEMBER("concurrency", U32, concurrency, 1, 100000),
	MEMBER("scale-up", U32, scale_up, 1, 100000),
	MEMBER("starting", U32, starting, 1, 100000),
	MEMBER("shells", U32, shells, 0, 1000),
	MEMBER("share-drives", FLAG, share_drives, 0, 0),
	MEMBER("memory", U64, memory_mib, 192, 1u << 30),
	MEMBER("cpu-limit", FLAG, cpu_limit, 0, 0),
	MEMBER("disk-bandwidth", U32, disk_mib, 0, 1u << 20),
	MEMBER("disk-operations", U32, disk_operations, 0, 1u << 30),
	MEMBER("jail", FLAG, jail, 0, 0),
	MEMBER("uid-first", U32, uid_first, 0, UINT32_MAX - 65536u),
	MEMBER("idle", U32, idle_s, 1, 86400),
	MEMBER("drain", U32, drain_s, 0, 3600),
	MEMBER("threads", U32, threads, 1, 256),
	MEMBER("connections", U32, connections, 1, 100000),
	MEMBER("retry-scale", REAL, retry_scale, 0, 1000),
	MEMBER("destination-private", FLAG, destination_private, 0, 0),
	MEMBER("egress", FLAG, egress, 0, 0),
	MEMBER("bridge", LIST, bridges, 0, 0),
	MEMBER("network-allow", LIST, network_allow, 0, 0),
	MEMBER("nameserver", LIST, nameservers, 0, 0),
	MEMBER("network-uplink", LIST, network_uplinks, 0, 0),
	MEMBER("network-range", TEXT, network_range, 0, 0),
	MEMBER("network-slots", U32, network_slots, 1, 1000),
	MEMBER("network-bytes", U64, network_bytes, 0, 1ull << 40),
	MEMBER("network-packets", U64, network_packets, 0, 1u << 30),
	MEMBER("tmp-bytes", U64, tmp_bytes, 0, 1ull << 40),
	MEMBER("tmp-operations", U64, tmp_operations, 0, 1u << 30),
	MEMBER("log-file-size", U64, log_file_bytes, 4096, 1ull << 40),
	MEMBER("log-function-size", U64, log_function_bytes, 4096, 1ull << 50),
	MEMBER("log-retention", U32, log_retention_s, 60, UINT32_MAX),
	MEMBER("otlp", TEXT, otlp, 0, 0),
	MEMBER("log-level", TEXT, log_level, 0, 0),
	MEMBER("log-json", FLAG, log_json, 0, 0),
};

const char thaw_config_help[] =
	"  --data DIR              what is kept: functions, snapshots, logs (default "
	"/var/lib/thaw)\n"
	"  --listen ADDRESS:PORT   of the API (default 127.0.0.1:9000; [::1]:9000)\n"
	"  --region NAME           in ARNs and signatures (default us-east-1)\n"
	"  --config FILE           lines \"name = value\" of these options (default\n"
	"                          /etc/thaw/thawd.conf, if there is one)\n"
	"  --no-auth               take unsigned requests as those of account 000000000000;\n"
	"                          on a loopback address only\n"
	"  --unsigned-payload      take bodies that are not signed, from loopback only\n"
	"  --concurrency N         invocations of an account at a time (default 1000)\n"
	"  --scale-up N            new environments of a function in ten seconds (default 1000)\n"
	"  --starting N            environments that start at the same time (default two a CPU)\n"
	"  --shells N              microVMs made ahead, in waiting, at most (default 8)\n"
	"  --share-drives=no       accounts share no pages of runtimes: more memory, and\n"
	"                          nobody's reads can be timed (security.md)\n"
	"  --memory MB             of the host for environments (default three quarters of it)\n"
	"  --cpu-limit=no          no limit of CPU time in proportion to memory\n"
	"  --disk-bandwidth MIB    that a microVM may read, and write, a second (default 0: any)\n"
	"  --disk-operations N     reads, and writes, of a microVM a second (default 0: any)\n"
	"  --jail=no               start where microVMs cannot be jailed, too\n"
	"  --uid-first N           microVMs are users N to N+65535 (default 0: 1073741824 and\n"
	"                          their process id)\n"
	"  --idle S                an environment that is idle for so long goes (default 300)\n"
	"  --drain S               what is under way at SIGTERM may take so long (default 30)\n"
	"  --threads N             of the HTTP server (default 4)\n"
	"  --connections N         that clients may hold open (default 4096)\n"
	"  --retry-scale X         what the waits between tries of asynchronous events are\n"
	"                          multiplied by (default 1)\n"
	"  --destination-private   let functions send results to private addresses\n"
	"  --egress                functions may have the network \"egress\": public addresses,\n"
	"                          behind the host's\n"
	"  --bridge 'NAME BRIDGE FIRST-LAST/LENGTH [GATEWAY]'\n"
	"                          or one on a bridge of the host's, with these addresses\n"
	"                          on it (may be said again for another)\n"
	"  --network-allow PREFIX  a private prefix that egress reaches too (may be said again)\n"
	"  --nameserver ADDRESS    for functions (up to three; default those of\n"
	"                          /etc/resolv.conf that are not on loopback)\n"
	"  --network-uplink NAME   an interface that egress leaves by: thawd lets it forward,\n"
	"                          for functions alone (may be said again; default: the host\n"
	"                          forwards already)\n"
	"  --network-range PREFIX  of addresses between the host and egress (default\n"
	"                          100.64.0.0/16)\n"
	"  --network-slots N       made ahead, in waiting, of each network in use (default 8)\n"
	"  --network-bytes N       a second, of an environment, each way (default 64 MiB;\n"
	"                          0: any number)\n"
	"  --network-packets N     the same in packets (default 50000)\n"
	"  --tmp-bytes N           a second, to and from the /tmp of an environment (default 0:\n"
	"                          any number)\n"
	"  --tmp-operations N      the same in requests (default 0)\n"
	"  --log-file-size B       of a function's log before it is rotated (default 16 MiB)\n"
	"  --log-function-size B   of all logs of a function (default 1 GiB)\n"
	"  --log-retention S       age at which logs go (default 1209600: 14 days)\n"
	"  --otlp URL              where spans of invocations are posted (OTLP/HTTP, JSON), as\n"
	"                          http://127.0.0.1:4318/v1/traces (default: nowhere)\n"
	"  --log-level LEVEL       of thawd itself: debug, info, warn, error (default info)\n"
	"  --log-json              thawd's own log as JSON\n"
	"  --help, --version\n";

static void config_defaults(struct thaw_config *config)
{
	*config = (struct thaw_config){
		.data = "/var/lib/thaw",
		.address = "127.0.0.1",
		.port = 9000,
		.region = "us-east-1",
		.concurrency = 1000,
		.scale_up = 1000,
		.share_drives = true,
		.cpu_limit = true,
		.jail = true,
		.shells = 8,
		.idle_s = 300,
		.drain_s = 30,
		.threads = 4,
		.connections = 4096,
		.retry_scale = 1,
		.network_range = "100.64.0.0/16",
		.network_slots = 8,
		.network_bytes = 64u << 20,
		.network_packets = 50000,
		.log_file_bytes = 16u << 20,
		.log_function_bytes = 1u << 30,
		.log_retention_s = 14 * 86400,
		.log_level = "info",
	};
}

static int set_listen(struct thaw_config *config, const char *value, struct thaw_error *err)
{
	const char *colon = strrchr(value, ':');
	size_t size = colon ? (size_t)(colon - value) : 0;
	char *end;

	errno = 0;
	long port = colon ? strtol(colon + 1, &end, 10) : -1;
	bool good = colon && end != colon + 1 && !*end && !errno && port >= 0 && port <= 65535;
	if (good && size > 2 && value[0] == '[' && value[size - 1] == ']') {
		value++;
		size -= 2;
	}
	if (!good || size < 1 || size >= sizeof(config->address))
		return thaw_error_set(err, EINVAL,
				      "listen: \"%s\" is not an address and a port, as "
				      "127.0.0.1:9000",
				      value);
	memcpy(config->address, value, size);
	config->address[size] = 0;
	config->port = (uint16_t)port;
	return 0;
}

static int set_number(void *member, const struct option *option, const char *value,
		      struct thaw_error *err)
{
	char *end;

	errno = 0;
	if (option->kind == REAL) {
		double real = strtod(value, &end);
		if (errno || *end || end == value || !(real >= 0 && real <= (double)option->max))
			return thaw_error_set(err, EINVAL,
					      "%s: \"%s\" is not a number from 0 to %llu",
					      option->name, value, (unsigned long long)option->max);
		*(double *)member = real;
		return 0;
	}
	unsigned long long number = strtoull(value, &end, 10);
	if (errno || *end || end == value || *value < '0' || *value > '9' || number < option->min ||
	    number > option->max)
		return thaw_error_set(err, EINVAL, "%s: \"%s\" is not a number from %llu to %llu",
				      option->name, value, (unsigned long long)option->min,
				      (unsigned long long)option->max);
	if (option->kind == U32)
		*(uint32_t *)member = (uint32_t)number;
	else
		*(uint64_t *)member = number;
	return 0;
}

static const struct option *option_find(const char *name, size_t size)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strlen(options[i].name) == size && memcmp(options[i].name, name, size) == 0)
			return &options[i];
	}
	return NULL;
}

/* `value` is NULL where none was given. */
static int config_set(struct thaw_config *config, const struct option *option, const char *value,
		      struct thaw_error *err)
{
	void *member = (char *)config + option->offset;

	if (option->kind == FLAG) {
		bool yes = !value || strcmp(value, "yes") == 0;
		if (!yes && strcmp(value, "no") != 0)
			return thaw_error_set(err, EINVAL, "%s: \"%s\" is neither yes nor no",
					      option->name, value);
		*(bool *)member = yes;
		return 0;
	}
	if (!value)
		return thaw_error_set(err, EINVAL, "%s needs a value", option->name);
	if (option->kind == LISTEN)
		return set_listen(config, value, err);
	if (option->kind != TEXT && option->kind != LIST)
		return set_number(member, option, value, err);
	/* A list has one more line each time that it is said. */
	size_t used = option->kind == LIST ? strlen(member) : 0, room = option->size - used;
	if (!*value || strchr(value, '\n') || strlen(value) + (used > 0) >= room)
		return thaw_error_set(err, EINVAL, "%s: 1 to %zu characters are wanted%s",
				      option->name, option->size - 1,
				      option->kind == LIST ? " in all" : "");
	sprintf((char *)member + used, "%s%s", used ? "\n" : "", value);
	return 0;
}

static char *trim(char *text)
{
	text += strspn(text, " \t\r\n");
	size_t size = strlen(text);
	while (size && strchr(" \t\r\n", text[size - 1]))
		text[--size] = 0;
	return text;
}

static int config_line(struct thaw_config *config, char *line, struct thaw_error *err)
{
	char *text = trim(line);

	if (!*text || *text == '#')
		return 0;
	char *equals = strchr(text, '=');
	if (!equals)
		return thaw_error_set(err, EINVAL, "\"%s\" is not \"name = value\"", text);
	*equals = 0;
	const char *name = trim(text);
	const struct option *option = option_find(name, strlen(name));
	if (!option)
		return thaw_error_set(err, EINVAL, "there is no option \"%s\"", name);
	return config_set(config, option, trim(equals + 1), err);
}

static int config_file(struct thaw_config *config, const char *path, bool must,
		       struct thaw_error *err)
{
	FILE *file = fopen(path, "re");
	char line[4096];
	int rc = 0;

	if (!file && errno == ENOENT && !must)
		return 0;
	if (!file)
		return thaw_error_errno(err, errno, "opening \"%s\"", path);
	for (unsigned int number = 1; rc == 0 && fgets(line, sizeof(line), file); number++) {
		rc = config_line(config, line, err);
		if (rc < 0)
			thaw_error_wrap(err, "%s, line %u", path, number);
	}
	fclose(file);
	return rc;
}

static int config_networks(struct thaw_config *config, struct thaw_error *err)
{
	const struct thaw_networks_text text = {
		.egress = config->egress,
		.range = config->network_range,
		.bridges = config->bridges,
		.allowed = config->network_allow,
		.nameservers = config->nameservers,
		.uplinks = config->network_uplinks,
	};

	return thaw_networks_read(&config->networks, &text, err);
}

static int config_check(struct thaw_config *config, struct thaw_error *err)
{
	enum thaw_log_level level;
	struct thaw_function function;

	thaw_function_init(&function);
	if (thaw_log_level_parse(config->log_level, &level) < 0)
		return thaw_error_set(err, EINVAL, "log-level: there is no level \"%s\"",
				      config->log_level);
	if (*config->otlp && !thaw_traces_url_valid(config->otlp))
		return thaw_error_set(err, EINVAL, "otlp: \"%s\" is no URL of http or https",
				      config->otlp);
	int rc = thaw_function_set_owner(&function, "000000000000", config->region, err);
	if (rc == 0)
		rc = config_networks(config, err);
	if (rc == 0 && config->no_auth && strncmp(config->address, "127.", 4) != 0 &&
	    strcmp(config->address, "::1") != 0)
		rc = thaw_error_set(err, EINVAL,
				    "no-auth is for loopback addresses only, and \"%s\" is none: "
				    "whoever reached it could do everything",
				    config->address);
	return rc;
}

/* One "--name value" or "--name=value"; *at is moved on. */
static int config_argument(struct thaw_config *config, int argc, char *argv[], int *at,
			   struct thaw_error *err)
{
	const char *name = argv[*at] + 2, *equals = strchr(name, '=');
	const struct option *option =
		option_find(name, equals ? (size_t)(equals - name) : strlen(name));
	const char *value = equals ? equals + 1 : NULL;

	if (!option)
		return thaw_error_set(err, EINVAL, "unknown option \"%s\" (see --help)", argv[*at]);
	if (!value && option->kind != FLAG && *at + 1 < argc)
		value = argv[++*at];
	(*at)++;
	return config_set(config, option, value, err);
}

int thaw_config_read(struct thaw_config *config, int argc, char *argv[], int *rest,
		     struct thaw_error *err)
{
	const char *file = NULL;
	int rc, at;

	config_defaults(config);
	/* The file comes first, wherever it is named. */
	for (at = 1; at < argc; at++) {
		if (strcmp(argv[at], "--config") == 0 && at + 1 < argc)
			file = argv[at + 1];
		else if (strncmp(argv[at], "--config=", 9) == 0)
			file = argv[at] + 9;
	}
	rc = config_file(config, file ? file : THAW_CONFIG_FILE, file != NULL, err);
	for (at = 1; rc == 0 && at < argc && strncmp(argv[at], "--", 2) == 0;) {
		if (strcmp(argv[at], "--help") == 0)
			return THAW_CONFIG_HELP;
		if (strcmp(argv[at], "--version") == 0)
			return THAW_CONFIG_VERSION;
		if (strcmp(argv[at], "--config") == 0)
			at += 2;
		else if (strncmp(argv[at], "--config=", 9) == 0)
			at++;
		else
			rc = config_argument(config, argc, argv, &at, err);
	}
	if (rc == 0)
		rc = config_check(config, err);
	*rest = at;
	if (rc < 0)
		return rc;
	return at < argc ? THAW_CONFIG_COMMAND : THAW_CONFIG_RUN;
}
