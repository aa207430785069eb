/* SPDX-License-Identifier: Apache-2.0 */
#include "host/archive_name.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* The length of the UTF-8 character at `text` (RFC 3629), 0 when it is none. The 0 byte at the end
 * of the text is no continuation byte, so that nothing behind it is looked at. */
static size_t name_character(const char *text)
{
	const uint8_t *at = (const uint8_t *)text;
	uint8_t low = 0x80, high = 0xbf;
	size_t more;

	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xc2 && at[0] <= 0xdf)
		more = 1;
	else if (at[0] >= 0xe0 && at[0] <= 0xef)
		more = 2;
	else if (at[0] >= 0xf0 && at[0] <= 0xf4)
		more = 3;
	else
		return 0;
	/* Longer forms than needed, surrogates, and what lies above U+10FFFF. */
	if (at[0] == 0xe0)
		low = 0xa0;
	else if (at[0] == 0xed)
		high = 0x9f;
	else if (at[0] == 0xf0)
		low = 0x90;
	else if (at[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i <= more; i++) {
		if (at[i] < low || at[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return more + 1;
}

/* One component of a path: sets `size` and returns where the next begins, NULL at the end. */
static const char *name_component(const char *at, size_t *size)
{
	if (!*at)
		return NULL;
	*size = strcspn(at, "/");
	return at + *size + (at[*size] == '/');
}

static bool name_is_dot(const char *at, size_t size)
{
	return size == 0 || (size == 1 && at[0] == '.');
}

static bool name_is_dot_dot(const char *at, size_t size)
{
	return size == 2 && at[0] == '.' && at[1] == '.';
}

const char *thaw_archive_name(const char *raw, char name[THAW_ARCHIVE_PATH_MAX + 1])
{
	size_t used = 0, size, length;
	const char *next;

	if (!*raw)
		return "has no name";
	if (*raw == '/')
		return "has an absolute path";
	for (const char *at = raw; *at; at += length) {
		length = name_character(at);
		if (length == 0)
			return "has a name that is not UTF-8";
		if (*at == '\\')
			return "has a backslash in its name";
	}
	for (const char *at = raw; (next = name_component(at, &size)); at = next) {
		if (name_is_dot(at, size))
			continue;
		if (name_is_dot_dot(at, size))
			return "has \"..\" in its path";
		if (size > NAME_MAX || used + (used != 0) + size > THAW_ARCHIVE_PATH_MAX)
			return "has a name that is too long";
		if (used)
			name[used++] = '/';
		memcpy(name + used, at, size);
		used += size;
	}
	name[used] = 0;
	return NULL;
}

unsigned int thaw_archive_name_depth(const char *name)
{
	unsigned int depth = 0;

	for (; *name; name++)
		depth += *name == '/';
	return depth;
}

/* Does `path` stay at or below where it begins, `depth` folders under the root, at each step? */
static bool name_stays(const char *path, unsigned int depth)
{
	const char *next;
	size_t size;

	for (const char *at = path; (next = name_component(at, &size)); at = next) {
		if (name_is_dot_dot(at, size)) {
			if (depth-- == 0)
				return false;
		} else if (!name_is_dot(at, size)) {
			depth++;
		}
	}
	return true;
}

bool thaw_archive_link_allowed(const char *name, const char *target)
{
	static const char *const roots[] = {"/opt", "/tmp", "/var/lang", "/var/runtime",
					    "/var/task"};

	if (!*target || strlen(target) >= PATH_MAX)
		return false;
	if (*target != '/')
		return name_stays(target, thaw_archive_name_depth(name));
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		size_t size = strlen(roots[i]);
		if (strncmp(target, roots[i], size) == 0 && (!target[size] || target[size] == '/'))
			return name_stays(target + size, 0);
	}
	return false;
}

void thaw_archive_name_show(const char *raw, char shown[THAW_ARCHIVE_SHOWN_MAX])
{
	static const char more[] = "...";
	size_t used = 0;

	while (*raw) {
		size_t length = name_character(raw);
		if (used + (length ? length : 1) + sizeof(more) > THAW_ARCHIVE_SHOWN_MAX) {
			memcpy(shown + used, more, sizeof(more) - 1);
			used += sizeof(more) - 1;
			break;
		}
		if (length) {
			memcpy(shown + used, raw, length);
			used += length;
			raw += length;
		} else {
			shown[used++] = '?';
			raw++;
		}
	}
	shown[used] = 0;
}
