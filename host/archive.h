/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deployment package: a ZIP file (PKWARE APPNOTE 6.3) with a function's code or a layer, as
 * `aws lambda create-function --zip-file` sends it, unpacked into a folder.
 *
 * It is the user's and may be hostile. What a folder of code may hold (host/code.h) is all that
 * can come of it: folders 0755, files 0644 or 0755, links; never a device, a hard link, a set-uid
 * bit or an owner. Every entry is opened beneath the folder, through no link (openat2(2)), and
 * what counts against the limits is what was written, whatever headers say.
 *
 * Refused, with the name of the entry: names and links that host/archive_name.h refuses, special
 * files (but the entry of a pipe is a file: so Info-ZIP writes what it read from one), a file where
 * a folder is needed and the reverse, anything below a link, encrypted entries, compression other
 * than deflate, sizes and checksums that are not so, entries that share their bytes.
 *
 * A name ends at its first 0 byte. One without a slash has its backslashes taken for slashes, as
 * archivers of Windows mean them, before it is checked; one marked as UTF-8 is composed (Unicode
 * NFC). Of two files or links of one name the later in the archive wins, as it does over what was
 * in the folder before: so layers are laid over one another. Entries are what the central
 * directory lists; what it does not list, or lies before or up to 16 KiB behind the archive, is
 * not looked at.
 */
#ifndef THAW_HOST_ARCHIVE_H
#define THAW_HOST_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "host/digest.h"

struct thaw_error;

/* Of the file itself, as AWS Lambda takes it directly. */
#define THAW_ARCHIVE_SIZE_MAX 52428800

/* The `size` bytes at `data`; or, where that is NULL, the regular file `fd`, whose offset does not
 * matter and stays. Both are the caller's. */
struct thaw_archive {
	const uint8_t *data;
	size_t size;
	int fd;
};

enum thaw_archive_fault {
	THAW_ARCHIVE_HOST,             /* not the archive's: no space, no memory, ... */
	THAW_ARCHIVE_PACKED_TOO_LARGE, /* over THAW_ARCHIVE_SIZE_MAX */
	THAW_ARCHIVE_DAMAGED,          /* not a ZIP, cut short, a wrong checksum, ... */
	THAW_ARCHIVE_EMPTY,            /* no entries */
	THAW_ARCHIVE_REFUSED,          /* an entry that code may not have, or too many */
	THAW_ARCHIVE_TOO_LARGE,        /* unpacked */
};

/* What clients of AWS Lambda are told of a fault, all of them with InvalidParameterValueException;
 * NULL for THAW_ARCHIVE_HOST. */
const char *thaw_archive_fault_text(enum thaw_archive_fault fault);

/* What may still be unpacked: an unpacking takes off what it wrote, so that archives which share
 * a limit (a function and its layers) are unpacked with one of these. Links count with the length
 * of their targets, what is replaced by a later entry counts too. */
struct thaw_unpack {
	uint64_t bytes;
	uint32_t entries;              /* files, folders and links, folders only implied too */
	enum thaw_archive_fault fault; /* set when unpacking fails */
};

/* As the contract allows for a function and its layers together. */
#define THAW_UNPACK_WHOLE                                                                          \
	{                                                                                          \
		.bytes = THAW_CODE_SIZE_MAX, .entries = THAW_CODE_ENTRIES_MAX                      \
	}

/* Unpacks into the folder `dir`, where nobody else may write meanwhile. On failure the folder
 * holds part of the archive. -EFBIG when a limit is reached, -EINVAL for the archive's other
 * faults; the error of the host otherwise. */
int thaw_archive_unpack(const struct thaw_archive *archive, int dir, struct thaw_unpack *unpack,
			struct thaw_error *err);

/* CodeSha256 of the Lambda API: base64 of the SHA-256 of the ZIP file. */
int thaw_archive_sha256(const struct thaw_archive *archive, char text[THAW_DIGEST_BASE64],
			struct thaw_error *err);

#endif
