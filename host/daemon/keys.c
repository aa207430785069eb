/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/keys.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/api/api_error.h"
#include "host/api/http.h"
#include "host/keyring.h"
#include "host/api/route.h"
#include "host/api/sigv4.h"
#include "host/daemon/service.h"
#include "host/store/accounts.h"
#include "lib/error.h"
#include "lib/fd.h"

#define PAGE 1000

struct key {
	char id[THAW_ACCESS_KEY_ID];
	char account[THAW_ACCOUNT_ID];
	uint8_t sealed[THAW_SEALED_MAX];
	size_t size;
};

struct key_list {
	struct key *keys; /* sorted by id */
	size_t count;
};

struct thaw_keys {
	struct thaw_service *service;
	pthread_rwlock_t lock;
	struct key_list list;
};

/* A call's: what its head claims, and later whose it is. */
struct caller {
	struct thaw_sigv4_claim claim;
	char account[THAW_ACCOUNT_ID];
};

static int key_order(const void *a, const void *b)
{
	return strcmp(((const struct key *)a)->id, ((const struct key *)b)->id);
}

static int key_id_order(const void *id, const void *key)
{
	return strcmp(id, ((const struct key *)key)->id);
}

static int list_add(struct key_list *list, const struct thaw_access_key *record)
{
	if (record->disabled || record->sealed.size > THAW_SEALED_MAX)
		return 0;
	if ((list->count & (list->count + 1)) == 0) {
		struct key *more = realloc(list->keys, (2 * list->count + 2) * sizeof(*list->keys));
		if (!more)
			return -ENOMEM;
		list->keys = more;
	}
	struct key *key = &list->keys[list->count++];
	snprintf(key->id, sizeof(key->id), "%s", record->id);
	snprintf(key->account, sizeof(key->account), "%s", record->account);
	memcpy(key->sealed, record->sealed.data, record->sealed.size);
	key->size = record->sealed.size;
	return 0;
}

static int list_add_account(struct key_list *list, struct thaw_store *store, const char *account,
			    struct thaw_error *err)
{
	char after[THAW_ACCESS_KEY_ID] = "";
	struct thaw_access_key *page;
	size_t count;
	int more;

	do {
		more = thaw_access_keys_list(store, account, *after ? after : NULL, PAGE, &page,
					     &count, err);
		if (more < 0)
			return more;
		int rc = 0;
		for (size_t i = 0; i < count && rc == 0; i++)
			rc = list_add(list, &page[i]);
		if (count)
			snprintf(after, sizeof(after), "%s", page[count - 1].id);
		thaw_access_keys_free(page, count);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "reading access keys");
	} while (more);
	return 0;
}

static int list_read(struct key_list *list, struct thaw_store *store, struct thaw_error *err)
{
	cleanup_free char *after = NULL;
	struct thaw_account *page;
	size_t count;
	int more;

	do {
		more = thaw_accounts_list(store, after, PAGE, &page, &count, err);
		if (more < 0)
			return more;
		int rc = 0;
		for (size_t i = 0; i < count && rc == 0; i++)
			rc = list_add_account(list, store, page[i].id, err);
		free(after);
		after = count ? strdup(page[count - 1].name) : NULL;
		thaw_accounts_free(page, count);
		if (rc < 0)
			return rc;
		if (more && !after)
			return thaw_error_errno(err, ENOMEM, "reading accounts");
	} while (more);
	if (list->count)
		qsort(list->keys, list->count, sizeof(*list->keys), key_order);
	return 0;
}

int thaw_keys_reload(struct thaw_keys *keys, struct thaw_error *err)
{
	struct key_list list = {NULL, 0};

	int rc = list_read(&list, keys->service->store, err);
	if (rc < 0) {
		free(list.keys);
		return rc;
	}
	pthread_rwlock_wrlock(&keys->lock);
	struct key_list old = keys->list;
	keys->list = list;
	pthread_rwlock_unlock(&keys->lock);
	free(old.keys);
	return 0;
}

struct thaw_keys *thaw_keys_new(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_keys *keys = calloc(1, sizeof(*keys));

	if (!keys) {
		thaw_error_errno(err, ENOMEM, "access keys");
		return NULL;
	}
	keys->service = service;
	pthread_rwlock_init(&keys->lock, NULL);
	if (thaw_keys_reload(keys, err) == 0)
		return keys;
	thaw_keys_free(keys);
	return NULL;
}

void thaw_keys_free(struct thaw_keys *keys)
{
	if (!keys)
		return;
	pthread_rwlock_destroy(&keys->lock);
	free(keys->list.keys);
	free(keys);
}

/* A copy, so that nothing is locked while it is used. */
static bool keys_find(struct thaw_keys *keys, const char *id, struct key *key)
{
	pthread_rwlock_rdlock(&keys->lock);
	const struct key *found = keys->list.count ? bsearch(id, keys->list.keys, keys->list.count,
							     sizeof(*keys->list.keys), key_id_order)
						   : NULL;
	if (found)
		*key = *found;
	pthread_rwlock_unlock(&keys->lock);
	return found;
}

/* thaw_sigv4_secret. An unknown key costs what opening one costs. */
static int keys_secret(void *opaque, const char *key_id, const char *token,
		       char secret[THAW_SIGV4_SECRET])
{
	struct thaw_service *service = opaque;
	struct key key = {.size = THAW_ACCESS_KEY_SECRET - 1 + THAW_SEALED_OVERHEAD, .sealed = {1}};
	char opened[THAW_SEALED_SECRET_MAX + 1];
	size_t size;

	bool known = keys_find(service->keys, key_id, &key) && !*token;
	int rc = thaw_keyring_unseal(service->keyring, key_id, key.sealed, key.size, opened, &size,
				     NULL);
	if (known && rc == 0)
		snprintf(secret, THAW_SIGV4_SECRET, "%s", opened);
	explicit_bzero(opened, sizeof(opened));
	return known ? rc : -ENOENT;
}

static void keys_policy(const struct thaw_service *service, const struct thaw_http_request *request,
			struct thaw_sigv4_policy *policy)
{
	*policy = (struct thaw_sigv4_policy){
		.service = "lambda",
		.region = service->config->region,
		.now = time(NULL),
		.skew = THAW_SIGV4_SKEW,
		.unsigned_payload = service->config->unsigned_payload && request->loopback,
	};
}

static void keys_request(const struct thaw_http_request *http, struct thaw_sigv4_request *request)
{
	/* The two structs of a header are the same: names and values. */
	_Static_assert(sizeof(struct thaw_http_header) == sizeof(struct thaw_sigv4_header), "");
	*request = (struct thaw_sigv4_request){
		.method = http->method,
		.path = http->path,
		.query = http->query,
		.headers = (const struct thaw_sigv4_header *)http->headers,
		.header_count = http->header_count,
	};
}

static struct thaw_http_response *keys_refuse(const struct thaw_sigv4_outcome *outcome)
{
	return thaw_api_error_response(thaw_sigv4_code(outcome->result), "%s", outcome->message);
}

struct thaw_http_response *thaw_keys_admit(void *opaque, struct thaw_call *call)
{
	struct thaw_service *service = opaque;
	struct caller *caller = calloc(1, sizeof(*caller));
	struct thaw_sigv4_request request;
	struct thaw_sigv4_policy policy;
	struct thaw_sigv4_outcome outcome;

	if (!caller)
		return thaw_api_error_response("ServiceException", "No memory left.");
	call->caller = caller;
	call->caller_free = free;
	if (service->config->no_auth) {
		strcpy(caller->account, service->no_auth_account);
		return NULL;
	}
	keys_request(call->request, &request);
	keys_policy(service, call->request, &policy);
	if (thaw_sigv4_parse(&caller->claim, &request, &outcome) != THAW_SIGV4_ACCEPTED ||
	    thaw_sigv4_check(&caller->claim, &policy, &outcome) != THAW_SIGV4_ACCEPTED)
		return keys_refuse(&outcome);
	return NULL;
}

struct thaw_http_response *thaw_keys_authorize(void *opaque, struct thaw_call *call)
{
	struct thaw_service *service = opaque;
	struct caller *caller = call->caller;
	struct thaw_sigv4_request request;
	struct thaw_sigv4_policy policy;
	struct thaw_sigv4_outcome outcome;
	char body[THAW_DIGEST_TEXT];
	struct key key;

	if (service->config->no_auth)
		return NULL;
	struct thaw_digest *digest = thaw_digest_new();
	if (!digest)
		return thaw_api_error_response("ServiceException", "No memory left.");
	thaw_digest_add(digest, call->request->body, call->request->body_size);
	thaw_digest_finish(digest, body);
	keys_request(call->request, &request);
	keys_policy(service, call->request, &policy);
	if (thaw_sigv4_verify(&caller->claim, &request, &policy, body, keys_secret, service,
			      &outcome) != THAW_SIGV4_ACCEPTED)
		return keys_refuse(&outcome);
	/* Gone since: a key may be disabled at any moment. */
	if (!keys_find(service->keys, caller->claim.key_id, &key)) {
		outcome.result = THAW_SIGV4_UNKNOWN_KEY;
		return keys_refuse(&outcome);
	}
	strcpy(caller->account, key.account);
	return NULL;
}

const char *thaw_call_account(const struct thaw_call *call)
{
	return ((const struct caller *)call->caller)->account;
}
