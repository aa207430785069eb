/* SPDX-License-Identifier: Apache-2.0 */
#include "service_store_harness.h"

#include <fcntl.h>
#include <unistd.h>

#include "host/state.h"
#include "host/store/accounts.h"

_Thread_local struct thaw_error store_error;

int store_setup_dir(void **state)
{
	struct store_fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	if (!f)
		return -1;
	snprintf(f->dir, sizeof(f->dir), "%s/thaw-store-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(f->dir)) {
		free(f);
		return -1;
	}
	*state = f;
	return 0;
}

int store_setup(void **state)
{
	if (store_setup_dir(state) < 0)
		return -1;
	struct store_fixture *f = *state;
	struct thaw_account account = {.id = (char *)ACCOUNT, .name = (char *)"one"};
	struct thaw_account other = {.id = (char *)OTHER, .name = (char *)"two"};

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	assert_ok(thaw_accounts_create(f->store, &account, ERR));
	assert_ok(thaw_accounts_create(f->store, &other, ERR));
	return 0;
}

int store_teardown(void **state)
{
	struct store_fixture *f = *state;

	thaw_store_close(f->store);
	thaw_remove_tree(AT_FDCWD, f->dir);
	free(f);
	return 0;
}

void store_reopen(struct store_fixture *f)
{
	thaw_store_close(f->store);
	f->store = NULL;
	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
}

const char *store_path(const struct store_fixture *f, const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return path;
}

struct thaw_function_item store_item(const char *account, const char *name)
{
	return (struct thaw_function_item){
		.function = {.account = (char *)account,
			     .name = (char *)name,
			     .reserved = THAW_STORE_UNSET,
			     .tags = (char *)"{}",
			     .created_ms = 1000},
		.version = {.config = (char *)"{\"MemorySize\":128}",
			    .description = (char *)"",
			    .code_digest = (char *)"digest",
			    .code_sha256 = (char *)"sha",
			    .code_size = 100,
			    .layer_digests = (char *)"[]",
			    .state = (char *)"Pending",
			    .state_reason = (char *)"The function is being created.",
			    .state_reason_code = (char *)"Creating",
			    .last_update_status = (char *)"Successful",
			    .last_modified_ms = 1000},
	};
}

int64_t store_function(struct thaw_store *store, const char *account, const char *name)
{
	struct thaw_function_item item = store_item(account, name);
	struct thaw_function_item made;

	assert_ok(thaw_functions_create(store, &item, &made, ERR));
	int64_t id = made.function.id;
	thaw_function_item_clear(&made);
	return id;
}

void store_change(struct thaw_store *store, int64_t function_id, const char *digest)
{
	struct thaw_version_record next = store_item("", "").version;

	next.code_digest = (char *)digest;
	assert_ok(thaw_versions_update(store, function_id, &next, NULL, NULL, ERR));
}

int64_t store_publish(struct thaw_store *store, int64_t function_id, const char *digest)
{
	struct thaw_version_publish publish = {.state = "Active", .now_ms = 2000};
	struct thaw_version_record made;
	struct thaw_error err = {0};

	store_change(store, function_id, digest);
	if (thaw_versions_publish(store, function_id, &publish, &made, &err) != 1)
		fail_msg("%s", err.message);
	int64_t number = made.version;
	thaw_version_clear(&made);
	return number;
}
