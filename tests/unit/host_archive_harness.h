/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of archives share: a place to unpack to, archives made by somebody else's writer,
 * and what must be found. */
#ifndef THAW_TESTS_UNIT_HOST_ARCHIVE_HARNESS_H
#define THAW_TESTS_UNIT_HOST_ARCHIVE_HARNESS_H

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/archive.h"
#include "host/archive_name.h"
#include "host/code.h"
#include "host/state.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tests/unit/host_zip.h"

#define FILE_644 0100644
#define FILE_755 0100755
#define FOLDER   0040755
#define LINK     0120777

/* A folder to unpack into, between things that must not change. */
struct place {
	char root[64];
	int root_fd;
	int dir;
	struct thaw_unpack unpack;
	struct thaw_error err;
};

struct written {
	uint8_t data[1 << 20];
	size_t size;
	struct archive *writer;
};

void place_renew(struct place *place);
int setup(void **state);
unsigned int count_names(int dir);
int teardown(void **state);
int unpack_bytes(struct place *place, const void *data, size_t size);
int unpack_zip(struct place *place, struct zip *zip);
int unpack_entries(struct place *place, const struct zip_entry *entries, size_t count);
void assert_refused(struct place *place, int rc, const char *text);
void assert_damaged(struct place *place, int rc);
void assert_file(struct place *place, const char *name, const char *text, mode_t mode);
void assert_folder(struct place *place, const char *name);
void assert_link(struct place *place, const char *name, const char *target);
bool exists(int dir, const char *name);
struct written *written_new(void);
void written_open(struct written *w);
void written_header(struct written *w, const char *name, mode_t mode, int64_t size,
		    const char *target);
void written_file(struct written *w, const char *name, mode_t mode, const char *text);
void written_end(struct written *w);
struct written *written_zeros(uint64_t size);

#define UNPACK(place, ...)                                                                         \
	unpack_entries(place, (const struct zip_entry[]){__VA_ARGS__},                             \
		       sizeof((const struct zip_entry[]){__VA_ARGS__}) / sizeof(struct zip_entry))
#define TEXT(text) .data = (text), .size = sizeof(text) - 1

#endif
