/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What thawd is told: by its command line, and before that by a file of lines "name = value" ('#'
 * begins a comment), whose names are those of the long options. docs/operations.md lists them.
 */
#ifndef THAW_HOST_DAEMON_CONFIG_H
#define THAW_HOST_DAEMON_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/network/networks.h"

struct thaw_error;

#define THAW_CONFIG_FILE "/etc/thaw/thawd.conf"

/* Times in the unit of their names. */
struct thaw_config {
	char data[PATH_MAX];
	char address[64];
	uint16_t port;
	char region[32];
	bool no_auth;          /* loopback only */
	bool unsigned_payload; /* from loopback only */
	uint32_t concurrency;  /* of an account */
	uint32_t scale_up;     /* new environments of a function in ten seconds */
	uint32_t starting;     /* environments starting at a time; 0: two for each CPU */
	uint32_t shells;       /* microVMs in waiting, at most */
	uint64_t memory_mib;   /* for environments; 0: three quarters of the host's */
	bool share_drives;     /* accounts map one file of a runtime, and of code that is alike */
	bool cpu_limit;        /* CPU time in proportion to memory */
	bool jail;             /* nothing is started that is not jailed */
	uint32_t uid_first;    /* of 65536 for microVMs; 0: each is told by its process id */
	uint32_t disk_mib;     /* a second, of reads and of writes each, of a microVM; 0: any */
	uint32_t disk_operations;
	uint32_t idle_s;  /* an environment that is idle for so long goes */
	uint32_t drain_s; /* SIGTERM: what is under way may take so long */
	uint32_t threads; /* of the HTTP server */
	uint32_t connections;
	/* Asynchronous invocations: the contract's times, and what they are multiplied by. */
	double retry_scale;
	bool destination_private; /* results may be posted to addresses that are not public */
	/* Networks for functions, as they were written (lists are lines), and read. */
	bool egress;
	char network_range[32];
	char bridges[4096], network_allow[4096], nameservers[256];
	char network_uplinks[256];
	uint32_t network_slots; /* of each network, in waiting */
	/* In a second, of each environment, each way; 0: any number. */
	uint64_t network_bytes, network_packets;
	uint64_t tmp_bytes, tmp_operations; /* of /tmp */
	struct thaw_networks networks;      /* without an id */
	uint64_t log_file_bytes, log_function_bytes;
	uint32_t log_retention_s;
	char otlp[1024]; /* http://host:port/v1/traces; "": none */
	char log_level[8];
	bool log_json;
};

enum thaw_config_result {
	THAW_CONFIG_RUN,
	THAW_CONFIG_HELP,
	THAW_CONFIG_VERSION,
	THAW_CONFIG_COMMAND, /* words that are no options follow: argv[*rest] is the first */
};

/* Defaults, then the file, then the command line. Negative: -EINVAL with an error that names the
 * option, the file and the line. */
int thaw_config_read(struct thaw_config *config, int argc, char *argv[], int *rest,
		     struct thaw_error *err);

/* Lines for --help. */
extern const char thaw_config_help[];

#endif
