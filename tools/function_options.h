/* SPDX-License-Identifier: Apache-2.0 */
/* The options by which `thaw run` and `thaw snapshot create` are told of a function. */
#ifndef THAW_TOOLS_FUNCTION_OPTIONS_H
#define THAW_TOOLS_FUNCTION_OPTIONS_H

#include "host/cold.h"
#include "host/function.h"
#include "proto/vmm.pb-c.h"
#include "tools/tool.h"

#define FUNCTION_LAYERS_MAX 5 /* as AWS Lambda has it */

struct function_options {
	struct thaw_function function;
	const char *code; /* a folder or a ZIP file */
	const char *layers[FUNCTION_LAYERS_MAX];
	size_t layer_count;
	const char *event;  /* a path; NULL: none */
	const char *kernel; /* NULL: Thaw's own */
	const char *tap;    /* a tap's name; NULL: no network */
	bool console;
	Thaw__Vmm__CpuTemplate cpu_template;
};

enum {
	FUNCTION_RUNTIME = 500,
	FUNCTION_CODE,
	FUNCTION_LAYER,
	FUNCTION_HANDLER,
	FUNCTION_EVENT,
	FUNCTION_NAME,
	FUNCTION_MEMORY,
	FUNCTION_TIMEOUT,
	FUNCTION_EPHEMERAL,
	FUNCTION_ENV,
	FUNCTION_VCPUS,
	FUNCTION_KERNEL,
	FUNCTION_CONSOLE,
	FUNCTION_CPU_TEMPLATE,
	FUNCTION_NETWORK,
};

#define FUNCTION_OPTIONS                                                                           \
	{"runtime", required_argument, NULL, FUNCTION_RUNTIME},                                    \
		{"code", required_argument, NULL, FUNCTION_CODE},                                  \
		{"layer", required_argument, NULL, FUNCTION_LAYER},                                \
		{"handler", required_argument, NULL, FUNCTION_HANDLER},                            \
		{"event", required_argument, NULL, FUNCTION_EVENT},                                \
		{"name", required_argument, NULL, FUNCTION_NAME},                                  \
		{"memory", required_argument, NULL, FUNCTION_MEMORY},                              \
		{"timeout", required_argument, NULL, FUNCTION_TIMEOUT},                            \
		{"ephemeral", required_argument, NULL, FUNCTION_EPHEMERAL},                        \
		{"env", required_argument, NULL, FUNCTION_ENV},                                    \
		{"vcpus", required_argument, NULL, FUNCTION_VCPUS},                                \
		{"kernel", required_argument, NULL, FUNCTION_KERNEL},                              \
		{"console", no_argument, NULL, FUNCTION_CONSOLE},                                  \
		{"network", required_argument, NULL, FUNCTION_NETWORK},                            \
	{                                                                                          \
		"cpu-template", required_argument, NULL, FUNCTION_CPU_TEMPLATE                     \
	}

#define FUNCTION_OPTIONS_HELP                                                                      \
	"  --runtime NAME     the root file system: python3.11, nodejs18.x, provided\n"            \
	"  --code DIR|ZIP     the folder or ZIP file that becomes /var/task\n"                     \
	"  --layer DIR|ZIP    lies in /opt; up to 5, each over those before it\n"                  \
	"  --handler NAME     e.g. app.handler; what it means is the runtime's\n"                  \
	"  --name NAME        of the function (default \"function\")\n"                            \
	"  --memory MB        128 to 10240 (default 128)\n"                                        \
	"  --timeout S        1 to 900 (default 3)\n"                                              \
	"  --ephemeral MB     size of /tmp, 512 to 10240 (default 512)\n"                          \
	"  --env NAME=VALUE   an environment variable; may be given again\n"                       \
	"  --vcpus N          1 to 6 (default: one for every 1769 MB)\n"                           \
	"  --kernel FILE      another guest kernel (vmlinux or bzImage)\n"                         \
	"  --cpu-template T   auto, host or software-kvm (default auto)\n"                         \
	"  --network TAP      a network device, whose frames go through tap TAP of the host\n"     \
	"  --console          the guest's console on standard error\n"

/* The code and the layers among them; borrows. */
struct thaw_cold_code function_options_code(const struct function_options *options);

void function_options_init(struct function_options *options);
void function_options_clear(struct function_options *options);

/* Takes an option in. 0; 1 when it is none of these; negative: told, leave with TOOL_USAGE. */
int function_options_take(struct function_options *options, int option, const char *value);

/* Checks that all needed is there: 0, or negative, told. */
int function_options_check(const struct function_options *options, const char *command);

#endif
