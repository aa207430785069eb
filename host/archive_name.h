/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an archive may call its entries, and where its symbolic links may point. Both are rules
 * about text: nothing here looks at a file system.
 */
#ifndef THAW_HOST_ARCHIVE_NAME_H
#define THAW_HOST_ARCHIVE_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Of a path below the root, in bytes: what the path of the state directory and its end leave
 * of PATH_MAX. */
#define THAW_ARCHIVE_PATH_MAX 2047

/*
 * Brings the path `raw` to its plain form: "." and empty components go, and so does a slash at the
 * end. "" is the root itself. Returns NULL, or why it is refused, to be read after the name:
 * empty, absolute, with a "..", a backslash (which some take for a separator), not UTF-8, longer
 * than THAW_ARCHIVE_PATH_MAX or with a component longer than NAME_MAX.
 */
const char *thaw_archive_name(const char *raw, char name[THAW_ARCHIVE_PATH_MAX + 1]);

/* The folders of a plain path that lie between the root and its last component. */
unsigned int thaw_archive_name_depth(const char *name);

/*
 * May the link at the plain path `name` point to `target`? Relative targets must stay at or below
 * the root at each step, absolute ones at or below /opt, /tmp, /var/lang, /var/runtime or
 * /var/task. The check is of the text alone; a link that leads through another may end elsewhere
 * in the guest, which may make any link it likes. On the host none is ever followed.
 */
bool thaw_archive_link_allowed(const char *name, const char *target);

#define THAW_ARCHIVE_SHOWN_MAX 160

/* A name for a message: cut to size between characters, bytes that are not UTF-8 as '?'. */
void thaw_archive_name_show(const char *raw, char shown[THAW_ARCHIVE_SHOWN_MAX]);

#endif
