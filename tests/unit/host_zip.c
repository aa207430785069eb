/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/host_zip.h"

#include <stdlib.h>
#include <string.h>

static void bytes_add(uint8_t **data, size_t *used, size_t *room, const void *more, size_t size)
{
	if (*used + size > *room) {
		*room = 2 * (*used + size) + 4096;
		*data = realloc(*data, *room);
		if (!*data)
			abort();
	}
	if (size)
		memcpy(*data + *used, more, size);
	*used += size;
}

void zip_append(struct zip *zip, const void *data, size_t size)
{
	bytes_add(&zip->data, &zip->size, &zip->room, data, size);
}

static void directory_add(struct zip *zip, const void *data, size_t size)
{
	bytes_add(&zip->directory, &zip->directory_size, &zip->directory_room, data, size);
}

static uint8_t *put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
	return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	return put16(put16(at, value & 0xffff), value >> 16);
}

static uint32_t crc32_of(const uint8_t *data, size_t size)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static size_t name_size(const struct zip_entry *entry)
{
	if (entry->no_name)
		return 0;
	return entry->name_size ? entry->name_size : strlen(entry->name);
}

static size_t packed_size(const struct zip_entry *entry)
{
	return entry->packed ? entry->packed_size : entry->size;
}

/* What both headers have from "version needed" on, up to the length of the name. */
static uint8_t *put_common(uint8_t *at, const struct zip_entry *entry, int local)
{
	int later = local && entry->flags & ZIP_DESCRIPTOR;
	uint32_t crc = crc32_of(entry->data, entry->size) ^ entry->crc_xor;
	uint32_t size = (uint32_t)((int64_t)entry->size + entry->size_lie);
	uint32_t packed = (uint32_t)packed_size(entry) + entry->packed_more;

	if (!local && entry->size_far)
		size = entry->size_far;
	at = put16(at, entry->zip64 ? 45 : 20);
	at = put16(at, entry->flags);
	at = put16(at, entry->method);
	at = put32(at, 0x5a210000); /* 2025-01-01 */
	at = put32(at, later ? 0 : crc);
	at = put32(at, entry->zip64 ? ~0u : later ? 0 : packed);
	at = put32(at, entry->zip64 ? ~0u : later ? 0 : size);
	at = put16(at, (uint32_t)name_size(entry));
	return put16(at, entry->zip64 ? 20 : 0);
}

static uint8_t *put_zip64(uint8_t *at, const struct zip_entry *entry)
{
	at = put32(at, 16u << 16 | 0x0001);
	at = put32(put32(at, (uint32_t)entry->size), 0);
	return put32(put32(at, (uint32_t)entry->size), 0);
}

void zip_add_directory(struct zip *zip, const struct zip_entry *entry, uint32_t offset)
{
	uint8_t raw[64], extra[20], *at = raw;
	uint32_t mode = entry->mode ? entry->mode : 0100644;

	at = put32(at, 0x02014b50);
	at = put16(at, entry->dos ? 20 : 3u << 8 | 20);
	at = put_common(at, entry, 0);
	at = put16(at, 0); /* comment */
	at = put32(at, 0); /* disk, internal attributes */
	at = put32(at, entry->dos ? 0 : mode << 16);
	at = put32(at, offset);
	directory_add(zip, raw, (size_t)(at - raw));
	directory_add(zip, entry->name, name_size(entry));
	if (entry->zip64)
		directory_add(zip, extra, (size_t)(put_zip64(extra, entry) - extra));
	zip->entries++;
}

void zip_add(struct zip *zip, const struct zip_entry *entry)
{
	uint8_t raw[64], *at = raw;

	zip_add_directory(zip, entry, (uint32_t)zip->size);
	at = put32(at, 0x04034b50);
	at = put_common(at, entry, 1);
	zip_append(zip, raw, (size_t)(at - raw));
	zip_append(zip, entry->name, name_size(entry));
	if (entry->zip64)
		zip_append(zip, raw, (size_t)(put_zip64(raw, entry) - raw));
	zip_append(zip, entry->packed ? entry->packed : entry->data, packed_size(entry));
	if (entry->flags & ZIP_DESCRIPTOR) {
		at = put32(raw, 0x08074b50);
		at = put32(at, crc32_of(entry->data, entry->size));
		at = put32(at, (uint32_t)entry->size);
		at = put32(at, (uint32_t)entry->size);
		zip_append(zip, raw, (size_t)(at - raw));
	}
}

void zip_end(struct zip *zip)
{
	uint8_t raw[32], *at = raw;
	uint32_t offset = (uint32_t)zip->size;
	uint32_t entries = zip->entries < 0xffff ? zip->entries : 0xffff;

	zip_append(zip, zip->directory, zip->directory_size);
	at = put32(at, 0x06054b50);
	at = put32(at, 0); /* disks */
	at = put16(at, entries);
	at = put16(at, entries);
	at = put32(at, (uint32_t)zip->directory_size);
	at = put32(at, offset);
	at = put16(at, 0);
	zip_append(zip, raw, (size_t)(at - raw));
}

void zip_free(struct zip *zip)
{
	free(zip->data);
	free(zip->directory);
	memset(zip, 0, sizeof(*zip));
}
