/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts, access keys, and the limits of pages. */
#include <errno.h>

#include "service_store_harness.h"
#include "host/store/accounts.h"

static int add(struct thaw_store *store, const char *id, const char *name)
{
	struct thaw_account account = {.id = (char *)id, .name = (char *)name, .created_ms = 5};

	return thaw_accounts_create(store, &account, ERR);
}

static void test_accounts(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_account account;

	assert_int_equal(add(f->store, "12345678901", "a"), -EINVAL);
	assert_int_equal(add(f->store, "1234567890123", "a"), -EINVAL);
	assert_int_equal(add(f->store, "12345678901x", "a"), -EINVAL);
	assert_int_equal(add(f->store, "", "a"), -EINVAL);
	assert_int_equal(add(f->store, NULL, "a"), -EINVAL);
	assert_int_equal(add(f->store, "000000000001", ""), -EINVAL);
	assert_int_equal(add(f->store, ACCOUNT, "a"), -EEXIST);
	assert_int_equal(add(f->store, "000000000001", "one"), -EEXIST);
	assert_non_null(strstr(store_error.message, "\"one\""));
	assert_ok(add(f->store, "000000000001", "'; DROP TABLE accounts; --"));
	assert_ok(thaw_accounts_find_name(f->store, "'; DROP TABLE accounts; --", &account, ERR));
	assert_string_equal(account.id, "000000000001");
	assert_int_equal(account.created_ms, 5);
	thaw_account_clear(&account);
	assert_null(account.id);
	store_reopen(f);
	assert_ok(thaw_accounts_find(f->store, ACCOUNT, &account, ERR));
	assert_string_equal(account.name, "one");
	thaw_account_clear(&account);
	assert_int_equal(thaw_accounts_find(f->store, "999999999999", &account, ERR), -ENOENT);
	assert_int_equal(thaw_accounts_find_name(f->store, "ONE", &account, ERR), -ENOENT);
	assert_int_equal(thaw_accounts_find_name(f->store, "%", &account, ERR), -ENOENT);
}

static void test_keys(void **state)
{
	struct store_fixture *f = *state;
	uint8_t sealed[] = {0, 1, 2, 0, 0xff};
	struct thaw_access_key key = {.id = (char *)"AKIAONE",
				      .account = (char *)ACCOUNT,
				      .sealed = {.data = sealed, .size = sizeof(sealed)},
				      .created_ms = 7};
	struct thaw_access_key found, *list;
	size_t count;

	assert_ok(thaw_access_keys_create(f->store, &key, ERR));
	assert_int_equal(thaw_access_keys_create(f->store, &key, ERR), -EEXIST);
	key.id = (char *)"AKIATWO";
	key.sealed.size = 0;
	assert_ok(thaw_access_keys_create(f->store, &key, ERR));
	key.id = (char *)"AKIATHREE";
	key.account = (char *)"999999999999";
	assert_int_equal(thaw_access_keys_create(f->store, &key, ERR), -ENOENT);
	assert_non_null(strstr(store_error.message, "no account \"999999999999\""));

	assert_ok(thaw_access_keys_find(f->store, "AKIAONE", &found, ERR));
	assert_int_equal(found.sealed.size, sizeof(sealed));
	assert_memory_equal(found.sealed.data, sealed, sizeof(sealed));
	assert_string_equal(found.account, ACCOUNT);
	assert_false(found.disabled);
	thaw_access_key_clear(&found);
	assert_int_equal(thaw_access_keys_find(f->store, "akiaone", &found, ERR), -ENOENT);
	assert_ok(thaw_access_keys_set_disabled(f->store, "AKIAONE", true, ERR));
	assert_int_equal(thaw_access_keys_set_disabled(f->store, "AKIA", true, ERR), -ENOENT);
	assert_int_equal(thaw_access_keys_list(f->store, ACCOUNT, NULL, 1, &list, &count, ERR), 1);
	assert_int_equal(count, 1);
	assert_string_equal(list[0].id, "AKIAONE");
	assert_true(list[0].disabled);
	thaw_access_keys_free(list, count);
	assert_int_equal(thaw_access_keys_list(f->store, ACCOUNT, "AKIAONE", 1, &list, &count, ERR),
			 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].sealed.size, 0);
	assert_non_null(list[0].sealed.data);
	thaw_access_keys_free(list, count);
	assert_int_equal(thaw_access_keys_list(f->store, OTHER, NULL, 10, &list, &count, ERR), 0);
	assert_int_equal(count, 0);
	thaw_access_keys_free(list, count);
}

static void test_pages(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_account *list;
	struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	size_t count;
	char id[16], name[16], after[16];

	assert_int_equal(thaw_accounts_list(f->store, NULL, 0, &list, &count, ERR), -EINVAL);
	assert_int_equal(
		thaw_accounts_list(f->store, NULL, THAW_STORE_PAGE_MAX + 1, &list, &count, ERR),
		-EINVAL);
	assert_int_equal(thaw_accounts_list(f->store, NULL, (size_t)-1, &list, &count, ERR),
			 -EINVAL);
	assert_int_equal(
		thaw_accounts_list(f->store, NULL, THAW_STORE_PAGE_MAX, &list, &count, ERR), 0);
	assert_int_equal(count, 2);
	thaw_accounts_free(list, count);

	assert_ok(thaw_store_begin(&scope, f->store, ERR));
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "%012d", i);
		snprintf(name, sizeof(name), "n%03d", (i * 37) % 100);
		assert_ok(add(f->store, id, name));
	}
	assert_ok(thaw_store_commit(&scope, ERR));
	/* 100 by 25: the last full page knows that it is the last but for "one" and "two". */
	strcpy(after, "");
	for (int page = 0, next = 0; page < 5; page++) {
		int rc = thaw_accounts_list(f->store, after, 25, &list, &count, ERR);
		assert_int_equal(rc, page < 4 ? 1 : 0);
		assert_int_equal(count, page < 4 ? 25 : 2);
		for (size_t i = 0; page < 4 && i < count; i++) {
			snprintf(name, sizeof(name), "n%03d", next++);
			assert_string_equal(list[i].name, name);
		}
		snprintf(after, sizeof(after), "%s", list[count - 1].name);
		thaw_accounts_free(list, count);
	}
	assert_int_equal(thaw_accounts_list(f->store, NULL, 102, &list, &count, ERR), 0);
	assert_int_equal(count, 102);
	thaw_accounts_free(list, count);
	assert_int_equal(thaw_accounts_list(f->store, NULL, 101, &list, &count, ERR), 1);
	thaw_accounts_free(list, count);
	/* A marker that is gone is as good as one that is there. */
	assert_int_equal(thaw_accounts_list(f->store, "n098x", 2, &list, &count, ERR), 1);
	assert_string_equal(list[0].name, "n099");
	thaw_accounts_free(list, count);
	assert_int_equal(thaw_accounts_list(f->store, "zzz", 2, &list, &count, ERR), 0);
	assert_int_equal(count, 0);
	thaw_accounts_free(list, count);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_accounts),
		with_store(test_keys),
		with_store(test_pages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
