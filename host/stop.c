/* SPDX-License-Identifier: Apache-2.0 */
#include "host/stop.h"

#include <errno.h>
#include <sys/socket.h>

#include "lib/error.h"

void thaw_stop_ask(struct thaw_stop *stop)
{
	pthread_mutex_lock(&stop->lock);
	stop->asked = true;
	/* thaw-vmm ends with its socket; and whoever waits at our end of it reads the end. */
	for (struct thaw_stop_entry *entry = stop->entries; entry; entry = entry->next)
		shutdown(entry->socket, SHUT_RDWR);
	pthread_mutex_unlock(&stop->lock);
}

static int stop_refuse(bool asked, struct thaw_error *err)
{
	return asked ? thaw_error_set(err, ECANCELED, "the host is ending") : 0;
}

int thaw_stop_check(struct thaw_stop *stop, struct thaw_error *err)
{
	if (!stop)
		return 0;
	pthread_mutex_lock(&stop->lock);
	bool asked = stop->asked;
	pthread_mutex_unlock(&stop->lock);
	return stop_refuse(asked, err);
}

int thaw_stop_enter(struct thaw_stop *stop, struct thaw_stop_entry *entry, int socket,
		    struct thaw_error *err)
{
	if (!stop)
		return 0;
	pthread_mutex_lock(&stop->lock);
	bool asked = stop->asked;
	if (!asked) {
		*entry = (struct thaw_stop_entry){.stop = stop,
						  .next = stop->entries,
						  .link = &stop->entries,
						  .socket = socket};
		if (entry->next)
			entry->next->link = &entry->next;
		stop->entries = entry;
	}
	pthread_mutex_unlock(&stop->lock);
	return stop_refuse(asked, err);
}

void thaw_stop_leave(struct thaw_stop_entry *entry)
{
	struct thaw_stop *stop = entry->stop;

	if (!stop)
		return;
	pthread_mutex_lock(&stop->lock);
	*entry->link = entry->next;
	if (entry->next)
		entry->next->link = entry->link;
	entry->stop = NULL;
	pthread_mutex_unlock(&stop->lock);
}
