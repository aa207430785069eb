/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a store: whose file it is, who has it, migrations, damage, a full disk, scopes. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service_store_harness.h"
#include "host/store/accounts.h"
#include "host/store/events.h"
#include "host/store/schema.h"
#include "lib/fd.h"

static void expect_open(const struct store_fixture *f, int code, const char *says)
{
	struct thaw_store *store = NULL;
	struct thaw_error err = {0};

	int rc = thaw_store_open(&store, f->dir, &err);
	if (rc != code || !strstr(err.message, says))
		fail_msg("%d: %s (expected %d: %s)", rc, err.message, code, says);
	assert_null(store);
}

static void sql(const struct store_fixture *f, const char *text)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(store_path(f, "thaw.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static int64_t sql_number(const struct store_fixture *f, const char *text)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *statement = NULL;

	assert_int_equal(sqlite3_open(store_path(f, "thaw.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	int64_t number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return number;
}

static int account_add(struct thaw_store *store, const char *id, struct thaw_error *err)
{
	struct thaw_account account = {.id = (char *)id, .name = (char *)id};

	return thaw_accounts_create(store, &account, err);
}

static void expect_mode(const char *path, unsigned int mode)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void test_modes(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_store *store = NULL;
	struct thaw_error err = {0};
	char dir[300];

	mode_t before = umask(0);
	snprintf(dir, sizeof(dir), "%s/data", f->dir);
	assert_ok(thaw_store_open(&store, dir, ERR));
	assert_ok(account_add(store, ACCOUNT, ERR));
	umask(before);
	expect_mode(store_path(f, "data"), 0700);
	expect_mode(store_path(f, "data/thaw.db"), 0600);
	expect_mode(store_path(f, "data/thaw.db-wal"), 0600);
	expect_mode(store_path(f, "data/thaw.db-shm"), 0600);
	expect_mode(store_path(f, "data/lock"), 0600);
	thaw_store_close(store);
	store = NULL;

	/* A file that somebody opened up is closed again, a directory is refused. */
	assert_int_equal(chmod(store_path(f, "data/thaw.db"), 0644), 0);
	assert_ok(thaw_store_open(&store, dir, ERR));
	expect_mode(store_path(f, "data/thaw.db"), 0600);
	thaw_store_close(store);
	store = NULL;
	assert_int_equal(chmod(dir, 0750), 0);
	assert_int_equal(thaw_store_open(&store, dir, &err), -EPERM);
	assert_non_null(strstr(err.message, "0750"));
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_odd_files(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_store *store = NULL;
	struct thaw_error err = {0};

	assert_int_equal(symlink("/etc/passwd", store_path(f, "thaw.db")), 0);
	expect_open(f, -ELOOP, "thaw.db");
	assert_int_equal(unlink(store_path(f, "thaw.db")), 0);
	assert_int_equal(mkfifo(store_path(f, "thaw.db"), 0600), 0);
	expect_open(f, -EPERM, "not a file");
	assert_int_equal(unlink(store_path(f, "thaw.db")), 0);
	assert_int_equal(unlink(store_path(f, "lock")), 0);
	assert_int_equal(symlink("elsewhere", store_path(f, "lock")), 0);
	expect_open(f, -ELOOP, "lock");
	assert_int_equal(unlink(store_path(f, "lock")), 0);
	assert_int_equal(thaw_store_open(&store, "/nonexistent/data", &err), -ENOENT);
	assert_int_equal(thaw_store_open(&store, "", &err), -ENOENT);
	assert_int_equal(thaw_store_open(&store, "/dev/null", &err), -ENOTDIR);
}

static void test_two_openers(void **state)
{
	struct store_fixture *f = *state;
	int to_child[2], from_child[2];
	char pid[32];

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	snprintf(pid, sizeof(pid), "process %d has it open", (int)getpid());
	expect_open(f, -EBUSY, pid);
	thaw_store_close(f->store);
	f->store = NULL;

	/* The lock dies with its holder, however it dies. */
	assert_int_equal(pipe(to_child), 0);
	assert_int_equal(pipe(from_child), 0);
	pid_t child = fork();
	if (child == 0) {
		struct thaw_store *store = NULL;
		char byte = thaw_store_open(&store, f->dir, NULL) == 0 ? 'y' : 'n';
		if (write(from_child[1], &byte, 1) != 1 || read(to_child[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	char byte = 0;
	assert_int_equal(read(from_child[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	snprintf(pid, sizeof(pid), "process %d has it open", (int)child);
	expect_open(f, -EBUSY, pid);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	for (int i = 0; i < 2; i++) {
		close(to_child[i]);
		close(from_child[i]);
	}
}

static void test_epochs(void **state)
{
	struct store_fixture *f = *state;

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	assert_int_equal(thaw_store_epoch(f->store), 1);
	store_reopen(f);
	assert_int_equal(thaw_store_epoch(f->store), 2);
	assert_ok(thaw_store_check(f->store, ERR));
}

static void test_newer(void **state)
{
	struct store_fixture *f = *state;
	char text[64];

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	thaw_store_close(f->store);
	f->store = NULL;
	snprintf(text, sizeof(text), "PRAGMA user_version = %d", thaw_schema.count + 1);
	sql(f, text);
	expect_open(f, -ENOTSUP, "newer version of Thaw");
	assert_int_equal(sql_number(f, "SELECT epoch FROM host"), 1);
	snprintf(text, sizeof(text), "PRAGMA user_version = %d", thaw_schema.count);
	sql(f, text);
	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
}

static void test_foreign(void **state)
{
	struct store_fixture *f = *state;

	sql(f, "CREATE TABLE t (x)");
	expect_open(f, -ENOTSUP, "another program");
	sql(f, "DROP TABLE t; PRAGMA application_id = 7");
	expect_open(f, -ENOTSUP, "another program");
	sql(f, "PRAGMA application_id = 0; PRAGMA user_version = 1");
	expect_open(f, -ENOTSUP, "another program");
	/* Looking at it has not changed it. */
	assert_int_equal(access(store_path(f, "thaw.db-wal"), F_OK), -1);
	cleanup_close int fd = open(store_path(f, "thaw.db"), O_RDWR | O_TRUNC);
	assert_int_equal(thaw_write_full(fd, "This is a letter, and no database at all.", 41), 0);
	expect_open(f, -EIO, "not a database");
}

static const char *const migrations[] = {
	"CREATE TABLE one (x INTEGER NOT NULL) STRICT; INSERT INTO one VALUES (1);",
	"ALTER TABLE one ADD COLUMN y TEXT; UPDATE one SET y = 'y';",
	"CREATE TABLE two (x INTEGER REFERENCES one); INSERT INTO nothing VALUES (1);",
	"CREATE TABLE two (x INTEGER) STRICT;",
};

static void test_migrations(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_schema schema = {.migrations = migrations, .count = 1};
	struct thaw_error err = {0};

	assert_ok(thaw_store_open_schema(&f->store, f->dir, &schema, ERR));
	thaw_store_close(f->store);
	f->store = NULL;
	assert_int_equal(sql_number(f, "PRAGMA user_version"), 1);
	/* The second is kept, the third leaves no trace. */
	schema.count = 3;
	assert_int_equal(thaw_store_open_schema(&f->store, f->dir, &schema, &err), -EIO);
	assert_non_null(strstr(err.message, "schema 3"));
	assert_int_equal(sql_number(f, "PRAGMA user_version"), 2);
	assert_int_equal(sql_number(f, "SELECT count(*) FROM sqlite_schema"), 1);
	assert_int_equal(sql_number(f, "SELECT count(*) FROM one WHERE y = 'y'"), 1);
	/* An older program refuses it, one with a working third migration goes on. */
	schema.count = 1;
	assert_int_equal(thaw_store_open_schema(&f->store, f->dir, &schema, &err), -ENOTSUP);
	const char *const mended[] = {migrations[0], migrations[1], migrations[3]};
	schema = (struct thaw_schema){.migrations = mended, .count = 3};
	assert_ok(thaw_store_open_schema(&f->store, f->dir, &schema, ERR));
	assert_int_equal(sql_number(f, "PRAGMA user_version"), 3);
}

/* kill -9 anywhere in a migration: the next start does it, from its beginning. */
static void test_migration_killed(void **state)
{
	static const char *const slow[] = {
		"CREATE TABLE n (x INTEGER NOT NULL, y BLOB) STRICT;"
		"INSERT INTO n WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c\n"
		"WHERE x < 3000) SELECT x, zeroblob(1000) FROM c;",
		"INSERT INTO n SELECT x + 3000, y FROM n;",
		"UPDATE n SET x = -x;",
	};
	struct store_fixture *f = *state;
	const struct thaw_schema schema = {.migrations = slow, .count = 3};
	int killed = 0;

	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			struct thaw_store *store = NULL;
			_exit(thaw_store_open_schema(&store, f->dir, &schema, NULL) ? 1 : 0);
		}
		usleep((useconds_t)(rand() % 25000));
		kill(child, SIGKILL);
		int status = 0;
		waitpid(child, &status, 0);
		killed += WIFSIGNALED(status);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		if (i % 5 == 4) {
			unlink(store_path(f, "thaw.db"));
			unlink(store_path(f, "thaw.db-wal"));
			unlink(store_path(f, "thaw.db-shm"));
		}
		if (i % 5 == 3) {
			assert_ok(thaw_store_open_schema(&f->store, f->dir, &schema, ERR));
			assert_ok(thaw_store_check(f->store, ERR));
			thaw_store_close(f->store);
			f->store = NULL;
			assert_int_equal(sql_number(f, "SELECT count(*) FROM n WHERE x < 0"), 6000);
		}
	}
	assert_true(killed > 0);
}

static void test_damaged(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_error err = {0};
	struct thaw_account account = {0};
	char id[16];
	uint8_t junk[4096];
	struct stat st;

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	assert_ok(thaw_store_begin(&scope, f->store, ERR));
	for (int i = 0; i < 2000; i++) {
		snprintf(id, sizeof(id), "%012d", i);
		assert_ok(account_add(f->store, id, ERR));
	}
	assert_ok(thaw_store_commit(&scope, ERR));
	assert_ok(thaw_store_check(f->store, ERR));
	thaw_store_close(f->store);
	f->store = NULL;

	/* All but the first page, which says what it is: nothing may crash, the check tells. */
	cleanup_close int fd = open(store_path(f, "thaw.db"), O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	memset(junk, 0xa5, sizeof(junk));
	off_t schema_end = 16 * 4096;
	assert_true(st.st_size > 2 * schema_end);
	for (off_t at = schema_end; at < st.st_size; at += 4096)
		assert_int_equal(thaw_pwrite_full(fd, junk, sizeof(junk), at), 0);
	int rc = thaw_store_open(&f->store, f->dir, &err);
	if (rc == 0) {
		assert_int_equal(thaw_store_check(f->store, &err), -EIO);
		assert_non_null(strstr(err.message, "damaged"));
		int failed = 0;
		for (int i = 0; i < 2000; i += 50) {
			snprintf(id, sizeof(id), "%012d", i);
			rc = thaw_accounts_find(f->store, id, &account, &err);
			failed += rc == -EIO;
			if (rc == 0)
				thaw_account_clear(&account);
		}
		assert_true(failed > 0);
		assert_non_null(strstr(err.message, "thaw.db"));
	} else {
		assert_int_equal(rc, -EIO);
	}
}

/* Whatever is flipped in the file, nothing crashes and nothing hangs. */
static void test_bit_flips(void **state)
{
	struct store_fixture *f = *state;
	struct stat st;
	int opened = 0;

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	assert_ok(account_add(f->store, ACCOUNT, ERR));
	store_publish(f->store, store_function(f->store, ACCOUNT, "web"), "one");
	thaw_store_close(f->store);
	f->store = NULL;
	cleanup_close int fd = open(store_path(f, "thaw.db"), O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	uint8_t *whole = malloc((size_t)st.st_size);
	assert_non_null(whole);
	assert_int_equal(thaw_pread_full(fd, whole, (size_t)st.st_size, 0), 0);
	for (int i = 0; i < 150; i++) {
		size_t at = i < 50 ? (size_t)rand() % 4096 : (size_t)rand() % (size_t)st.st_size;
		uint8_t bit = (uint8_t)(1 << rand() % 8);
		unlink(store_path(f, "thaw.db"));
		unlink(store_path(f, "thaw.db-wal"));
		unlink(store_path(f, "thaw.db-shm"));
		whole[at] ^= bit;
		cleanup_close int copy =
			open(store_path(f, "thaw.db"), O_RDWR | O_CREAT | O_EXCL, 0600);
		assert_int_equal(thaw_write_full(copy, whole, (size_t)st.st_size), 0);
		whole[at] ^= bit;
		struct thaw_store *store = NULL;
		struct thaw_function_item item;
		if (thaw_store_open(&store, f->dir, NULL) < 0)
			continue;
		opened++;
		if (thaw_functions_get(store, ACCOUNT, "web", 1, &item, NULL) == 0)
			thaw_function_item_clear(&item);
		thaw_store_check(store, NULL);
		account_add(store, OTHER, NULL);
		thaw_store_close(store);
	}
	free(whole);
	assert_true(opened > 50);
}

static int event_add(struct thaw_store *store, int64_t function, int number, struct thaw_error *err)
{
	static uint8_t payload[20000];
	char id[16];

	snprintf(id, sizeof(id), "%d", number);
	struct thaw_event event = {.id = id,
				   .account = (char *)ACCOUNT,
				   .function_id = function,
				   .qualifier = (char *)"",
				   .payload = {.data = payload, .size = sizeof(payload)}};
	return thaw_events_enqueue(store, &event, err);
}

/* A transaction larger than the cache meets the full disk in its middle, and SQLite may undo it by
 * itself: what comes after in the scope must not be kept alone. */
static void fill_in_scope(struct thaw_store *store, int64_t function)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	struct thaw_error err = {0};
	int number = 0, rc = 0;

	assert_ok(thaw_store_begin(&scope, store, ERR));
	assert_ok(account_add(store, OTHER, ERR));
	while (number < 2000 && (rc = event_add(store, function, number, &err)) == 0)
		number++;
	assert_int_equal(rc, -ENOSPC);
	assert_true(number > 0);
	rc = account_add(store, "000000000099", &err);
	assert_true(rc == 0 || rc == -ENOSPC);
	assert_int_equal(thaw_store_commit(&scope, &err), -ENOSPC);
	assert_int_equal(thaw_accounts_find(store, OTHER, NULL, NULL), -ENOENT);
	assert_int_equal(thaw_accounts_find(store, "000000000099", NULL, NULL), -ENOENT);
}

/* Files that cannot grow are what a full disk is to SQLite: every write fails at some point. */
static void test_full_disk(void **state)
{
	struct store_fixture *f = *state;
	struct rlimit before, small;
	struct thaw_error err = {0};
	char id[16];
	int i, rc = 0;

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	assert_ok(account_add(f->store, ACCOUNT, ERR));
	int64_t function = store_function(f->store, ACCOUNT, "web");
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 400000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	char *big = malloc(50001);
	assert_non_null(big);
	memset(big, 'x', 50000);
	big[0] = big[49999] = '"';
	big[50000] = 0;
	for (i = 0; i < 100; i++) {
		/* What is the same is not written. */
		memset(big + 1, 'a' + i % 20, 49998);
		rc = thaw_functions_set_tags(f->store, function, big, &err);
		if (rc < 0)
			break;
	}
	assert_int_equal(rc, -ENOSPC);
	assert_non_null(strstr(err.message, "no space left"));
	/* A scope fails as a whole, and what is read is what was kept. */
	{
		cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
		rc = thaw_store_begin(&scope, f->store, &err);
		if (rc == 0)
			rc = account_add(f->store, OTHER, &err);
		memset(big + 1, 'z', 49998);
		if (rc == 0)
			rc = thaw_functions_set_tags(f->store, function, big, &err);
		if (rc == 0)
			rc = thaw_store_commit(&scope, &err);
		assert_int_equal(rc, -ENOSPC);
	}
	assert_int_equal(thaw_accounts_find(f->store, OTHER, NULL, NULL), -ENOENT);
	assert_int_equal(thaw_accounts_find(f->store, ACCOUNT, NULL, NULL), 0);
	fill_in_scope(f->store, function);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);

	/* With space again it goes on, without a new start. */
	for (i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "%012d", i);
		assert_ok(account_add(f->store, id, ERR));
	}
	assert_ok(thaw_functions_set_tags(f->store, function, big, ERR));
	assert_ok(thaw_store_check(f->store, ERR));
	free(big);
}

/* In a mount namespace of its own: 0, 77 when that is not allowed, or the line that failed. */
static int small_disk(const char *dir)
{
#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return __LINE__ % 256;                                                     \
	} while (0)
	struct thaw_store *store = NULL;
	struct thaw_events_count count;
	struct thaw_error err = {0};
	int accepted = 0, rc = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=1m,mode=0700") < 0)
		return 77;
	must(thaw_store_open(&store, dir, &err) == 0);
	must(account_add(store, ACCOUNT, &err) == 0);
	int64_t function = store_function(store, ACCOUNT, "web");
	while (accepted < 1000 && (rc = event_add(store, function, accepted, &err)) == 0)
		accepted++;
	must(rc == -ENOSPC && strstr(err.message, "no space left"));
	must(accepted > 5);
	must(event_add(store, function, accepted, &err) == -ENOSPC);
	must(thaw_events_count(store, 0, &count, &err) == 0 && count.waiting == accepted);
	/* What was accepted is there after a crash on the full disk, and space cures it. */
	thaw_store_close(store);
	must(mount("none", dir, "tmpfs", MS_REMOUNT, "size=8m") == 0);
	must(thaw_store_open(&store, dir, &err) == 0);
	must(thaw_store_check(store, &err) == 0);
	must(thaw_events_count(store, 0, &count, &err) == 0 && count.waiting == accepted);
	must(event_add(store, function, accepted, &err) == 0);
	/* On a disk too small for a store there is none, and the next try finds nothing half. */
	thaw_store_close(store);
	must(umount2(dir, MNT_DETACH) == 0);
	must(mount("none", dir, "tmpfs", 0, "size=64k,mode=0700") == 0);
	must(thaw_store_open(&store, dir, &err) == -ENOSPC);
	must(mount("none", dir, "tmpfs", MS_REMOUNT, "size=1m") == 0);
	must(thaw_store_open(&store, dir, &err) == 0);
	must(thaw_store_check(store, &err) == 0);
	thaw_store_close(store);
	return 0;
#undef must
}

static void test_small_disk(void **state)
{
	struct store_fixture *f = *state;
	int status = 0;

	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(small_disk(f->dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_scopes(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_error err = {0};

	assert_ok(thaw_store_open(&f->store, f->dir, ERR));
	{
		cleanup_store_scope struct thaw_store_scope outer = THAW_STORE_SCOPE_NONE;
		assert_ok(thaw_store_begin(&outer, f->store, ERR));
		assert_ok(account_add(f->store, "000000000001", ERR));
		{
			cleanup_store_scope struct thaw_store_scope inner = THAW_STORE_SCOPE_NONE;
			assert_ok(thaw_store_begin(&inner, f->store, ERR));
			assert_ok(account_add(f->store, "000000000002", ERR));
		}
		{
			cleanup_store_scope struct thaw_store_scope inner = THAW_STORE_SCOPE_NONE;
			assert_ok(thaw_store_begin(&inner, f->store, ERR));
			assert_ok(account_add(f->store, "000000000003", ERR));
			assert_ok(thaw_store_commit(&inner, ERR));
		}
		/* A call that fails undoes itself only. */
		assert_int_equal(account_add(f->store, "000000000003", &err), -EEXIST);
		assert_ok(thaw_store_commit(&outer, ERR));
	}
	{
		cleanup_store_scope struct thaw_store_scope outer = THAW_STORE_SCOPE_NONE;
		assert_ok(thaw_store_begin(&outer, f->store, ERR));
		assert_ok(account_add(f->store, "000000000004", ERR));
	}
	store_reopen(f);
	assert_int_equal(thaw_accounts_find(f->store, "000000000001", NULL, NULL), 0);
	assert_int_equal(thaw_accounts_find(f->store, "000000000002", NULL, NULL), -ENOENT);
	assert_int_equal(thaw_accounts_find(f->store, "000000000003", NULL, NULL), 0);
	assert_int_equal(thaw_accounts_find(f->store, "000000000004", NULL, NULL), -ENOENT);
}

static void test_uuid(void **state)
{
	char a[THAW_UUID_TEXT], b[THAW_UUID_TEXT];

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_ok(thaw_uuid_make(a, ERR));
		assert_ok(thaw_uuid_make(b, ERR));
		assert_string_not_equal(a, b);
		assert_int_equal(strlen(a), 36);
		assert_int_equal(a[14], '4');
		assert_non_null(strchr("89ab", a[19]));
		assert_true(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
	}
}

#define with_dir(test) cmocka_unit_test_setup_teardown(test, store_setup_dir, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_dir(test_modes),       with_dir(test_odd_files),
		with_dir(test_two_openers), with_dir(test_epochs),
		with_dir(test_newer),       with_dir(test_foreign),
		with_dir(test_migrations),  with_dir(test_migration_killed),
		with_dir(test_damaged),     with_dir(test_bit_flips),
		with_dir(test_full_disk),   with_dir(test_small_disk),
		with_dir(test_scopes),      cmocka_unit_test(test_uuid),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
