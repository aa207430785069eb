/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/environment.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/runtime.h"

#define SPACE     16384u /* of what is set here; all lengths are bounded by the session */
#define FIXED_MAX 32u

static const char *const inherited[] = {"GLIBC_TUNABLES", "OPENSSL_ia32cap"};

struct maker {
	char **env;
	size_t count;
	char *at;
	size_t space;
};

/* Appends NAME=value; one that is there already wins, so the platform's come first. */
__attribute__((format(printf, 2, 3))) static void put(struct maker *maker, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(maker->at, maker->space, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= maker->space)
		return;
	const char *equals = strchr(maker->at, '=');
	size_t name = (size_t)(equals - maker->at) + 1;
	for (size_t i = 0; i < maker->count; i++) {
		if (strncmp(maker->env[i], maker->at, name) == 0)
			return;
	}
	maker->env[maker->count++] = maker->at;
	maker->at += n + 1;
	maker->space -= (size_t)n + 1;
}

/* A name that a shell could set; anything else would be another variable's text. */
static int is_name(const char *name)
{
	if (!*name)
		return 0;
	for (const char *c = name; *c; c++) {
		if (*c != '_' && !(*c >= '0' && *c <= '9') &&
		    !((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z'))
			return 0;
	}
	return 1;
}

char **thaw_environment_make(const Thaw__Agent__Function *f, const struct thaw_place *place,
			     const char *log_stream)
{
	size_t space = SPACE;

	for (size_t i = 0; i < f->n_environment; i++)
		space += strlen(f->environment[i]->name) + strlen(f->environment[i]->value) + 2;
	size_t slots = FIXED_MAX + f->n_environment + 1;
	char **env = calloc(1, slots * sizeof(*env) + space);
	if (!env)
		return NULL;
	struct maker m = {.env = env, .at = (char *)(env + slots), .space = space};

	put(&m, "_HANDLER=%s", f->handler);
	put(&m, "AWS_EXECUTION_ENV=%s", f->execution_env);
	put(&m, "AWS_REGION=%s", f->region);
	put(&m, "AWS_DEFAULT_REGION=%s", f->region);
	put(&m, "AWS_LAMBDA_FUNCTION_NAME=%s", f->name);
	put(&m, "AWS_LAMBDA_FUNCTION_VERSION=%s", f->version);
	put(&m, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=%u", f->memory_mib);
	put(&m, "AWS_LAMBDA_LOG_GROUP_NAME=%s", f->log_group);
	put(&m, "AWS_LAMBDA_LOG_STREAM_NAME=%s", log_stream);
	put(&m, "AWS_LAMBDA_INITIALIZATION_TYPE=%s", f->initialization_type);
	put(&m, "AWS_LAMBDA_RUNTIME_API=%s", place->api);
	put(&m, "LAMBDA_TASK_ROOT=%s", place->task);
	put(&m, "LAMBDA_RUNTIME_DIR=%s", place->runtime_dir);
	put(&m, "_THAW_RUNTIME_FD=3");
	/* What the host's CPU template wants libraries to keep off (software KVM: AVX). */
	for (size_t i = 0; i < sizeof(inherited) / sizeof(inherited[0]); i++) {
		if (getenv(inherited[i]))
			put(&m, "%s=%s", inherited[i], getenv(inherited[i]));
	}
	for (size_t i = 0; i < f->n_environment; i++) {
		if (is_name(f->environment[i]->name))
			put(&m, "%s=%s", f->environment[i]->name, f->environment[i]->value);
	}
	put(&m, "LANG=C.UTF-8");
	put(&m, "TZ=:UTC");
	put(&m, "PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin");
	put(&m, "LD_LIBRARY_PATH=/lib64:/usr/lib64:%s:%s/lib:%s:%s/lib:%s/lib", place->runtime_dir,
	    place->runtime_dir, place->task, place->task, place->opt);
	return env;
}
