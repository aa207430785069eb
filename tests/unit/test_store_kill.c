/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at random moments of a process that queues, takes and finishes events and publishes
 * versions, and says so when it is done: nothing that it has said is lost, nothing that it has
 * finished comes back, and what it was at is there whole or not at all.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service_store_harness.h"
#include "host/store/events.h"

#define KILLS      50
#define EVENTS_MAX 200000

/* What a child says, one packet each. */
struct said {
	char what; /* 'E'nqueued, 'T'aken, 'F'inished, 'P'ublished */
	int64_t number;
};

static void say(int fd, char what, int64_t number)
{
	struct said said = {.what = what, .number = number};

	if (write(fd, &said, sizeof(said)) != (ssize_t)sizeof(said))
		_exit(3);
}

static int child_enqueue(struct thaw_store *store, int64_t function, int64_t number, int fd)
{
	static uint8_t payload[20000];
	char id[24];

	snprintf(id, sizeof(id), "%lld", (long long)number);
	memset(payload, (int)number, sizeof(payload));
	struct thaw_event event = {
		.id = id,
		.account = (char *)ACCOUNT,
		.function_id = function,
		.qualifier = (char *)"",
		.due_ms = number,
		.payload = {.data = payload, .size = (size_t)number * 37 % sizeof(payload)}};
	int rc = thaw_events_enqueue(store, &event, NULL);
	if (rc == 0)
		say(fd, 'E', number);
	return rc;
}

static int child_work(struct thaw_store *store, int fd)
{
	struct thaw_event event;

	int rc = thaw_events_take(store, 0, INT64_MAX, &event, NULL);
	if (rc <= 0)
		return rc;
	int64_t number = atoll(event.id);
	say(fd, 'T', number);
	rc = thaw_events_finish(store, event.id, NULL);
	thaw_event_clear(&event);
	if (rc == 0)
		say(fd, 'F', number);
	return rc;
}

static int child_publish(struct thaw_store *store, int64_t function, int64_t number, int fd)
{
	struct thaw_version_record next = store_item("", "").version;
	struct thaw_version_publish publish = {.state = "Active", .now_ms = number};
	struct thaw_version_record made;
	char digest[24];

	snprintf(digest, sizeof(digest), "%lld", (long long)number);
	next.code_digest = digest;
	int rc = thaw_versions_update(store, function, &next, NULL, NULL, NULL);
	if (rc == 0)
		rc = thaw_versions_publish(store, function, &publish, &made, NULL);
	if (rc < 0)
		return rc;
	say(fd, 'P', made.version);
	thaw_version_clear(&made);
	return 0;
}

static void child(const char *dir, int64_t function, int64_t first, int fd)
{
	struct thaw_store *store = NULL;

	if (thaw_store_open(&store, dir, NULL) < 0)
		_exit(2);
	for (int64_t i = first;; i++) {
		if (child_enqueue(store, function, i, fd) < 0 ||
		    (i % 4 && child_work(store, fd) < 0) ||
		    (i % 3 == 0 && child_publish(store, function, i, fd) < 0))
			_exit(2);
	}
}

struct books {
	char events[EVENTS_MAX]; /* the last that was said of each; 0: nothing */
	int64_t published;
};

static void listen_to(int fd, struct books *books)
{
	struct said said;

	while (read(fd, &said, sizeof(said)) == (ssize_t)sizeof(said)) {
		if (said.what == 'P') {
			/* One may have been made and not been told. */
			assert_true(said.number > books->published);
			books->published = said.number;
			continue;
		}
		assert_true(said.number >= 0 && said.number < EVENTS_MAX);
		assert_int_not_equal(books->events[said.number], 'F');
		books->events[said.number] = said.what;
	}
}

/* Compares the store with the books. Gives how many events wait. */
static int audit(struct thaw_store *store, int64_t function, const struct books *books)
{
	static bool waits[EVENTS_MAX];
	struct thaw_version_record *list;
	struct thaw_event event;
	size_t count;
	int waiting = 0;

	memset(waits, 0, sizeof(waits));
	while (thaw_events_take(store, 0, INT64_MAX, &event, ERR) == 1) {
		int64_t number = atoll(event.id);
		assert_int_not_equal(books->events[number], 'F');
		assert_int_equal(event.payload.size, (size_t)number * 37 % 20000);
		for (size_t i = 0; i < event.payload.size; i++)
			assert_int_equal(event.payload.data[i], (uint8_t)number);
		waits[number] = true;
		waiting++;
		thaw_event_clear(&event);
	}
	for (int i = 0; i < EVENTS_MAX; i++) {
		if (books->events[i] == 'E' && !waits[i])
			fail_msg("event %d was accepted and is lost", i);
	}
	assert_int_equal(thaw_versions_list(store, function, 0, 10000, &list, &count, ERR), 0);
	assert_true((int64_t)count >= books->published);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(list[i].version, i + 1);
	thaw_versions_free(list, count);
	return waiting;
}

static void test_kill(void **state)
{
	struct store_fixture *f = *state;
	static struct books books;
	int64_t function = store_function(f->store, ACCOUNT, "web");
	int64_t first = 1;
	int spoke = 0, waiting = 0;

	srand((unsigned int)getpid());
	thaw_store_close(f->store);
	f->store = NULL;
	for (int i = 0; i < KILLS; i++) {
		int fds[2];
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child(f->dir, function, first, fds[1]);
		close(fds[1]);
		/* One in five may die while it opens the store, the others at work. */
		struct pollfd said = {.fd = fds[0], .events = POLLIN};
		if (i % 5)
			assert_int_equal(poll(&said, 1, 30000), 1);
		usleep((useconds_t)(rand() % 30000));
		kill(pid, SIGKILL);
		int status = 0;
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		listen_to(fds[0], &books);
		close(fds[0]);
		while (first < EVENTS_MAX && books.events[first]) {
			first++;
			spoke++;
		}
		/* One more may have been queued and not been told. */
		first += 2;
		assert_true(first < EVENTS_MAX - 10000);
		assert_ok(thaw_store_open(&f->store, f->dir, ERR));
		assert_ok(thaw_store_check(f->store, ERR));
		waiting = audit(f->store, function, &books);
		thaw_store_close(f->store);
		f->store = NULL;
	}
	print_message("%d kills, %d events accepted, %d wait, %lld versions\n", KILLS, spoke,
		      waiting, (long long)books.published);
	assert_true(spoke >= KILLS * 4 / 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kill, store_setup, store_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
