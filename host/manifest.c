/* SPDX-License-Identifier: Apache-2.0 */
#include "host/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "proto/vmm.pb-c.h"

void thaw_manifest_init(struct thaw_manifest *manifest)
{
	memset(manifest, 0, sizeof(*manifest));
	thaw_function_init(&manifest->function);
}

void thaw_manifest_clear(struct thaw_manifest *manifest)
{
	thaw_function_clear(&manifest->function);
}

const char *thaw_cpu_template_name(uint32_t cpu_template)
{
	switch (cpu_template) {
	case THAW__VMM__CPU_TEMPLATE__CPU_TEMPLATE_HOST:
		return "host";
	case THAW__VMM__CPU_TEMPLATE__CPU_TEMPLATE_SOFTWARE_KVM:
		return "software-kvm";
	default:
		return "unknown";
	}
}

/* Over everything but the checksum itself, in a form that does not depend on spaces and order. */
static int manifest_checksum(const json_t *root, char text[THAW_DIGEST_TEXT])
{
	json_t *copy = json_copy((json_t *)root);
	char *dump;

	if (!copy)
		return -ENOMEM;
	json_object_del(copy, "sha256");
	dump = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(copy);
	struct thaw_digest *digest = dump ? thaw_digest_new() : NULL;
	if (digest) {
		thaw_digest_add(digest, dump, strlen(dump));
		thaw_digest_finish(digest, text);
	}
	free(dump);
	return digest ? 0 : -ENOMEM;
}

static json_t *format_function(const struct thaw_function *function)
{
	json_t *variables = json_object();

	for (size_t i = 0; i < function->variable_count; i++)
		json_object_set_new(variables, function->variables[i].name,
				    json_string(function->variables[i].value));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "name",
			 function->name, "version", function->version, "account", function->account,
			 "region", function->region, "runtime", function->runtime, "handler",
			 function->handler, "memory_mib", (json_int_t)function->memory_mib,
			 "timeout_s", (json_int_t)function->timeout_s, "ephemeral_mib",
			 (json_int_t)function->ephemeral_mib, "vcpus", (json_int_t)function->vcpus,
			 "environment", variables);
}

static json_t *format_phases(const struct thaw_phases *phases)
{
	json_t *list = json_array();

	for (size_t i = 0; i < phases->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:I}", "name", phases->item[i].name,
						      "ns", (json_int_t)phases->item[i].ns));
	return list;
}

char *thaw_manifest_format(const struct thaw_manifest *m)
{
	char checksum[THAW_DIGEST_TEXT];
	char *text = NULL;

	json_t *root = json_pack(
		"{s:i, s:s, s:s, s:s, s:o, s:I, s:b, s:b, s:{s:s, s:s}, s:{s:s, s:s}, s:{s:s}, "
		"s:{s:s}, s:{s:s}, s:{s:s}, "
		"s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:I, s:o}",
		"format", THAW_MANIFEST_FORMAT, "name", m->name, "created", m->created, "thaw",
		m->thaw, "function", format_function(&m->function), "cpu_template",
		(json_int_t)m->cpu_template, "software_kvm", (int)m->software_kvm, "network",
		(int)m->network, "code", "sha256", m->code_digest, "drive_sha256",
		m->code_drive_digest, "layers", "sha256", m->layers_digest, "drive_sha256",
		m->layers_drive_digest, "tmp", "drive_sha256", m->tmp_drive_digest, "root",
		"sha256", m->root_digest, "kernel", "sha256", m->kernel_digest, "initramfs",
		"sha256", m->initramfs_digest, "files", "state", (json_int_t)m->state_size, "index",
		(json_int_t)m->index_size, "frames", (json_int_t)m->frames_size, "tmp",
		(json_int_t)m->tmp_size, "memory", "pages", (json_int_t)m->pages, "zero_pages",
		(json_int_t)m->zero_pages, "frames", (json_int_t)m->frames, "init_us",
		(json_int_t)m->init_us, "phases", format_phases(&m->phases));
	if (root && manifest_checksum(root, checksum) == 0 &&
	    json_object_set_new(root, "sha256", json_string(checksum)) == 0) {
		char *dump = json_dumps(root, JSON_INDENT(2));
		if (dump && asprintf(&text, "%s\n", dump) < 0)
			text = NULL;
		free(dump);
	}
	json_decref(root);
	return text;
}

/* Both of a drive, or neither. */
static bool layers_valid(const char *layers, const char *drive)
{
	return (!*layers && !*drive) || (thaw_digest_valid(layers) && thaw_digest_valid(drive));
}

static int parse_function(json_t *from, struct thaw_function *function, struct thaw_error *err)
{
	const char *name, *version, *account, *region, *runtime, *handler, *key;
	json_int_t memory, timeout, ephemeral, vcpus;
	json_t *variables, *value;
	json_error_t fault;

	if (json_unpack_ex(from, &fault, 0,
			   "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "name", &name,
			   "version", &version, "account", &account, "region", &region, "runtime",
			   &runtime, "handler", &handler, "memory_mib", &memory, "timeout_s",
			   &timeout, "ephemeral_mib", &ephemeral, "vcpus", &vcpus, "environment",
			   &variables) < 0)
		return thaw_error_set(err, EBADMSG, "function: %s", fault.text);
	int rc = thaw_function_set_name(function, name, err);
	if (rc == 0)
		rc = thaw_function_set_version(function, version, err);
	if (rc == 0)
		rc = thaw_function_set_owner(function, account, region, err);
	if (rc == 0)
		rc = thaw_function_set_runtime(function, runtime, err);
	if (rc == 0)
		rc = thaw_function_set_handler(function, handler, err);
	if (rc == 0)
		rc = thaw_function_set_memory(function, memory, err);
	if (rc == 0)
		rc = thaw_function_set_timeout(function, timeout, err);
	if (rc == 0)
		rc = thaw_function_set_ephemeral(function, ephemeral, err);
	if (rc == 0 && vcpus != 0)
		rc = thaw_function_set_vcpus(function, vcpus, err);
	json_object_foreach(variables, key, value)
	{
		if (rc == 0 && !json_is_string(value))
			rc = thaw_error_set(err, EBADMSG, "environment: not a string");
		if (rc == 0)
			rc = thaw_function_set_variable(function, key, json_string_value(value),
							err);
	}
	return rc;
}

static void parse_phases(json_t *from, struct thaw_phases *phases)
{
	json_t *entry;
	size_t i;

	json_array_foreach(from, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));
		json_int_t ns = json_integer_value(json_object_get(entry, "ns"));
		if (name && ns >= 0)
			thaw_phases_add(phases, name, (uint64_t)ns);
	}
}

static int parse_root(json_t *root, struct thaw_manifest *m, struct thaw_error *err)
{
	const char *name, *created, *thaw, *code, *code_drive, *layers, *layers_drive, *tmp_drive,
		*image, *kernel, *initramfs, *checksum;
	json_int_t format, cpu_template, state, index, frames, tmp, pages, zero, count, init;
	json_t *function, *phases;
	json_error_t fault;
	char wanted[THAW_DIGEST_TEXT];
	int software, network = 0; /* manifests of before there were networks say nothing */

	if (json_unpack_ex(root, &fault, 0, "{s:I}", "format", &format) < 0)
		return thaw_error_set(err, EBADMSG, "%s", fault.text);
	if (format != THAW_MANIFEST_FORMAT)
		return thaw_error_set(err, ENOTSUP,
				      "it is of format %lld; this version of Thaw reads format %d",
				      (long long)format, THAW_MANIFEST_FORMAT);
	if (json_unpack_ex(
		    root, &fault, 0,
		    "{s:s, s:s, s:s, s:o, s:I, s:b, s?b, s:{s:s, s:s}, s:{s:s, s:s}, s:{s:s}, "
		    "s:{s:s}, s:{s:s}, s:{s:s}, "
		    "s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:I, s:o, s:s}",
		    "name", &name, "created", &created, "thaw", &thaw, "function", &function,
		    "cpu_template", &cpu_template, "software_kvm", &software, "network", &network,
		    "code", "sha256", &code, "drive_sha256", &code_drive, "layers", "sha256",
		    &layers, "drive_sha256", &layers_drive, "tmp", "drive_sha256", &tmp_drive,
		    "root", "sha256", &image, "kernel", "sha256", &kernel, "initramfs", "sha256",
		    &initramfs, "files", "state", &state, "index", &index, "frames", &frames, "tmp",
		    &tmp, "memory", "pages", &pages, "zero_pages", &zero, "frames", &count,
		    "init_us", &init, "phases", &phases, "sha256", &checksum) < 0)
		return thaw_error_set(err, EBADMSG, "%s", fault.text);
	if (manifest_checksum(root, wanted) < 0)
		return thaw_error_errno(err, ENOMEM, "its checksum");
	if (strcmp(wanted, checksum) != 0)
		return thaw_error_set(err, EBADMSG, "its checksum does not match");
	if (!thaw_digest_valid(code) || !thaw_digest_valid(code_drive) ||
	    !layers_valid(layers, layers_drive) || !thaw_digest_valid(tmp_drive) ||
	    !thaw_digest_valid(image) || !thaw_digest_valid(kernel) ||
	    !thaw_digest_valid(initramfs) || cpu_template < 1 || cpu_template > 2 || state < 0 ||
	    index < 0 || frames < 0 || tmp < 0 || pages < 0 || zero < 0 || count < 0 || init < 0)
		return thaw_error_set(err, EBADMSG, "a value is out of its range");
	snprintf(m->name, sizeof(m->name), "%s", name);
	snprintf(m->created, sizeof(m->created), "%s", created);
	snprintf(m->thaw, sizeof(m->thaw), "%s", thaw);
	thaw_text_printable(m->name);
	thaw_text_printable(m->created);
	thaw_text_printable(m->thaw);
	strcpy(m->code_digest, code);
	strcpy(m->code_drive_digest, code_drive);
	strcpy(m->layers_digest, layers);
	strcpy(m->layers_drive_digest, layers_drive);
	strcpy(m->tmp_drive_digest, tmp_drive);
	strcpy(m->root_digest, image);
	strcpy(m->kernel_digest, kernel);
	strcpy(m->initramfs_digest, initramfs);
	m->cpu_template = (uint32_t)cpu_template;
	m->software_kvm = software;
	m->network = network;
	m->state_size = (uint64_t)state;
	m->index_size = (uint64_t)index;
	m->frames_size = (uint64_t)frames;
	m->tmp_size = (uint64_t)tmp;
	m->pages = (uint64_t)pages;
	m->zero_pages = (uint64_t)zero;
	m->frames = (uint64_t)count;
	m->init_us = (uint64_t)init;
	parse_phases(phases, &m->phases);
	return parse_function(function, &m->function, err);
}

int thaw_manifest_parse(const char *text, size_t size, struct thaw_manifest *manifest,
			struct thaw_error *err)
{
	json_error_t fault;

	thaw_manifest_init(manifest);
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &fault);
	int rc = root ? parse_root(root, manifest, err)
		      : thaw_error_set(err, EBADMSG, "line %d: %s", fault.line, fault.text);
	json_decref(root);
	if (rc < 0) {
		/* A value that a user may not give is damage here. */
		rc = rc == -EINVAL ? -EBADMSG : rc;
		if (err)
			err->code = -rc;
		thaw_error_wrap(err, "manifest.json");
		thaw_manifest_clear(manifest);
	}
	return rc;
}
