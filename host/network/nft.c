/* SPDX-License-Identifier: Apache-2.0 */
#include "host/network/nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <string.h>

#include "lib/error.h"

/* The library keeps tables of names for the whole process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int nft_run_locked(const char *text, struct thaw_error *err)
{
	/* A socket of its own, in this thread's namespace. */
	struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);

	if (!context)
		return thaw_error_errno(err, ENOMEM, "nftables");
	nft_ctx_buffer_error(context);
	nft_ctx_buffer_output(context);
	int rc = 0;
	if (nft_run_cmd_from_buffer(context, text) != 0) {
		const char *why = nft_ctx_get_error_buffer(context);
		rc = thaw_error_set(err, EIO, "nftables: %.*s", (int)strcspn(why, "\n"), why);
	}
	nft_ctx_free(context);
	return rc;
}

int thaw_nft_run(const char *text, struct thaw_error *err)
{
	pthread_mutex_lock(&lock);
	int rc = nft_run_locked(text, err);
	pthread_mutex_unlock(&lock);
	return rc;
}
