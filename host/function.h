/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function is to an execution environment: its configuration, within Lambda's limits.
 */
#ifndef THAW_HOST_FUNCTION_H
#define THAW_HOST_FUNCTION_H

#include <stddef.h>
#include <stdint.h>

struct thaw_error;

#define THAW_FUNCTION_NAME_MAX 64
#define THAW_VERSION_MAX       19 /* digits */
#define THAW_FUNCTION_LATEST   "$LATEST"
#define THAW_ACCOUNT_LENGTH    12
#define THAW_REGION_MAX        32
#define THAW_HANDLER_MAX       128
#define THAW_RUNTIME_MAX       32
#define THAW_MEMORY_MIN        128 /* MB: of 1024 KB */
#define THAW_MEMORY_MAX        10240
#define THAW_MEMORY_PER_CPU    1769
#define THAW_TIMEOUT_MAX_S     900
#define THAW_EPHEMERAL_MIN     512
#define THAW_EPHEMERAL_MAX     10240
#define THAW_ENVIRONMENT_MAX   4096 /* bytes of the map as JSON */
#define THAW_VCPUS_MAX         6

/* What the guest's kernel and agent take beside the function's memory, MiB. */
#define THAW_GUEST_OVERHEAD_MIB 64
/* The most that thaw-vmm gives a guest (vmm.proto, Create). */
#define THAW_GUEST_MEMORY_MAX_MIB 10304

struct thaw_variable {
	char *name;
	char *value;
};

struct thaw_function {
	char name[THAW_FUNCTION_NAME_MAX + 1];
	char version[THAW_VERSION_MAX + 1];
	char account[THAW_ACCOUNT_LENGTH + 1];
	char region[THAW_REGION_MAX + 1];
	char runtime[THAW_RUNTIME_MAX + 1];
	char handler[THAW_HANDLER_MAX + 1];
	uint32_t memory_mib;
	uint32_t timeout_s;
	uint32_t ephemeral_mib;
	uint32_t vcpus;                  /* 0: what the memory gives */
	struct thaw_variable *variables; /* owned */
	size_t variable_count;
};

/* Name "function", version $LATEST, account 000000000000 in us-east-1, Lambda's defaults otherwise;
 * no runtime, no handler. */
void thaw_function_init(struct thaw_function *function);
void thaw_function_clear(struct thaw_function *function);

/* `to` is cleared first. -ENOMEM. */
int thaw_function_copy(struct thaw_function *to, const struct thaw_function *from,
		       struct thaw_error *err);

/* Each checks and sets one thing: -EINVAL with an error that names the limit. */
int thaw_function_set_name(struct thaw_function *function, const char *name,
			   struct thaw_error *err);
/* Both, as they are in ARNs: twelve digits; letters, digits and "-". */
int thaw_function_set_owner(struct thaw_function *function, const char *account, const char *region,
			    struct thaw_error *err);
/* "$LATEST" or the number of a published version. */
int thaw_function_set_version(struct thaw_function *function, const char *version,
			      struct thaw_error *err);
int thaw_function_set_runtime(struct thaw_function *function, const char *runtime,
			      struct thaw_error *err);
int thaw_function_set_handler(struct thaw_function *function, const char *handler,
			      struct thaw_error *err);
int thaw_function_set_memory(struct thaw_function *function, int64_t mib, struct thaw_error *err);
int thaw_function_set_timeout(struct thaw_function *function, int64_t s, struct thaw_error *err);
int thaw_function_set_ephemeral(struct thaw_function *function, int64_t mib,
				struct thaw_error *err);
int thaw_function_set_vcpus(struct thaw_function *function, int64_t count, struct thaw_error *err);
/* Reserved names and maps over 4 KB are refused; a name given twice has its last value. */
int thaw_function_set_variable(struct thaw_function *function, const char *name, const char *value,
			       struct thaw_error *err);

/* arn:aws:lambda:REGION:ACCOUNT:function:NAME; the version is not in it. */
#define THAW_FUNCTION_ARN_MAX 160
void thaw_function_arn(const struct thaw_function *function, char arn[THAW_FUNCTION_ARN_MAX]);

uint32_t thaw_function_vcpus(const struct thaw_function *function);
uint32_t thaw_function_guest_mib(const struct thaw_function *function);

/* [A-Za-z0-9_-]{1,64}: 1 or 0. Names of functions and snapshots. */
int thaw_name_valid(const char *name);

#endif
