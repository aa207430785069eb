/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/block.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"
#include "proto/vmm.pb-c.h"
#include "vmm/loop.h"
#include "vmm/token_bucket.h"

#define BLOCK_QUEUE_SIZE 64u
#define BLOCK_SECTOR     512u
#define BLOCK_HEADER     ((uint32_t)sizeof(struct virtio_blk_outhdr))
/* A driver may take a descriptor twice; so the queue's size bounds nothing by itself. */
#define BLOCK_REQUESTS_MAX BLOCK_QUEUE_SIZE
/* Bytes that are moved in one go. A driver may ask for all of a drive in one request and repeat
 * that in every entry of its queue: we would do nothing else for minutes. Linux asks for 1280 KiB.
 */
#define BLOCK_MOVE_MAX (2u << 20)
/* With so many bytes to be moved for requests under way, no further request is taken: a pause has
 * to wait for all of them. */
#define BLOCK_LEFT_MAX (16u << 20)
/* So one request cannot be of any size either: a driver is told of the longest piece, and of the
 * most pieces. A longer request is an error of its own. */
#define BLOCK_PIECES_MAX  (BLOCK_QUEUE_SIZE - 2) /* less header and status */
#define BLOCK_PIECE_MAX   (128u << 10)
#define BLOCK_REQUEST_MAX (BLOCK_PIECES_MAX * BLOCK_PIECE_MAX)
/* Sectors in one discard: 1 GiB. */
#define BLOCK_DISCARD_MAX (1u << 21)

struct thaw_block {
	struct thaw_virtio_device *virtio;
	struct thaw_loop *loop;
	int fd;
	bool writable;
	uint64_t sectors;
	struct virtio_blk_config config;
	struct io_uring ring;
	struct thaw_source completions; /* the ring itself: readable when there are any */
	unsigned int under_way;
	uint64_t left; /* bytes that requests under way have still to move */
	struct thaw_rate_limit limit;
	struct thaw_timer timer; /* until the limit allows another request */
	uint64_t bytes_read, bytes_written;
};

/* One request that is under way. */
struct block_request {
	uint16_t head;
	uint32_t type;
	uint8_t *status; /* the last byte of the writable part, in guest memory */
	uint64_t offset; /* bytes, of what is left */
	uint64_t left;   /* bytes */
	uint32_t moved;
	int mode;            /* of fallocate */
	unsigned int iov_at; /* iov[iov_at..iov_count) is left */
	unsigned int iov_count;
	unsigned int iov_end; /* iov[iov_at..iov_end) is being moved, */
	uint64_t held;        /* less this many bytes of the last of them */
	struct iovec iov[];
};

uint64_t thaw_block_bytes_read(const struct thaw_block *block)
{
	return block->bytes_read;
}

uint64_t thaw_block_bytes_written(const struct thaw_block *block)
{
	return block->bytes_written;
}

static bool request_moves(const struct block_request *request)
{
	return request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_OUT;
}

/* Gives the last range of a part its whole length back. */
static void request_uncut(struct block_request *request)
{
	if (request->held)
		request->iov[request->iov_end - 1].iov_len += request->held;
	request->held = 0;
}

/* Chooses the part that is moved next. */
static void request_part(struct block_request *request)
{
	uint64_t room = BLOCK_MOVE_MAX;

	request_uncut(request);
	request->iov_end = request->iov_at;
	while (request->iov_end < request->iov_count && room) {
		struct iovec *iov = &request->iov[request->iov_end++];
		if (iov->iov_len > room) {
			request->held = iov->iov_len - room;
			iov->iov_len = room;
		}
		room -= iov->iov_len;
	}
}

/* Hands what is to be done next to the ring. There is room: one entry a request. */
static void request_submit(struct thaw_block *block, struct block_request *request)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&block->ring);

	request_part(request);
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		io_uring_prep_readv(sqe, block->fd, request->iov + request->iov_at,
				    request->iov_end - request->iov_at, request->offset);
		break;
	case VIRTIO_BLK_T_OUT:
		io_uring_prep_writev(sqe, block->fd, request->iov + request->iov_at,
				     request->iov_end - request->iov_at, request->offset);
		break;
	case VIRTIO_BLK_T_FLUSH:
		io_uring_prep_fsync(sqe, block->fd, IORING_FSYNC_DATASYNC);
		break;
	default:
		io_uring_prep_fallocate(sqe, block->fd, request->mode, (off_t)request->offset,
					(off_t)request->left);
		break;
	}
	io_uring_sqe_set_data(sqe, request);
}

/* Answers the driver, if it is still there to hear. */
static void block_answer(struct thaw_block *block, uint16_t head, uint8_t *status, uint8_t result,
			 uint32_t written)
{
	struct thaw_virtio_device *virtio = block->virtio;
	struct thaw_error err;

	if (!virtio->active)
		return;
	*status = result;
	if (thaw_virtqueue_give(&virtio->queue[0], head, written + 1, &err) < 0)
		thaw_virtio_fail(virtio, "%s", err.message);
}

static void request_end(struct thaw_block *block, struct block_request *request, uint8_t result)
{
	if (request_moves(request))
		block->left -= request->left;
	if (request->type == VIRTIO_BLK_T_IN)
		block->bytes_read += request->moved;
	else if (request->type == VIRTIO_BLK_T_OUT)
		block->bytes_written += request->moved;
	block_answer(block, request->head, request->status, result,
		     request->type == VIRTIO_BLK_T_IN ? request->moved : 0);
	free(request);
	block->under_way--;
}

/* Some of the bytes have been moved: leaves those in `iov` that have not. */
static void request_advance(struct block_request *request, uint64_t size)
{
	request_uncut(request);
	request->moved += (uint32_t)size;
	request->offset += size;
	request->left -= size;
	while (size) {
		struct iovec *iov = &request->iov[request->iov_at];
		size_t part = size < iov->iov_len ? size : iov->iov_len;
		iov->iov_base = (uint8_t *)iov->iov_base + part;
		iov->iov_len -= part;
		size -= part;
		if (iov->iov_len == 0)
			request->iov_at++;
	}
}

static void request_complete(struct thaw_block *block, struct block_request *request, int result)
{
	bool data = request_moves(request);

	if (result == -EAGAIN || result == -EINTR) {
		request_submit(block, request);
	} else if (result == -EOPNOTSUPP && (request->mode & FALLOC_FL_ZERO_RANGE)) {
		/* memfd and tmpfs know holes only; they read as zeros too. */
		request->mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		request_submit(block, request);
	} else if (result < 0 || (data && (result == 0 || (uint64_t)result > request->left))) {
		/* Nothing moved: the file has become shorter than the drive. */
		request_end(block, request,
			    result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
	} else {
		if (data) {
			request_advance(request, (uint64_t)result);
			block->left -= (uint64_t)result;
		}
		/* After a reset nobody wants the rest. */
		if (data && request->left && block->virtio->active)
			request_submit(block, request);
		else
			request_end(block, request, VIRTIO_BLK_S_OK);
	}
}

/* Sends what request_submit has prepared. If the kernel cannot take it now, we come back. */
static void block_submit(struct thaw_block *block)
{
	if (io_uring_sq_ready(&block->ring) == 0)
		return;
	io_uring_submit(&block->ring);
	if (io_uring_sq_ready(&block->ring))
		thaw_virtio_kick_later(block->virtio, 0);
}

/* The count of completions handled. */
static unsigned int block_reap(struct thaw_block *block)
{
	struct io_uring_cqe *cqe;
	unsigned int count = 0;

	while (io_uring_peek_cqe(&block->ring, &cqe) == 0) {
		struct block_request *request = io_uring_cqe_get_data(cqe);
		int result = cqe->res;
		io_uring_cqe_seen(&block->ring, cqe);
		request_complete(block, request, result);
		count++;
	}
	return count;
}

static bool block_within(const struct thaw_block *block, uint64_t sector, uint64_t bytes)
{
	return bytes % BLOCK_SECTOR == 0 && sector <= block->sectors &&
	       bytes / BLOCK_SECTOR <= block->sectors - sector;
}

/* Puts a request under way; its fields but the common ones are the caller's. NULL: no memory. */
static struct block_request *request_new(struct thaw_block *block, const struct thaw_chain *chain,
					 uint32_t type, uint8_t *status, const struct iovec *iov,
					 unsigned int iov_count)
{
	struct block_request *request = malloc(sizeof(*request) + iov_count * sizeof(*iov));

	if (!request)
		return NULL;
	*request = (struct block_request){
		.head = chain->head,
		.type = type,
		.status = status,
		.iov_count = iov_count,
	};
	if (iov_count)
		memcpy(request->iov, iov, iov_count * sizeof(*iov));
	block->under_way++;
	return request;
}

/* The starters below: a status for the driver, or -EINPROGRESS when the answer comes later. */

static int start_data(struct thaw_block *block, const struct thaw_chain *chain,
		      const struct virtio_blk_outhdr *header, uint8_t *status)
{
	struct iovec iov[THAW_VIRTQUEUE_SIZE_MAX];
	bool in = header->type == VIRTIO_BLK_T_IN;
	uint64_t size = in ? chain->writable_size - 1 : chain->readable_size - BLOCK_HEADER;
	unsigned int count = in ? thaw_chain_writable(chain, 0, size, iov)
				: thaw_chain_readable(chain, BLOCK_HEADER, size, iov);

	if ((!in && !block->writable) || !block_within(block, header->sector, size) ||
	    size > BLOCK_REQUEST_MAX)
		return VIRTIO_BLK_S_IOERR;
	if (size == 0)
		return VIRTIO_BLK_S_OK;
	struct block_request *request = request_new(block, chain, header->type, status, iov, count);
	if (!request)
		return VIRTIO_BLK_S_IOERR;
	request->offset = header->sector * BLOCK_SECTOR;
	request->left = size;
	block->left += size;
	thaw_token_bucket_spend(&block->limit.bytes, size);
	request_submit(block, request);
	return -EINPROGRESS;
}

static int start_flush(struct thaw_block *block, const struct thaw_chain *chain, uint8_t *status)
{
	struct block_request *request =
		request_new(block, chain, VIRTIO_BLK_T_FLUSH, status, NULL, 0);

	if (!request)
		return VIRTIO_BLK_S_IOERR;
	request_submit(block, request);
	return -EINPROGRESS;
}

/* DISCARD and WRITE_ZEROES, of the one segment that is offered (5.2.6.1). */
static int start_discard(struct thaw_block *block, const struct thaw_chain *chain, uint32_t type,
			 uint8_t *status)
{
	struct virtio_blk_discard_write_zeroes segment;
	bool zeroes = type == VIRTIO_BLK_T_WRITE_ZEROES;
	uint64_t size;

	if (!block->writable || chain->readable_size != BLOCK_HEADER + sizeof(segment))
		return VIRTIO_BLK_S_IOERR;
	thaw_chain_read(chain, BLOCK_HEADER, &segment, sizeof(segment));
	if (segment.flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	size = (uint64_t)segment.num_sectors * BLOCK_SECTOR;
	if (segment.num_sectors > BLOCK_DISCARD_MAX || !block_within(block, segment.sector, size))
		return VIRTIO_BLK_S_IOERR;
	if (size == 0)
		return VIRTIO_BLK_S_OK;
	struct block_request *request = request_new(block, chain, type, status, NULL, 0);
	if (!request)
		return VIRTIO_BLK_S_IOERR;
	request->offset = segment.sector * BLOCK_SECTOR;
	request->left = size;
	/* What is not to be unmapped stays allocated, where the file system can do that. */
	request->mode = FALLOC_FL_KEEP_SIZE | (zeroes && segment.flags == 0 ? FALLOC_FL_ZERO_RANGE
									    : FALLOC_FL_PUNCH_HOLE);
	request_submit(block, request);
	return -EINPROGRESS;
}

static int block_start(struct thaw_block *block, const struct thaw_chain *chain, uint8_t *status,
		       uint32_t *written)
{
	static const char id[VIRTIO_BLK_ID_BYTES] = "thaw";
	struct virtio_blk_outhdr header;

	if (thaw_chain_read(chain, 0, &header, sizeof(header)) != sizeof(header))
		return VIRTIO_BLK_S_IOERR;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		return start_data(block, chain, &header, status);
	case VIRTIO_BLK_T_FLUSH:
		return start_flush(block, chain, status);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return start_discard(block, chain, header.type, status);
	case VIRTIO_BLK_T_GET_ID:
		if (chain->writable_size != sizeof(id) + 1)
			return VIRTIO_BLK_S_IOERR;
		*written = (uint32_t)thaw_chain_write(chain, 0, id, sizeof(id));
		return VIRTIO_BLK_S_OK;
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Takes one chain. 1: taken; 0: none; negative: the driver broke the rules. */
static int block_take(struct thaw_block *block, struct thaw_error *err)
{
	struct thaw_chain chain;
	uint32_t written = 0;
	int result = VIRTIO_BLK_S_IOERR;
	int rc = thaw_virtqueue_take(&block->virtio->queue[0], &chain, err);

	if (rc == 0 || (rc < 0 && rc != -EFAULT))
		return rc;
	thaw_token_bucket_spend(&block->limit.operations, 1);
	if (chain.writable == 0)
		return thaw_error_set(err, EPROTO, "a request without room for its status");
	const struct iovec *last = &chain.iov[chain.readable + chain.writable - 1];
	uint8_t *status = (uint8_t *)last->iov_base + last->iov_len - 1;
	if (rc > 0 && chain.readable_size < BLOCK_HEADER)
		return thaw_error_set(err, EPROTO, "a request of %llu bytes",
				      (unsigned long long)chain.readable_size);
	if (rc > 0)
		result = block_start(block, &chain, status, &written);
	if (result >= 0)
		block_answer(block, chain.head, status, (uint8_t)result, written);
	return 1;
}

static bool block_full(const struct thaw_block *block)
{
	return block->under_way == BLOCK_REQUESTS_MAX || block->left >= BLOCK_LEFT_MAX;
}

/* Whether the limit allows one more now; if not, it is taken later. A driver that has to wait need
 * not tell of more meanwhile: it is not asked to. */
static bool block_allowed(struct thaw_block *block)
{
	uint64_t due;

	if (thaw_rate_limit_allows(&block->limit, &due))
		return true;
	thaw_loop_set_timer(block->loop, &block->timer, due);
	return false;
}

static void block_pump(struct thaw_block *block)
{
	struct thaw_virtio_device *virtio = block->virtio;
	unsigned int turns = 0;
	struct thaw_error err;

	/* Where requests are at their limit, the end of one of them brings us here again. */
	while (virtio->active && !block_full(block) && block_allowed(block)) {
		if (++turns > BLOCK_QUEUE_SIZE) {
			thaw_virtio_kick_later(virtio, 0);
			break;
		}
		int rc = block_take(block, &err);
		if (rc == 0 && !thaw_virtqueue_rearm(&virtio->queue[0]))
			break;
		if (rc < 0)
			thaw_virtio_fail(virtio, "%s", err.message);
	}
	bool full = block_full(block);
	block_submit(block);
	/* What the page cache had is there already: answered without a turn of the loop. */
	if (block_reap(block)) {
		block_submit(block);
		if (full)
			thaw_virtio_kick_later(virtio, 0);
	}
	thaw_virtio_signal(virtio, 0);
}

static void block_kick(void *device, unsigned int index)
{
	(void)index;
	block_pump(device);
}

static void block_timer(void *opaque)
{
	block_pump(opaque);
}

static void block_completions(void *opaque, uint32_t events)
{
	struct thaw_block *block = opaque;

	(void)events;
	block_reap(block);
	block_pump(block);
}

/* Waits until nothing is under way. What the limit has held back was not taken: nobody waits for
 * that, and a kick, which comes with a resume, looks at it again. */
static void block_drain(void *device)
{
	struct thaw_block *block = device;

	thaw_loop_cancel_timer(block->loop, &block->timer);
	while (block->under_way) {
		io_uring_submit_and_wait(&block->ring, 1);
		block_reap(block);
	}
	if (block->virtio)
		thaw_virtio_signal(block->virtio, 0);
}

static void block_attach(void *device, struct thaw_virtio_device *virtio)
{
	struct thaw_block *block = device;

	block->virtio = virtio;
}

static uint64_t block_features(void *device)
{
	const struct thaw_block *block = device;
	uint64_t features = (1ull << VIRTIO_BLK_F_SIZE_MAX) | (1ull << VIRTIO_BLK_F_SEG_MAX) |
			    (1ull << VIRTIO_BLK_F_BLK_SIZE) | (1ull << VIRTIO_BLK_F_FLUSH);

	if (!block->writable)
		return features | (1ull << VIRTIO_BLK_F_RO);
	return features | (1ull << VIRTIO_BLK_F_DISCARD) | (1ull << VIRTIO_BLK_F_WRITE_ZEROES);
}

static void block_config_read(void *device, uint32_t offset, void *data, unsigned int size)
{
	const struct thaw_block *block = device;

	memcpy(data, (const uint8_t *)&block->config + offset, size);
}

static int block_save(void *device, Thaw__Snapshot__Device *out, struct thaw_error *err)
{
	const struct thaw_block *block = device;
	Thaw__Snapshot__Block *state = malloc(sizeof(*state));

	if (!state)
		return thaw_error_errno(err, ENOMEM, "saving the block device");
	thaw__snapshot__block__init(state);
	state->sectors = block->sectors;
	state->writable = block->writable;
	out->virtio->device_case = THAW__SNAPSHOT__VIRTIO__DEVICE_BLOCK;
	out->virtio->block = state;
	return 0;
}

static int block_restore(void *device, const Thaw__Snapshot__Device *in, bool active,
			 struct thaw_error *err)
{
	const struct thaw_block *block = device;
	const Thaw__Snapshot__Virtio *virtio = in->virtio;

	(void)active;
	if (virtio->device_case != THAW__SNAPSHOT__VIRTIO__DEVICE_BLOCK || !virtio->block)
		return thaw_error_set(err, EPROTO, "the drive is missing from the state");
	if (virtio->block->sectors != block->sectors ||
	    (bool)virtio->block->writable != block->writable)
		return thaw_error_set(
			err, EPROTO, "the snapshot's drive has %llu sectors%s, this one %llu%s",
			(unsigned long long)virtio->block->sectors,
			virtio->block->writable ? "" : ", read-only",
			(unsigned long long)block->sectors, block->writable ? "" : ", read-only");
	return 0;
}

static void block_destroy(void *device)
{
	struct thaw_block *block = device;

	block_drain(block);
	thaw_loop_remove(block->loop, &block->completions);
	io_uring_queue_exit(&block->ring);
	close(block->fd);
	free(block);
}

const struct thaw_virtio_ops thaw_block_ops = {
	.name = "block",
	.device_id = VIRTIO_ID_BLOCK,
	.queues = 1,
	.queue_size_max = BLOCK_QUEUE_SIZE,
	.config_size = sizeof(struct virtio_blk_config),
	.attach = block_attach,
	.features = block_features,
	.config_read = block_config_read,
	.kick = block_kick,
	.reset = block_drain,
	.drain = block_drain,
	.save = block_save,
	.restore = block_restore,
	.destroy = block_destroy,
};

static void block_configure(struct thaw_block *block)
{
	block->config = (struct virtio_blk_config){
		.capacity = block->sectors,
		.size_max = BLOCK_PIECE_MAX,
		.seg_max = BLOCK_PIECES_MAX,
		.blk_size = BLOCK_SECTOR,
	};
	if (!block->writable)
		return;
	block->config.max_discard_sectors = BLOCK_DISCARD_MAX;
	block->config.max_discard_seg = 1;
	block->config.discard_sector_alignment = THAW_PAGE_SIZE / BLOCK_SECTOR;
	block->config.max_write_zeroes_sectors = BLOCK_DISCARD_MAX;
	block->config.max_write_zeroes_seg = 1;
	block->config.write_zeroes_may_unmap = 1;
}

static int block_size(struct thaw_block *block, struct thaw_error *err)
{
	off_t size = lseek(block->fd, 0, SEEK_END);
	int flags = fcntl(block->fd, F_GETFL);

	if (size < 0 || flags < 0)
		return thaw_error_errno(err, errno, "a drive's size");
	if (size < (off_t)BLOCK_SECTOR)
		return thaw_error_set(err, EINVAL, "a drive of %lld bytes", (long long)size);
	if (block->writable && (flags & O_ACCMODE) != O_RDWR)
		return thaw_error_set(err, EINVAL, "a writable drive was opened for reading only");
	block->sectors = (uint64_t)size / BLOCK_SECTOR;
	return 0;
}

int thaw_block_create(struct thaw_block **out, int fd, const struct Thaw__Vmm__Drive *config,
		      struct thaw_loop *loop, struct thaw_error *err)
{
	struct thaw_block *block = calloc(1, sizeof(*block));
	int rc;

	if (!block) {
		close(fd);
		return thaw_error_errno(err, ENOMEM, "making a block device");
	}
	block->fd = fd;
	block->writable = config->writable;
	block->loop = loop;
	block->timer = (struct thaw_timer){.handle = block_timer, .opaque = block};
	rc = block_size(block, err);
	if (rc == 0)
		rc = thaw_rate_limit_init(&block->limit, config->limit, err);
	if (rc == 0) {
		block_configure(block);
		rc = io_uring_queue_init(BLOCK_REQUESTS_MAX, &block->ring, 0);
		if (rc < 0)
			thaw_error_errno(err, -rc, "making an io_uring");
	}
	if (rc < 0) {
		close(fd);
		free(block);
		return rc;
	}
	block->completions = (struct thaw_source){
		.fd = block->ring.ring_fd,
		.events = EPOLLIN,
		.handle = block_completions,
		.opaque = block,
		.locked = true,
	};
	rc = thaw_loop_add(loop, &block->completions, err);
	if (rc < 0) {
		block_destroy(block);
		return rc;
	}
	*out = block;
	return 0;
}
