/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "host/doctor.h"
#include "tools/tool.h"

static const char help[] =
	"Usage: thaw doctor [OPTIONS]\n"
	"\n"
	"Looks at this host: KVM and its kind (hardware or software), Thaw's own parts,\n"
	"io_uring, userfaultfd, cgroups, tun, programs and memory; and says what to do\n"
	"about each lack.\n"
	"\n"
	"Options:\n" TOOL_OPTIONS_HELP "\n"
	"Examples:\n"
	"  thaw doctor\n"
	"  thaw doctor --json | jq -r .kvm\n"
	"\n"
	"Exit codes: 0 functions can run here (with warnings, perhaps); 2 a bad option;\n"
	"3 something needed is missing.\n";

static const char *const health_names[] = {"ok", "warn", "fail"};

static void print_json(const struct thaw_doctor *doctor, bool good)
{
	json_t *list = json_array();

	for (size_t i = 0; i < doctor->count; i++) {
		const struct thaw_finding *finding = &doctor->finding[i];
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s}", "name", finding->name,
						"health", health_names[finding->health], "detail",
						finding->detail, "advice", finding->advice));
	}
	tool_print_json(json_pack("{s:b, s:s, s:o}", "ok", (int)good, "kvm", doctor->kvm_kind,
				  "findings", list));
}

static void print_text(const struct thaw_doctor *doctor, bool good)
{
	static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
	bool colour = isatty(STDOUT_FILENO);

	for (size_t i = 0; i < doctor->count; i++) {
		const struct thaw_finding *finding = &doctor->finding[i];
		printf("%s%-4s%s  %-15s  %s\n", colour ? colours[finding->health] : "",
		       health_names[finding->health], colour ? "\033[0m" : "", finding->name,
		       finding->detail);
		if (*finding->advice)
			printf("%23s-> %s\n", "", finding->advice);
	}
	puts(good ? "\nFunctions can run here." : "\nFunctions cannot run here yet: see \"fail\".");
}

int cmd_doctor(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {TOOL_OPTIONS};
	static struct thaw_doctor doctor;
	bool good = true;

	if (tool_option(tool, argc, argv, "", options, help) == TOOL_ERROR)
		return tool->helped ? TOOL_OK : TOOL_USAGE;
	if (optind < argc)
		return tool_usage("doctor: \"%s\" is one argument too many", argv[optind]);
	thaw_doctor_examine(&doctor, tool->state);
	for (size_t i = 0; i < doctor.count; i++)
		good &= doctor.finding[i].health != THAW_HEALTH_FAIL;
	if (tool->json)
		print_json(&doctor, good);
	else
		print_text(&doctor, good);
	return good ? TOOL_OK : TOOL_HOST;
}
