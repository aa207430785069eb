/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/works.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"

#define WORKS_STACK (512u << 10)

struct work {
	struct work *next;
	void (*perform)(void *context);
	void *context;
};

/* An account that has work in line; those with work under way only are not in the ring. */
struct line {
	struct line *next; /* of a ring */
	char account[16];
	unsigned int count;
	struct work *first, **end;
};

struct thaw_works {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct line *turn; /* the one before the next to be served; NULL: none */
	unsigned int per_account;
	bool ending;
	unsigned int count;
	pthread_t threads[];
};

/* Of the account whose turn it is, the oldest; its turn passes on. */
static struct work *works_take(struct thaw_works *works)
{
	struct line *line = works->turn->next;
	struct work *work = line->first;

	line->first = work->next;
	if (!line->first)
		line->end = &line->first;
	if (--line->count) {
		works->turn = line;
		return work;
	}
	works->turn->next = line->next;
	if (line->next == line)
		works->turn = NULL;
	free(line);
	return work;
}

static void *works_thread(void *opaque)
{
	struct thaw_works *works = opaque;

	pthread_mutex_lock(&works->lock);
	for (;;) {
		while (!works->turn && !works->ending)
			pthread_cond_wait(&works->wake, &works->lock);
		if (!works->turn)
			break;
		struct work *work = works_take(works);
		pthread_mutex_unlock(&works->lock);
		work->perform(work->context);
		free(work);
		pthread_mutex_lock(&works->lock);
	}
	pthread_mutex_unlock(&works->lock);
	return NULL;
}

struct thaw_works *thaw_works_new(unsigned int threads, unsigned int line_per_account,
				  struct thaw_error *err)
{
	struct thaw_works *works = calloc(1, sizeof(*works) + threads * sizeof(pthread_t));
	pthread_attr_t attr;
	int rc = works ? 0 : ENOMEM;

	if (rc == 0) {
		pthread_mutex_init(&works->lock, NULL);
		pthread_cond_init(&works->wake, NULL);
		works->per_account = line_per_account;
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, WORKS_STACK);
		while (rc == 0 && works->count < threads) {
			rc = pthread_create(&works->threads[works->count], &attr, works_thread,
					    works);
			works->count += rc == 0;
		}
		pthread_attr_destroy(&attr);
	}
	if (rc == 0)
		return works;
	thaw_works_free(works);
	thaw_error_errno(err, rc, "starting threads");
	return NULL;
}

void thaw_works_free(struct thaw_works *works)
{
	if (!works)
		return;
	pthread_mutex_lock(&works->lock);
	works->ending = true;
	pthread_cond_broadcast(&works->wake);
	pthread_mutex_unlock(&works->lock);
	for (unsigned int i = 0; i < works->count; i++)
		pthread_join(works->threads[i], NULL);
	pthread_cond_destroy(&works->wake);
	pthread_mutex_destroy(&works->lock);
	free(works);
}

static struct line *works_line(struct thaw_works *works, const char *account)
{
	struct line *line = works->turn;

	if (line) {
		do {
			if (strcmp(line->account, account) == 0)
				return line;
			line = line->next;
		} while (line != works->turn);
	}
	line = calloc(1, sizeof(*line));
	if (!line)
		return NULL;
	snprintf(line->account, sizeof(line->account), "%s", account);
	line->end = &line->first;
	/* The last to be served of all. */
	line->next = works->turn ? works->turn->next : line;
	if (works->turn)
		works->turn->next = line;
	works->turn = line;
	return line;
}

int thaw_works_submit(struct thaw_works *works, const char *account, void (*perform)(void *context),
		      void *context)
{
	struct work *work = malloc(sizeof(*work));
	int rc = work ? 0 : -ENOMEM;

	if (rc < 0)
		return rc;
	*work = (struct work){.perform = perform, .context = context};
	pthread_mutex_lock(&works->lock);
	struct line *line = works_line(works, account);
	if (!line) {
		rc = -ENOMEM;
	} else if (line->count >= works->per_account) {
		rc = -EAGAIN;
	} else {
		*line->end = work;
		line->end = &work->next;
		line->count++;
		pthread_cond_signal(&works->wake);
	}
	pthread_mutex_unlock(&works->lock);
	if (rc < 0)
		free(work);
	return rc;
}
