/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads on one store: no update is lost, no number is skipped, no event is taken twice. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "service_store_harness.h"
#include "host/store/events.h"

#define THREADS 8
#define ROUNDS  25
#define EVENTS  40

struct worker {
	struct thaw_store *store;
	int64_t function;
	int number;
	atomic_int *failures;
	int64_t published[ROUNDS];
	int published_count;
	int stale;
};

/* Adds one to the number in the configuration, as a client that reads, changes and writes. */
static int count_up(struct worker *worker)
{
	struct thaw_version_record now;
	char config[64];
	int n = 0;

	if (thaw_versions_get(worker->store, worker->function, 0, &now, NULL) < 0)
		return -EIO;
	sscanf(now.config, "{\"n\":%d}", &n);
	snprintf(config, sizeof(config), "{\"n\":%d}", n + 1);
	struct thaw_version_record next = now;
	next.config = config;
	int rc = thaw_versions_update(worker->store, worker->function, &next, now.revision_id, NULL,
				      NULL);
	thaw_version_clear(&now);
	return rc;
}

static void *updater(void *arg)
{
	struct worker *worker = arg;
	struct thaw_version_publish publish = {.state = "Active"};
	struct thaw_version_record made;

	for (int i = 0; i < ROUNDS; i++) {
		int rc;
		while ((rc = count_up(worker)) == -ESTALE)
			worker->stale++;
		if (rc == 0)
			rc = thaw_versions_publish(worker->store, worker->function, &publish, &made,
						   NULL);
		if (rc < 0) {
			atomic_fetch_add(worker->failures, 1);
			break;
		}
		if (rc == 1)
			worker->published[worker->published_count++] = made.version;
		thaw_version_clear(&made);
	}
	return NULL;
}

static void test_updates(void **state)
{
	struct store_fixture *f = *state;
	atomic_int failures = 0;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	static bool seen[THREADS * ROUNDS + 1];
	struct thaw_version_record latest, *list;
	int total = 0, n = 0;
	size_t count;

	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_version_record first = store_item("", "").version;
	first.config = (char *)"{\"n\":0}";
	assert_ok(thaw_versions_update(f->store, id, &first, NULL, NULL, ERR));
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.store = f->store, .function = id, .number = i, .failures = &failures};
		assert_int_equal(pthread_create(&threads[i], NULL, updater, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		for (int k = 0; k < workers[i].published_count; k++) {
			int64_t number = workers[i].published[k];
			assert_true(number > 0 && number <= THREADS * ROUNDS);
			assert_false(seen[number]);
			seen[number] = true;
		}
		total += workers[i].published_count;
	}
	assert_int_equal(failures, 0);
	assert_ok(thaw_versions_get(f->store, id, 0, &latest, ERR));
	assert_int_equal(sscanf(latest.config, "{\"n\":%d}", &n), 1);
	assert_int_equal(n, THREADS * ROUNDS);
	thaw_version_clear(&latest);
	assert_int_equal(thaw_versions_list(f->store, id, 0, 10000, &list, &count, ERR), 0);
	assert_int_equal(count, total);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(list[i].version, i + 1);
	/* Each published version is of another state of $LATEST. */
	for (size_t i = 1; i < count; i++)
		assert_string_not_equal(list[i].config, list[i - 1].config);
	thaw_versions_free(list, count);
	assert_ok(thaw_store_check(f->store, ERR));
}

static atomic_int taken[THREADS / 2 * EVENTS];
static atomic_int finished;

static void *producer(void *arg)
{
	struct worker *worker = arg;
	char id[16];

	for (int i = 0; i < EVENTS; i++) {
		snprintf(id, sizeof(id), "%d", worker->number * EVENTS + i);
		struct thaw_event event = {.id = id,
					   .account = (char *)ACCOUNT,
					   .function_id = worker->function,
					   .qualifier = (char *)"",
					   .payload = {.data = (uint8_t *)id, .size = strlen(id)}};
		if (thaw_events_enqueue(worker->store, &event, NULL) < 0)
			atomic_fetch_add(worker->failures, 1);
	}
	return NULL;
}

static void *consumer(void *arg)
{
	struct worker *worker = arg;
	struct thaw_event event;

	while (atomic_load(&finished) < THREADS / 2 * EVENTS && !atomic_load(worker->failures)) {
		int rc = thaw_events_take(worker->store, 0, 1, &event, NULL);
		if (rc == 0) {
			sched_yield();
			continue;
		}
		if (rc < 0) {
			atomic_fetch_add(worker->failures, 1);
			break;
		}
		atomic_fetch_add(&taken[atoi(event.id)], 1);
		if (strcmp(event.id, (char *)event.payload.data) != 0 ||
		    thaw_events_finish(worker->store, event.id, NULL) < 0)
			atomic_fetch_add(worker->failures, 1);
		atomic_fetch_add(&finished, 1);
		thaw_event_clear(&event);
	}
	return NULL;
}

static void test_events(void **state)
{
	struct store_fixture *f = *state;
	atomic_int failures = 0;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	struct thaw_events_count count;

	int64_t id = store_function(f->store, ACCOUNT, "web");
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.store = f->store, .function = id, .number = i / 2, .failures = &failures};
		assert_int_equal(
			pthread_create(&threads[i], NULL, i % 2 ? consumer : producer, &workers[i]),
			0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(failures, 0);
	for (int i = 0; i < THREADS / 2 * EVENTS; i++)
		assert_int_equal(taken[i], 1);
	assert_ok(thaw_events_count(f->store, 0, &count, ERR));
	assert_int_equal(count.waiting + count.taken, 0);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_updates),
		with_store(test_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
