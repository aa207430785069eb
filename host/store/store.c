/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "host/store/query.h"
#include "host/store/schema.h"
#include "host/store/store_internal.h"
#include "lib/error.h"
#include "lib/fd.h"

#define STORE_FILE      "thaw.db"
#define STORE_LOCK      "lock"
#define STORE_BUSY_MS   5000       /* for a person's sqlite3 beside us: a backup, say */
#define STORE_WAL_LIMIT (64 << 20) /* a log that a burst made long is cut to this */
#define STORE_CACHE_KIB "8192"

/* A disk that is full shows in several ways: as itself, which SQLite knows, as a quota, as a limit
 * of file sizes. The log's own last error tells: errno has been through a rollback since. */
static int store_write_errno(struct thaw_store *store)
{
	sqlite3_file *log = NULL;
	int code = 0;

	sqlite3_file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (log && log->pMethods)
		log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &code);
	if (code != EDQUOT && code != EFBIG)
		sqlite3_file_control(store->db, "main", SQLITE_FCNTL_LAST_ERRNO, &code);
	return code == ENOSPC || code == EDQUOT || code == EFBIG ? ENOSPC : EIO;
}

static int store_errno(struct thaw_store *store, int code)
{
	switch (code) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return EEXIST;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return ENOENT;
	case SQLITE_IOERR_NOMEM:
		return ENOMEM;
	case SQLITE_IOERR_WRITE:
	case SQLITE_IOERR_FSYNC:
	case SQLITE_IOERR_TRUNCATE:
		return store_write_errno(store);
	case SQLITE_IOERR_SHMSIZE: /* the log's index could not grow, and only space is missing */
		return ENOSPC;
	}
	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
		return EINVAL;
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_TOOBIG:
		return EMSGSIZE;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return EBUSY;
	default:
		return EIO;
	}
}

int thaw_store_error(struct thaw_store *store, int code, struct thaw_error *err)
{
	int number = store_errno(store, code);
	const char *text = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code);

	if (number == ENOSPC)
		return thaw_error_set(err, ENOSPC, "\"%s\": no space left to write", store->path);
	if ((code & 0xff) == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return thaw_error_set(err, EIO, "\"%s\" is damaged: %s", store->path, text);
	return thaw_error_set(err, number, "\"%s\": %s", store->path, text);
}

int thaw_store_statement(struct thaw_store *store, const char *sql, sqlite3_stmt **statement,
			 struct thaw_error *err)
{
	size_t at = ((uintptr_t)sql >> 3) * 31;

	for (size_t tried = 0; tried < THAW_STORE_STATEMENTS; tried++) {
		struct thaw_store_statement *kept =
			&store->statements[(at + tried) % THAW_STORE_STATEMENTS];
		if (!kept->sql) {
			int code = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
						      &kept->statement, NULL);
			if (code != SQLITE_OK)
				return thaw_store_error(store, code, err);
			kept->sql = sql;
		}
		if (kept->sql == sql) {
			*statement = kept->statement;
			return 0;
		}
	}
	return thaw_error_set(err, EIO, "\"%s\": too many statements", store->path);
}

/* For texts of several statements, and for pragmas that must not be kept. */
static int store_run(struct thaw_store *store, const char *sql, struct thaw_error *err)
{
	int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : thaw_store_error(store, code, err);
}

/* The first column of the first row as text; empty when there is no row. */
static int store_ask(struct thaw_store *store, const char *sql, char *answer, size_t size,
		     struct thaw_error *err)
{
	sqlite3_stmt *statement = NULL;

	int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	const char *text =
		code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : "";
	snprintf(answer, size, "%s", text ? text : "");
	int rc = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : thaw_store_error(store, code, err);
	sqlite3_finalize(statement);
	return rc;
}

static int store_ask_number(struct thaw_store *store, const char *sql, int64_t *number,
			    struct thaw_error *err)
{
	char text[32];

	int rc = store_ask(store, sql, text, sizeof(text), err);
	if (rc == 0)
		*number = strtoll(text, NULL, 10);
	return rc;
}

static int store_dir(struct thaw_store *store, const char *path, struct thaw_error *err)
{
	struct stat st;
	char real[PATH_MAX];

	bool made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST)
		return thaw_error_errno(err, errno, "making the data directory \"%s\"", path);
	if (!realpath(path, real))
		return thaw_error_errno(err, errno, "the data directory \"%s\"", path);
	if (snprintf(store->path, sizeof(store->path), "%s/" STORE_FILE, real) >=
	    (int)sizeof(store->path))
		return thaw_error_set(err, ENAMETOOLONG, "the data directory's path is too long");
	store->dir = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (store->dir < 0 || fstat(store->dir, &st) < 0)
		return thaw_error_errno(err, errno, "the data directory \"%s\"", path);
	if (st.st_uid != geteuid())
		return thaw_error_set(err, EPERM, "the data directory \"%s\" is another user's",
				      path);
	/* Not tightened: a slip of the tongue must not close /tmp or / for everybody. */
	if (st.st_mode & 077)
		return thaw_error_set(err, EPERM,
				      "the data directory \"%s\" is open to other users (mode "
				      "%04o): make it 0700",
				      path, st.st_mode & 07777);
	cleanup_close int parent = made ? openat(store->dir, "..", O_RDONLY | O_CLOEXEC) : -1;
	if (made && (parent < 0 || fsync(parent) < 0))
		return thaw_error_errno(err, errno, "writing the data directory \"%s\"", path);
	return 0;
}

/* Opens a file of the directory, making it if need be, for us alone. */
static int store_file(struct thaw_store *store, const char *name, int *fd, struct thaw_error *err)
{
	struct stat st;

	/* Nothing may block on a pipe in the file's place. */
	*fd = openat(store->dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		     0600);
	if (*fd < 0 || fstat(*fd, &st) < 0)
		return thaw_error_errno(err, errno, "opening \"%s\" in the data directory", name);
	if (!S_ISREG(st.st_mode))
		return thaw_error_set(err, EPERM, "\"%s\" in the data directory is not a file",
				      name);
	if (st.st_uid != geteuid())
		return thaw_error_set(err, EPERM, "\"%s\" in the data directory is another user's",
				      name);
	if ((st.st_mode & 0777) != 0600 && fchmod(*fd, 0600) < 0)
		return thaw_error_errno(err, errno, "\"%s\" in the data directory", name);
	return 0;
}

static int store_lock(struct thaw_store *store, struct thaw_error *err)
{
	char text[24];

	int rc = store_file(store, STORE_LOCK, &store->lock, err);
	if (rc < 0)
		return rc;
	while (flock(store->lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return thaw_error_errno(err, errno, "locking the data directory");
		ssize_t n = pread(store->lock, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = 0;
		long pid = strtol(text, NULL, 10);
		if (pid > 0)
			return thaw_error_set(err, EBUSY, "process %ld has it open", pid);
		return thaw_error_set(err, EBUSY, "another process has it open");
	}
	/* On a full disk the lock still holds: who we are is only for people. */
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(store->lock, 0) == 0)
		(void)thaw_pwrite_full(store->lock, text, (size_t)n, 0);
	return 0;
}

static int store_connect(struct thaw_store *store, struct thaw_error *err)
{
	cleanup_close int fd = -1;

	/* Made here and not by SQLite, for its mode and to have its name on the disk. */
	int rc = store_file(store, STORE_FILE, &fd, err);
	if (rc < 0)
		return rc;
	if (fsync(store->dir) < 0)
		return thaw_error_errno(err, errno, "writing the data directory");
	int code = sqlite3_open_v2(store->path, &store->db,
				   SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
					   SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
				   NULL);
	if (code != SQLITE_OK)
		return thaw_store_error(store, code, err);
	sqlite3_busy_timeout(store->db, STORE_BUSY_MS);
	sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, THAW_STORE_VALUE_MAX);
	sqlite3_limit(store->db, SQLITE_LIMIT_ATTACHED, 0);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	return 0;
}

/* Whose file it is, before anything is written to it. */
static int store_recognise(struct thaw_store *store, const struct thaw_schema *schema,
			   int64_t *version, struct thaw_error *err)
{
	int64_t application = 0, tables = 0;

	int rc = store_ask_number(store, "PRAGMA application_id", &application, err);
	if (rc == 0)
		rc = store_ask_number(store, "PRAGMA user_version", version, err);
	if (rc == 0)
		rc = store_ask_number(store, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (rc < 0)
		return rc;
	if (application == 0 && *version == 0 && tables == 0)
		return 0; /* new */
	if (application != THAW_STORE_APPLICATION_ID || *version < 0)
		return thaw_error_set(err, ENOTSUP, "\"%s\" is the database of another program",
				      store->path);
	if (*version > schema->count)
		return thaw_error_set(err, ENOTSUP,
				      "\"%s\" is of a newer version of Thaw (schema %lld; this "
				      "one knows up to %d)",
				      store->path, (long long)*version, schema->count);
	return 0;
}

static int store_set_up(struct thaw_store *store, struct thaw_error *err)
{
	char mode[16];
	char limit[64];

	int rc = store_ask(store, "PRAGMA journal_mode = WAL", mode, sizeof(mode), err);
	if (rc == 0 && strcmp(mode, "wal") != 0)
		return thaw_error_set(err, EIO,
				      "\"%s\": its file system cannot hold a write-ahead log",
				      store->path);
	snprintf(limit, sizeof(limit), "PRAGMA journal_size_limit = %d", STORE_WAL_LIMIT);
	if (rc == 0)
		rc = store_run(store, limit, err);
	if (rc == 0)
		rc = store_run(store,
			       "PRAGMA synchronous = FULL;"
			       /* Nothing beside the directory, where a crash would leave it. */
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA cell_size_check = ON;"
			       "PRAGMA cache_size = -" STORE_CACHE_KIB,
			       err);
	return rc;
}

static int store_undo(struct thaw_store *store)
{
	return sqlite3_get_autocommit(store->db) ? 0 : store_run(store, "ROLLBACK", NULL);
}

/* One migration and the number that says it was done: together or not at all. */
static int store_migrate_one(struct thaw_store *store, const struct thaw_schema *schema,
			     int64_t version, struct thaw_error *err)
{
	char done[96], fault[64];

	snprintf(done, sizeof(done), "PRAGMA application_id = %d; PRAGMA user_version = %lld",
		 THAW_STORE_APPLICATION_ID, (long long)version + 1);
	int rc = store_run(store, "BEGIN IMMEDIATE", err);
	if (rc == 0)
		rc = store_run(store, schema->migrations[version], err);
	if (rc == 0)
		rc = store_ask(store, "PRAGMA foreign_key_check", fault, sizeof(fault), err);
	if (rc == 0 && *fault)
		rc = thaw_error_set(err, EIO, "a row of \"%s\" refers to nothing", fault);
	if (rc == 0)
		rc = store_run(store, done, err);
	if (rc == 0)
		rc = store_run(store, "COMMIT", err);
	if (rc < 0) {
		store_undo(store);
		return thaw_error_wrap(err, "bringing the store to schema %lld",
				       (long long)version + 1);
	}
	return 0;
}

static int store_migrate(struct thaw_store *store, const struct thaw_schema *schema,
			 struct thaw_error *err)
{
	int64_t version = 0;

	int rc = store_recognise(store, schema, &version, err);
	if (rc == 0)
		rc = store_set_up(store, err);
	/* Off for migrations that make a table anew: its rows are only gone for a moment. */
	if (rc == 0)
		rc = store_run(store, "PRAGMA foreign_keys = OFF", err);
	for (; rc == 0 && version < schema->count; version++)
		rc = store_migrate_one(store, schema, version, err);
	if (rc == 0)
		rc = store_run(store, "PRAGMA foreign_keys = ON", err);
	return rc;
}

static int store_start(struct thaw_store *store, const struct thaw_schema *schema,
		       struct thaw_error *err)
{
	if (!schema->start)
		return 0;
	int rc = store_run(store, "BEGIN IMMEDIATE", err);
	if (rc == 0)
		rc = store_run(store, schema->start, err);
	if (rc == 0)
		rc = store_ask_number(store, "SELECT epoch FROM host", &store->epoch, err);
	if (rc == 0)
		rc = store_run(store, "COMMIT", err);
	if (rc < 0)
		store_undo(store);
	return rc;
}

int thaw_store_open_schema(struct thaw_store **store, const char *path,
			   const struct thaw_schema *schema, struct thaw_error *err)
{
	pthread_mutexattr_t recursive;

	struct thaw_store *made = calloc(1, sizeof(*made));
	if (!made)
		return thaw_error_errno(err, ENOMEM, "opening the data directory");
	made->dir = made->lock = -1;
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&made->mutex, &recursive);
	pthread_mutexattr_destroy(&recursive);
	int rc = store_dir(made, path, err);
	if (rc == 0)
		rc = store_lock(made, err);
	if (rc == 0)
		rc = store_connect(made, err);
	if (rc == 0)
		rc = store_migrate(made, schema, err);
	if (rc == 0)
		rc = store_start(made, schema, err);
	if (rc < 0) {
		thaw_store_close(made);
		return thaw_error_wrap(err, "opening the data directory \"%s\"", path);
	}
	*store = made;
	return 0;
}

int thaw_store_open(struct thaw_store **store, const char *path, struct thaw_error *err)
{
	return thaw_store_open_schema(store, path, &thaw_schema, err);
}

void thaw_store_close(struct thaw_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < THAW_STORE_STATEMENTS; i++)
		sqlite3_finalize(store->statements[i].statement);
	sqlite3_close(store->db);
	/* The lock goes last: nobody opens a database that is still being put in order. */
	thaw_cleanup_close(&store->dir);
	thaw_cleanup_close(&store->lock);
	pthread_mutex_destroy(&store->mutex);
	free(store);
}

int64_t thaw_store_epoch(const struct thaw_store *store)
{
	return store->epoch;
}

int thaw_store_check(struct thaw_store *store, struct thaw_error *err)
{
	char fault[256];

	pthread_mutex_lock(&store->mutex);
	int rc = store_ask(store, "PRAGMA integrity_check(1)", fault, sizeof(fault), err);
	if (rc == 0 && strcmp(fault, "ok") != 0)
		rc = thaw_error_set(err, EIO, "\"%s\" is damaged: %s", store->path, fault);
	if (rc == 0)
		rc = store_ask(store, "PRAGMA foreign_key_check", fault, sizeof(fault), err);
	if (rc == 0 && *fault)
		rc = thaw_error_set(err, EIO, "\"%s\" is damaged: a row of %s refers to nothing",
				    store->path, fault);
	pthread_mutex_unlock(&store->mutex);
	return rc;
}

static int scope_run(struct thaw_store *store, const char *sql, struct thaw_error *err)
{
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	return rc < 0 ? rc : thaw_query_step(&query, err);
}

int thaw_store_begin(struct thaw_store_scope *scope, struct thaw_store *store,
		     struct thaw_error *err)
{
	static const char outer[] = "BEGIN IMMEDIATE";
	static const char inner[] = "SAVEPOINT scope";

	pthread_mutex_lock(&store->mutex);
	int rc = scope_run(store, store->depth ? inner : outer, err);
	if (rc < 0) {
		pthread_mutex_unlock(&store->mutex);
		return rc;
	}
	store->depth++;
	scope->store = store;
	return 0;
}

void thaw_store_scope_end(struct thaw_store_scope *scope)
{
	static const char back[] = "ROLLBACK TO scope";
	static const char release[] = "RELEASE scope";
	struct thaw_store *store = scope->store;

	if (!store)
		return;
	scope->store = NULL;
	if (--store->depth == 0) {
		store->doomed = 0;
		store_undo(store);
	} else if (!store->doomed) {
		/* What cannot be undone in part must not be kept in part. */
		if (scope_run(store, back, NULL) < 0 || scope_run(store, release, NULL) < 0)
			store->doomed = EIO;
	}
	pthread_mutex_unlock(&store->mutex);
}

int thaw_store_commit(struct thaw_store_scope *scope, struct thaw_error *err)
{
	static const char outer[] = "COMMIT";
	static const char inner[] = "RELEASE scope";
	struct thaw_store *store = scope->store;

	int rc = scope_run(store, store->depth == 1 ? outer : inner, err);
	if (rc == 0) {
		scope->store = NULL;
		store->depth--;
		pthread_mutex_unlock(&store->mutex);
	} else {
		thaw_store_scope_end(scope);
	}
	return rc;
}

int thaw_uuid_make(char uuid[THAW_UUID_TEXT], struct thaw_error *err)
{
	uint8_t raw[16];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return thaw_error_errno(err, errno, "random numbers");
	raw[6] = (uint8_t)(0x40 | (raw[6] & 0x0f));
	raw[8] = (uint8_t)(0x80 | (raw[8] & 0x3f));
	char *to = uuid;
	for (int i = 0; i < 16; i++)
		to += sprintf(to, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			      raw[i]);
	return 0;
}
