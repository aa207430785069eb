/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/keyring.h"
#include "host/control_client.h"
#include "host/function.h"
#include "host/operations/operation.h"
#include "host/store/accounts.h"

#define PAGE          1000
#define TRIES         8
#define START_TRIES   50
#define START_WAIT_US 100000

static json_t *failed(const struct thaw_error *err)
{
	return json_pack("{s:s}", "error", err->message);
}

/* A new key for an account: its secret is in the answer, and nowhere else in the clear. */
static json_t *key_make(const struct thaw_admin *admin, const char *account)
{
	char id[THAW_ACCESS_KEY_ID], secret[THAW_ACCESS_KEY_SECRET];
	uint8_t sealed[THAW_SEALED_MAX];
	struct thaw_error err = {0};
	struct thaw_access_key key = {
		.id = id,
		.account = (char *)account,
		.sealed = {.data = sealed},
		.created_ms = thaw_now_ms(),
	};
	int rc = -EEXIST;

	for (int i = 0; i < TRIES && rc == -EEXIST; i++) {
		rc = thaw_access_key_make(id, secret, &err);
		if (rc == 0)
			rc = thaw_keyring_seal(admin->keyring, id, secret, strlen(secret), sealed,
					       &key.sealed.size, &err);
		if (rc == 0)
			rc = thaw_access_keys_create(admin->store, &key, &err);
	}
	json_t *answer = rc < 0 ? failed(&err)
				: json_pack("{s:s, s:s, s:s}", "account", account, "accessKeyId",
					    id, "secretAccessKey", secret);
	explicit_bzero(secret, sizeof(secret));
	return answer;
}

static json_t *account_create(const struct thaw_admin *admin, const char *name)
{
	char id[THAW_ACCOUNT_ID];
	struct thaw_account account = {.id = id, .name = (char *)name, .created_ms = thaw_now_ms()};
	struct thaw_error err = {0};
	int rc = -EEXIST;

	if (!thaw_name_valid(name)) {
		thaw_error_set(&err, EINVAL,
			       "\"%s\" is not a name: 1 to 64 letters, digits, \"-\" and \"_\"",
			       name);
		return failed(&err);
	}
	if (thaw_accounts_find_name(admin->store, name, NULL, &err) == 0) {
		thaw_error_set(&err, EEXIST,
			       "there is an account \"%s\" already (thaw account key %s makes "
			       "another key for it)",
			       name, name);
		return failed(&err);
	}
	for (int i = 0; i < TRIES && rc == -EEXIST; i++) {
		rc = thaw_account_id_make(id, &err);
		if (rc == 0)
			rc = thaw_accounts_create(admin->store, &account, &err);
	}
	return rc < 0 ? failed(&err) : key_make(admin, id);
}

static json_t *account_key(const struct thaw_admin *admin, const char *name)
{
	struct thaw_account account = {0};
	struct thaw_error err = {0};

	if (thaw_accounts_find_name(admin->store, name, &account, &err) < 0)
		return failed(&err);
	json_t *answer = key_make(admin, account.id);
	thaw_account_clear(&account);
	return answer;
}

static json_t *keys_of(const struct thaw_admin *admin, const char *account)
{
	struct thaw_access_key *keys;
	json_t *list = json_array();
	size_t count;

	if (thaw_access_keys_list(admin->store, account, NULL, PAGE, &keys, &count, NULL) < 0)
		return list;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:b}", "id", keys[i].id, "disabled",
						      (int)keys[i].disabled));
	thaw_access_keys_free(keys, count);
	return list;
}

static json_t *account_list(const struct thaw_admin *admin)
{
	json_t *list = json_array();
	cleanup_free char *after = NULL;
	struct thaw_error err = {0};
	struct thaw_account *page;
	size_t count;
	int more;

	do {
		more = thaw_accounts_list(admin->store, after, PAGE, &page, &count, &err);
		if (more < 0) {
			json_decref(list);
			return failed(&err);
		}
		for (size_t i = 0; i < count; i++)
			json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "id", page[i].id,
							      "name", page[i].name, "keys",
							      keys_of(admin, page[i].id)));
		free(after);
		after = count ? strdup(page[count - 1].name) : NULL;
		thaw_accounts_free(page, count);
	} while (more && after);
	return json_pack("{s:o}", "accounts", list);
}

static json_t *key_disable(const struct thaw_admin *admin, const char *id, bool disabled)
{
	struct thaw_error err = {0};

	int rc = thaw_access_keys_set_disabled(admin->store, id, disabled, &err);
	return rc < 0 ? failed(&err) : json_pack("{s:s}", "accessKeyId", id);
}

json_t *thaw_admin_perform(const struct thaw_admin *admin, const json_t *request, bool *changed)
{
	const char *what = json_string_value(json_object_get(request, "do"));
	const char *name = json_string_value(json_object_get(request, "name"));

	*changed = false;
	if (!what)
		what = "";
	if (strcmp(what, "account-list") == 0)
		return account_list(admin);
	if (!name)
		return json_pack("{s:s}", "error", "a name is needed");
	*changed = true;
	if (strcmp(what, "account-create") == 0)
		return account_create(admin, name);
	if (strcmp(what, "account-key") == 0)
		return account_key(admin, name);
	if (strcmp(what, "key-disable") == 0)
		return key_disable(admin, name, true);
	if (strcmp(what, "key-enable") == 0)
		return key_disable(admin, name, false);
	*changed = false;
	return json_pack("{s:s+}", "error", "unknown request: ", what);
}

/* --- the command --- */

/* Without a daemon: on the store, which nobody else has open then. */
static json_t *perform_here(const char *data, const json_t *request, bool *busy)
{
	struct thaw_admin admin = {NULL, NULL};
	struct thaw_error err = {0};
	struct thaw_account *accounts;
	json_t *answer = NULL;
	size_t count = 0;
	bool changed;

	int rc = thaw_store_open(&admin.store, data, &err);
	*busy = rc == -EBUSY;
	/* A host that has accounts must not get a new key silently. */
	if (rc == 0)
		rc = thaw_accounts_list(admin.store, NULL, 1, &accounts, &count, &err);
	if (rc >= 0) {
		thaw_accounts_free(accounts, count);
		cleanup_close int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = thaw_keyring_open(&admin.keyring, dir, count == 0, &err);
	}
	if (rc == 0)
		answer = thaw_admin_perform(&admin, request, &changed);
	else
		answer = failed(&err);
	thaw_keyring_close(admin.keyring);
	thaw_store_close(admin.store);
	return answer;
}

/* A daemon that starts has the store before it answers: it is waited for. */
static json_t *ask(const char *data, const json_t *request, struct thaw_error *err)
{
	json_t *answer = thaw_control_ask(data, request, err);

	for (int i = 0; !answer && err->code == ENOENT && i < START_TRIES; i++) {
		bool busy;
		answer = perform_here(data, request, &busy);
		if (!busy)
			break;
		usleep(START_WAIT_US);
		json_t *later = thaw_control_ask(data, request, err);
		if (later) {
			json_decref(answer);
			return later;
		}
		if (i + 1 < START_TRIES) {
			json_decref(answer);
			answer = NULL;
		}
	}
	return answer;
}

static void print_key(const json_t *answer, bool env, const char *region, const char *endpoint)
{
	const char *id = json_string_value(json_object_get(answer, "accessKeyId"));
	const char *secret = json_string_value(json_object_get(answer, "secretAccessKey"));
	const char *account = json_string_value(json_object_get(answer, "account"));

	if (env)
		printf("export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n"
		       "export AWS_DEFAULT_REGION=%s\nexport AWS_ENDPOINT_URL=%s\n"
		       "export THAW_ACCOUNT=%s\n",
		       id, secret, region, endpoint, account);
	else
		printf("account            %s\naccess key id      %s\nsecret access key  %s\n\n"
		       "The secret is shown this once.\n",
		       account, id, secret);
}

static void print_accounts(const json_t *answer)
{
	size_t i, k;
	json_t *account, *key;

	json_array_foreach(json_object_get(answer, "accounts"), i, account)
	{
		printf("%s  %s\n", json_string_value(json_object_get(account, "id")),
		       json_string_value(json_object_get(account, "name")));
		json_array_foreach(json_object_get(account, "keys"), k, key) printf(
			"              %s%s\n", json_string_value(json_object_get(key, "id")),
			json_is_true(json_object_get(key, "disabled")) ? "  disabled" : "");
	}
}

static const char usage[] =
	"Usage: thaw account create NAME [--env]    a tenant, and its first access key\n"
	"       thaw account key NAME [--env]       another access key for it\n"
	"       thaw account ls\n"
	"       thaw account disable KEY-ID         the key is refused from now on\n"
	"       thaw account enable KEY-ID\n"
	"\n"
	"Options:\n"
	"  --data DIR   of thawd (default /var/lib/thaw)\n"
	"  --env        as lines for a shell: eval \"$(thaw account create me --env)\"\n"
	"\n"
	"A secret access key is printed when it is made, and never again.\n";

int thaw_admin_command(const char *data, const char *region, const char *endpoint, int argc,
		       char *argv[])
{
	static const struct {
		const char *word, *request;
		bool named;
	} commands[] = {
		{"create", "account-create", true}, {"key", "account-key", true},
		{"ls", "account-list", false},      {"disable", "key-disable", true},
		{"enable", "key-enable", true},
	};
	const char *name = NULL, *request = NULL;
	bool env = false, named = false;
	struct thaw_error err = {0};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			fputs(usage, stdout);
			return 0;
		}
		if (strcmp(argv[i], "--env") == 0)
			env = true;
		else if (strcmp(argv[i], "--data") == 0 && i + 1 < argc)
			data = argv[++i];
		else if (argc > 1 && i > 1 && !name && argv[i][0] != '-')
			name = argv[i];
	}
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].word) == 0) {
			request = commands[i].request;
			named = commands[i].named;
		}
	}
	if (!request || named != (name != NULL)) {
		fputs(usage, stderr);
		return 2;
	}
	json_t *asked = json_pack("{s:s, s:s*}", "do", request, "name", name);
	json_t *answer = ask(data, asked, &err);
	json_decref(asked);
	const char *error =
		answer ? json_string_value(json_object_get(answer, "error")) : err.message;
	int code = error ? 5 : 0;
	if (error)
		fprintf(stderr, "thaw: account %s: %s\n", argv[1], error);
	else if (json_object_get(answer, "secretAccessKey"))
		print_key(answer, env, region, endpoint);
	else
		print_accounts(answer);
	json_decref(answer);
	return code;
}
