/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/snapshot/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/error.h"
#include "lib/fd.h"

/* Six vCPUs and a dozen devices are some 100 KiB. */
#define STATE_SIZE_MAX (4u << 20)

struct state_header {
	char magic[8];
	uint32_t version;
	uint32_t size;     /* of what follows */
	uint64_t checksum; /* of what follows */
};

int thaw_state_write(const Thaw__Snapshot__State *state, int fd, struct thaw_error *err)
{
	size_t size = thaw__snapshot__state__get_packed_size(state);
	struct state_header header = {.version = THAW_STATE_VERSION, .size = (uint32_t)size};
	cleanup_free uint8_t *data = malloc(sizeof(header) + size);

	if (size > STATE_SIZE_MAX)
		return thaw_error_set(err, EFBIG, "a state of %zu bytes", size);
	if (!data)
		return thaw_error_errno(err, ENOMEM, "writing the state");
	memcpy(header.magic, THAW_STATE_MAGIC, sizeof(header.magic));
	thaw__snapshot__state__pack(state, data + sizeof(header));
	header.checksum = XXH3_64bits(data + sizeof(header), size);
	memcpy(data, &header, sizeof(header));
	int rc = thaw_pwrite_full(fd, data, sizeof(header) + size, 0);
	return rc < 0 ? thaw_error_errno(err, -rc, "writing the state") : 0;
}

static int state_parse(const uint8_t *data, size_t size, Thaw__Snapshot__State **state,
		       struct thaw_error *err)
{
	struct state_header header;

	if (size < sizeof(header))
		return thaw_error_set(err, EBADMSG, "%zu bytes are too few", size);
	memcpy(&header, data, sizeof(header));
	if (memcmp(header.magic, THAW_STATE_MAGIC, sizeof(header.magic)))
		return thaw_error_set(err, EBADMSG, "not a machine's state");
	if (header.version != THAW_STATE_VERSION)
		return thaw_error_set(err, ENOTSUP, "version %u, this program reads version %u",
				      header.version, THAW_STATE_VERSION);
	if (header.size != size - sizeof(header))
		return thaw_error_set(err, EBADMSG, "%zu bytes where %u are meant",
				      size - sizeof(header), header.size);
	if (header.checksum != XXH3_64bits(data + sizeof(header), header.size))
		return thaw_error_set(err, EBADMSG,
				      "the checksum does not match: the file is damaged");
	*state = thaw__snapshot__state__unpack(NULL, header.size, data + sizeof(header));
	if (!*state)
		return thaw_error_set(err, EBADMSG, "not a protobuf message of the right type");
	return 0;
}

int thaw_state_read(int fd, Thaw__Snapshot__State **state, struct thaw_error *err)
{
	cleanup_free uint8_t *data = NULL;
	size_t size;
	int rc =
		thaw_read_file(fd, sizeof(struct state_header) + STATE_SIZE_MAX, &data, &size, err);

	if (rc == 0)
		rc = state_parse(data, size, state, err);
	return rc < 0 ? thaw_error_wrap(err, "machine state") : 0;
}
