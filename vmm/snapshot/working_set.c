/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/snapshot/working_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/snapshot/image.h"

struct working_set_header {
	char magic[8];
	uint32_t version;
	uint32_t count;
	uint64_t index_checksum;
};

void thaw_working_set_clear(struct thaw_working_set *set)
{
	free(set->pages);
	*set = (struct thaw_working_set){0};
}

int thaw_working_set_add(struct thaw_working_set *set, uint32_t page)
{
	if (set->count == set->space) {
		uint32_t space = set->space ? set->space * 2 : 1024;
		uint32_t *pages = realloc(set->pages, space * sizeof(*pages));
		if (!pages)
			return -ENOMEM;
		set->pages = pages;
		set->space = space;
	}
	set->pages[set->count++] = page;
	return 0;
}

int thaw_working_set_write(const struct thaw_working_set *set, uint64_t index_checksum, int fd,
			   struct thaw_error *err)
{
	struct working_set_header header = {
		.version = THAW_WORKING_SET_VERSION,
		.count = set->count,
		.index_checksum = index_checksum,
	};
	size_t pages_size = set->count * sizeof(set->pages[0]), size = sizeof(header) + pages_size;
	cleanup_free uint8_t *data = malloc(size + sizeof(uint64_t));

	if (!data)
		return thaw_error_errno(err, ENOMEM, "writing the working set");
	memcpy(header.magic, THAW_WORKING_SET_MAGIC, sizeof(header.magic));
	memcpy(data, &header, sizeof(header));
	if (pages_size)
		memcpy(data + sizeof(header), set->pages, pages_size);
	uint64_t checksum = XXH3_64bits(data, size);
	memcpy(data + size, &checksum, sizeof(checksum));
	int rc = thaw_pwrite_full(fd, data, size + sizeof(checksum), 0);
	return rc < 0 ? thaw_error_errno(err, -rc, "writing the working set") : 0;
}

static int working_set_parse(struct thaw_working_set *set, uint64_t index_checksum, uint64_t pages,
			     const uint8_t *data, size_t size, struct thaw_error *err)
{
	struct working_set_header header;
	uint64_t checksum;

	if (size < sizeof(header) + sizeof(checksum))
		return thaw_error_set(err, EBADMSG, "%zu bytes are too few", size);
	memcpy(&header, data, sizeof(header));
	if (memcmp(header.magic, THAW_WORKING_SET_MAGIC, sizeof(header.magic)))
		return thaw_error_set(err, EBADMSG, "not a working set");
	if (header.version != THAW_WORKING_SET_VERSION)
		return thaw_error_set(err, ENOTSUP, "version %u, this program reads version %u",
				      header.version, THAW_WORKING_SET_VERSION);
	if (header.count > pages ||
	    size != sizeof(header) + (size_t)header.count * sizeof(uint32_t) + sizeof(checksum))
		return thaw_error_set(err, EBADMSG, "%zu bytes for %u pages", size, header.count);
	memcpy(&checksum, data + size - sizeof(checksum), sizeof(checksum));
	if (checksum != XXH3_64bits(data, size - sizeof(checksum)))
		return thaw_error_set(err, EBADMSG,
				      "the checksum does not match: the file is damaged");
	if (header.index_checksum != index_checksum)
		return thaw_error_set(err, ESTALE, "it belongs to another memory index");

	cleanup_free uint8_t *seen = calloc(1, (pages + 7) / 8);
	set->pages = malloc((size_t)header.count * sizeof(uint32_t) + 1);
	if (!seen || !set->pages)
		return thaw_error_errno(err, ENOMEM, "reading %u pages", header.count);
	memcpy(set->pages, data + sizeof(header), (size_t)header.count * sizeof(uint32_t));
	set->count = set->space = header.count;
	for (uint32_t i = 0; i < set->count; i++) {
		uint32_t page = set->pages[i];
		if (page >= pages || seen[page / 8] & 1u << page % 8)
			return thaw_error_set(err, EBADMSG,
					      "page %u is out of range or comes twice", page);
		seen[page / 8] |= (uint8_t)(1u << page % 8);
	}
	return 0;
}

int thaw_working_set_read(struct thaw_working_set *set, uint64_t index_checksum, uint64_t pages,
			  int fd, struct thaw_error *err)
{
	cleanup_free uint8_t *data = NULL;
	size_t size;
	int rc;

	*set = (struct thaw_working_set){0};
	rc = thaw_read_file(fd,
			    sizeof(struct working_set_header) + THAW_PAGES_MAX * sizeof(uint32_t) +
				    sizeof(uint64_t),
			    &data, &size, err);
	if (rc == 0)
		rc = working_set_parse(set, index_checksum, pages, data, size, err);
	if (rc < 0) {
		thaw_working_set_clear(set);
		return thaw_error_wrap(err, "working set");
	}
	return 0;
}
