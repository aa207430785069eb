/* SPDX-License-Identifier: Apache-2.0 */
/* ZIP files made byte by byte, so that they can say anything (APPNOTE 6.3, sections 4.3.7 to
 * 4.3.16). Contents are stored, unless a method is given. */
#ifndef THAW_TESTS_HOST_ZIP_H
#define THAW_TESTS_HOST_ZIP_H

#include <stddef.h>
#include <stdint.h>

struct zip {
	uint8_t *data;
	size_t size, room;
	uint8_t *directory;
	size_t directory_size, directory_room;
	uint32_t entries;
};

#define ZIP_ENCRYPTED  0x0001
#define ZIP_DESCRIPTOR 0x0008 /* sizes and checksum come after the data */
#define ZIP_UTF8       0x0800

struct zip_entry {
	const char *name;
	size_t name_size; /* 0: strlen(name) */
	uint32_t mode;    /* 0: a file 0644 */
	const void *data;
	size_t size;
	uint16_t flags, method;
	const void *packed; /* what stands in the archive for `data`; NULL: `data` itself */
	size_t packed_size;
	uint32_t packed_more; /* how much longer than `packed` the headers say it is */
	uint32_t crc_xor;     /* falsifies the checksum */
	int32_t size_lie;     /* added to the size unpacked, in both headers */
	uint32_t size_far;    /* in the directory only: where not 0, the size unpacked */
	int zip64;            /* sizes in an extra field */
	int dos;              /* made by MS-DOS: no mode, backslashes */
	int no_name;          /* an empty name */
};

void zip_add(struct zip *zip, const struct zip_entry *entry);
/* One more directory entry for the local header at `offset`. */
void zip_add_directory(struct zip *zip, const struct zip_entry *entry, uint32_t offset);
/* The directory and its end: zip->data is the archive now. */
void zip_end(struct zip *zip);
void zip_append(struct zip *zip, const void *data, size_t size);
void zip_free(struct zip *zip);

#endif
