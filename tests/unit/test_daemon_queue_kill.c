/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at random moments of a process that accepts events and works on them, and says so: no
 * event that it has accepted is lost, each leaves exactly one record at its destination, and none
 * that has left it runs again.
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service_queue_harness.h"
#include "host/store/events.h"

#define KILLS      12 /* at least, and until there are as many records */
#define KILLS_MAX  60
#define EVENTS_MAX 100000

/* What a child says, one packet each: 'A'ccepted, or 'R'uns. */
struct said {
	char what;
	int number;
};

static int said_fd;

static void say(char what, const char *id)
{
	struct said said = {.what = what, .number = atoi(id)};

	if (write(said_fd, &said, sizeof(said)) != (ssize_t)sizeof(said))
		_exit(3);
}

static void called(const struct queue_call *call)
{
	if (strcmp(call->name, "good") == 0)
		say('R', call->id);
}

static void child(struct queue_fixture *f, int64_t function, int first)
{
	char id[24];

	if (thaw_store_open(&f->store->store, f->store->dir, NULL) < 0)
		_exit(2);
	/* The destination is throttled, and not asked again: its events stay to be counted. */
	f->config.retry_scale = 1000;
	f->called = called;
	queue_runner_start(f);
	queue_start(f);
	for (int i = first;; i++) {
		snprintf(id, sizeof(id), "%d", i);
		queue_put(f, function, id);
		say('A', id);
		if (i % 4 == 0)
			usleep(2000); /* the worker's turn at the store */
	}
}

struct books {
	bool accepted[EVENTS_MAX];
	bool recorded[EVENTS_MAX]; /* at the last audit */
	int runs;
};

static void listen_to(int fd, struct books *books)
{
	struct said said;

	while (read(fd, &said, sizeof(said)) == (ssize_t)sizeof(said)) {
		assert_in_range(said.number, 0, EVENTS_MAX - 1);
		if (said.what == 'A') {
			books->accepted[said.number] = true;
			continue;
		}
		books->runs++;
		if (books->recorded[said.number])
			fail_msg("event %d has run again", said.number);
	}
}

/* Gives how many records there are. */
static int audit(struct thaw_store *store, int64_t function, struct books *books)
{
	static bool waits[EVENTS_MAX], recorded[EVENTS_MAX];
	struct thaw_event event;
	int records = 0;

	memset(waits, 0, sizeof(waits));
	memset(recorded, 0, sizeof(recorded));
	while (thaw_events_take(store, 0, INT64_MAX, &event, ERR) == 1) {
		if (event.function_id == function) {
			waits[atoi(event.id)] = true;
		} else {
			const char *id = strstr((char *)event.payload.data, "\"requestId\":\"");
			assert_non_null(id);
			int number = atoi(id + strlen("\"requestId\":\""));
			assert_false(recorded[number]);
			recorded[number] = true;
			records++;
		}
		thaw_event_clear(&event);
	}
	for (int i = 0; i < EVENTS_MAX; i++) {
		if (books->accepted[i] && !waits[i] && !recorded[i])
			fail_msg("event %d was accepted and is lost", i);
		if (waits[i] && recorded[i])
			fail_msg("event %d is through and waits", i);
		if (books->recorded[i] && !recorded[i])
			fail_msg("the record of event %d is lost", i);
	}
	memcpy(books->recorded, recorded, sizeof(recorded));
	return records;
}

static void test_kill(void **state)
{
	static struct books books;
	struct store_fixture *store = *state;
	struct queue_fixture f = {.store = store};
	int first = 1, records = 0, kills = 0;

	srand((unsigned int)getpid());
	strcpy(f.config.region, REGION);
	int64_t function = queue_function(&f, "good");
	queue_function(&f, "full");
	queue_configure(&f, function, ARN("full"), NULL, THAW_STORE_UNSET, THAW_STORE_UNSET);
	thaw_store_close(store->store);
	store->store = NULL;
	for (; kills < KILLS_MAX && (kills < KILLS || records < KILLS); kills++) {
		int fds[2];
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			said_fd = fds[1];
			child(&f, function, first);
		}
		close(fds[1]);
		struct pollfd said = {.fd = fds[0], .events = POLLIN};
		if (kills % 5)
			assert_int_equal(poll(&said, 1, 30000), 1);
		usleep((useconds_t)(rand() % 60000));
		kill(pid, SIGKILL);
		int status = 0;
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		listen_to(fds[0], &books);
		close(fds[0]);
		while (first < EVENTS_MAX && books.accepted[first])
			first++;
		/* One more may have been accepted and not been told. */
		first += 2;
		assert_true(first < EVENTS_MAX - 10000);
		assert_ok(thaw_store_open(&store->store, store->dir, ERR));
		records = audit(store->store, function, &books);
		thaw_store_close(store->store);
		store->store = NULL;
	}
	print_message("%d kills, %d events, %d runs, %d records\n", kills, first - 1, books.runs,
		      records);
	assert_true(records >= KILLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kill, store_setup, store_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
