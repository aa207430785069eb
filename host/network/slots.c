/* SPDX-License-Identifier: Apache-2.0 */
#include "host/network/slots.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/network/nft.h"
#include "host/network/rules.h"
#include "host/timeouts.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

#define STACK (1u << 20) /* libnftables has large messages on it */
/* After a failure: whatever it lacks may come back, but not at once. */
#define PAUSE_NS 1000000000u
/* Whether the host's rules are there still: others may flush all that there are. */
#define LOOK_NS 2000000000u
/* For the slots that are made before one's own. */
#define TAKE_TIMEOUT_MS 5000

/* One of the networks. */
struct line {
	struct thaw_slot *waiting; /* thaw_slots.most of them */
	unsigned int count, takers;
	bool wanted;
	uint8_t *used; /* a bit for each index that a slot has */
	uint32_t next;
	uint64_t tries;            /* to make one, that have ended */
	struct thaw_error failure; /* of the last; code 0: it did not fail */
	uint64_t pause_until_ns;
};

struct thaw_slots {
	const struct thaw_networks *networks;
	struct thaw_slot_maker maker; /* the thread's */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake, made;
	bool ending;
	unsigned int most;
	struct thaw_slots_counts counts;
	struct line line[THAW_NETWORKS_MAX];
};

/* --- the host ------------------------------------------------------------------------------ */

static int host_rules(const struct thaw_networks *networks, struct thaw_error *err)
{
	cleanup_free char *text = thaw_rules_host(networks);

	return text ? thaw_nft_run(text, err) : thaw_error_errno(err, ENOMEM, "the host's rules");
}

static void host_rules_gone(const struct thaw_networks *networks)
{
	cleanup_free char *text = thaw_rules_host_gone(networks);
	struct thaw_error err = {0};

	if (text && thaw_nft_run(text, &err) < 0)
		thaw_log(THAW_LOG_WARN, "%s", err.message);
}

/* The rules first: from the moment on that the uplinks forward, they say what. */
static int host_prepare(struct thaw_slots *slots, struct thaw_error *err)
{
	const struct thaw_networks *networks = slots->networks;
	struct thaw_netlink *host = &slots->maker.host;

	int rc = host_rules(networks, err);
	for (size_t i = 0; rc == 0 && i < networks->uplink_count; i++) {
		int index = thaw_netlink_index(host, networks->uplinks[i], err);
		rc = index < 0 ? index : thaw_netlink_forward(host, index, err);
		if (rc < 0)
			thaw_error_wrap(err, "network-uplink");
	}
	return rc;
}

/* "nft flush ruleset", as a firewall's reload has it, takes ours too. Slots have their own rules,
 * in their own namespaces, and are not touched. */
static void host_look(struct thaw_slots *slots)
{
	char probe[64];
	struct thaw_error err = {0};

	snprintf(probe, sizeof(probe), "list chain inet thaw_%s from_slots\n", slots->networks->id);
	if (thaw_nft_run(probe, NULL) == 0)
		return;
	int rc = host_rules(slots->networks, &err);
	thaw_log(THAW_LOG_WARN, "the rules of nftables were gone%s%s",
		 rc < 0 ? ", and cannot be set again: " : " and are set again",
		 rc < 0 ? err.message : "");
}

/* --- indices ------------------------------------------------------------------------------- */

static bool index_used(const struct line *line, uint32_t index)
{
	return line->used[index / 8] & 1u << index % 8;
}

/* The next that no slot has, from the one behind the last: an address comes again as late as can
 * be. */
static int index_take(struct line *line, uint32_t size, uint32_t *index, struct thaw_error *err)
{
	for (uint32_t i = 0; i < size; i++) {
		*index = (line->next + i) % size;
		if (index_used(line, *index))
			continue;
		line->used[*index / 8] |= (uint8_t)(1u << *index % 8);
		line->next = (*index + 1) % size;
		return 0;
	}
	return thaw_error_set(err, EADDRNOTAVAIL, "all of its %u addresses are in use", size);
}

static void index_release(struct line *line, uint32_t index)
{
	line->used[index / 8] &= (uint8_t) ~(1u << index % 8);
}

/* --- making -------------------------------------------------------------------------------- */

/* Without the lock, but for the indices. What a predecessor, or another daemon in the same range,
 * has is passed over. */
static int slots_make(struct thaw_slots *slots, unsigned int network, struct thaw_slot *slot,
		      struct thaw_error *err)
{
	struct line *line = &slots->line[network];
	uint32_t size = thaw_subnet_size(&slots->networks->subnet[network]), index;
	int rc;

	for (uint32_t tries = 0; tries < size; tries++) {
		pthread_mutex_lock(&slots->lock);
		rc = index_take(line, size, &index, err);
		pthread_mutex_unlock(&slots->lock);
		if (rc < 0)
			return thaw_error_wrap(err, "network \"%s\"",
					       slots->networks->subnet[network].name);
		rc = thaw_slot_make(&slots->maker, network, index, slot, err);
		if (rc == 0)
			return 0;
		pthread_mutex_lock(&slots->lock);
		index_release(line, index);
		pthread_mutex_unlock(&slots->lock);
		if (rc != -EEXIST)
			return rc;
	}
	return rc;
}

/* The network that lacks slots most: first those that somebody waits for. */
static int slots_lack(const struct thaw_slots *slots, uint64_t now, uint64_t *until)
{
	unsigned int worst = 0;
	int found = -1;

	for (unsigned int i = 0; i < slots->networks->count; i++) {
		const struct line *line = &slots->line[i];
		unsigned int most = line->wanted ? slots->most : 0;
		unsigned int lack = line->count < most ? most - line->count : 0;
		if (line->takers)
			lack += slots->most + line->takers;
		if (!lack || line->count == slots->most)
			continue;
		if (line->pause_until_ns > now) {
			if (line->pause_until_ns < *until)
				*until = line->pause_until_ns;
			continue;
		}
		if (lack > worst) {
			worst = lack;
			found = (int)i;
		}
	}
	return found;
}

static void slots_made(struct thaw_slots *slots, struct line *line, int rc,
		       const struct thaw_slot *slot, const struct thaw_error *err)
{
	line->tries++;
	if (rc < 0) {
		slots->counts.failed++;
		line->failure = *err;
		line->pause_until_ns = thaw_monotonic_ns() + PAUSE_NS;
		thaw_log(THAW_LOG_WARN, "%s", err->message);
	} else {
		slots->counts.made++;
		slots->counts.waiting++;
		line->failure.code = 0;
		line->waiting[line->count++] = *slot;
	}
	pthread_cond_broadcast(&slots->made);
}

static void *slots_thread(void *opaque)
{
	struct thaw_slots *slots = opaque;
	uint64_t look = thaw_monotonic_ns() + LOOK_NS;
	struct thaw_slot slot;

	pthread_mutex_lock(&slots->lock);
	while (!slots->ending) {
		uint64_t now = thaw_monotonic_ns(), until = look;
		struct thaw_error err = {0};
		if (now >= look) {
			pthread_mutex_unlock(&slots->lock);
			host_look(slots);
			pthread_mutex_lock(&slots->lock);
			look = thaw_monotonic_ns() + LOOK_NS;
			continue;
		}
		int network = slots_lack(slots, now, &until);
		if (network < 0) {
			const struct timespec time = {.tv_sec = (time_t)(until / 1000000000u),
						      .tv_nsec = (long)(until % 1000000000u)};
			pthread_cond_timedwait(&slots->wake, &slots->lock, &time);
			continue;
		}
		pthread_mutex_unlock(&slots->lock);
		int rc = slots_make(slots, (unsigned int)network, &slot, &err);
		pthread_mutex_lock(&slots->lock);
		slots_made(slots, &slots->line[network], rc, &slot, &err);
	}
	pthread_mutex_unlock(&slots->lock);
	return NULL;
}

/* --- its life ------------------------------------------------------------------------------ */

static int slots_allocate(struct thaw_slots *slots, struct thaw_error *err)
{
	for (size_t i = 0; i < slots->networks->count; i++) {
		struct line *line = &slots->line[i];
		line->waiting = calloc(slots->most, sizeof(*line->waiting));
		line->used = calloc(thaw_subnet_size(&slots->networks->subnet[i]) / 8 + 1, 1);
		if (!line->waiting || !line->used)
			return thaw_error_errno(err, ENOMEM, "network slots");
	}
	return 0;
}

static void slots_destroy(struct thaw_slots *slots)
{
	for (size_t i = 0; i < slots->networks->count; i++) {
		struct line *line = &slots->line[i];
		while (line->count)
			thaw_slot_close(&line->waiting[--line->count]);
		free(line->waiting);
		free(line->used);
	}
	thaw_slot_maker_close(&slots->maker);
	pthread_cond_destroy(&slots->wake);
	pthread_cond_destroy(&slots->made);
	pthread_mutex_destroy(&slots->lock);
	free(slots);
}

static int slots_start(struct thaw_slots *slots, struct thaw_error *err)
{
	pthread_attr_t attr;

	int rc = slots_allocate(slots, err);
	if (rc == 0)
		rc = thaw_slot_maker_open(&slots->maker, slots->networks, err);
	if (rc == 0)
		rc = host_prepare(slots, err);
	if (rc < 0)
		return rc;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	rc = pthread_create(&slots->thread, &attr, slots_thread, slots);
	pthread_attr_destroy(&attr);
	return rc ? thaw_error_errno(err, rc, "starting a thread") : 0;
}

struct thaw_slots *thaw_slots_new(const struct thaw_networks *networks, unsigned int count,
				  struct thaw_error *err)
{
	struct thaw_slots *slots = calloc(1, sizeof(*slots));
	pthread_condattr_t monotonic;

	if (!slots) {
		thaw_error_errno(err, ENOMEM, "network slots");
		return NULL;
	}
	slots->networks = networks;
	slots->most = count;
	slots->maker = (struct thaw_slot_maker){.host_namespace = -1, .host = THAW_NETLINK_NONE};
	pthread_mutex_init(&slots->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&slots->wake, &monotonic);
	pthread_cond_init(&slots->made, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (slots_start(slots, err) == 0)
		return slots;
	thaw_error_wrap(err, "networks for functions");
	slots_destroy(slots);
	return NULL;
}

void thaw_slots_free(struct thaw_slots *slots)
{
	if (!slots)
		return;
	pthread_mutex_lock(&slots->lock);
	slots->ending = true;
	pthread_cond_signal(&slots->wake);
	pthread_mutex_unlock(&slots->lock);
	pthread_join(slots->thread, NULL);
	host_rules_gone(slots->networks);
	slots_destroy(slots);
}

static struct line *slots_line(struct thaw_slots *slots, const struct thaw_subnet *subnet)
{
	return &slots->line[subnet - slots->networks->subnet];
}

void thaw_slots_expect(struct thaw_slots *slots, const struct thaw_subnet *subnet)
{
	pthread_mutex_lock(&slots->lock);
	slots_line(slots, subnet)->wanted = true;
	pthread_cond_signal(&slots->wake);
	pthread_mutex_unlock(&slots->lock);
}

int thaw_slots_take(struct thaw_slots *slots, const struct thaw_subnet *subnet,
		    struct thaw_slot *slot, struct thaw_error *err)
{
	uint64_t deadline = thaw_monotonic_ns() + thaw_timeout_ms(TAKE_TIMEOUT_MS) * 1000000ull;
	const struct timespec until = {.tv_sec = (time_t)(deadline / 1000000000u),
				       .tv_nsec = (long)(deadline % 1000000000u)};
	struct line *line = slots_line(slots, subnet);
	int rc = 0;

	pthread_mutex_lock(&slots->lock);
	line->wanted = true;
	slots->counts.missed += !line->count;
	uint64_t tries = line->tries;
	line->takers++;
	pthread_cond_signal(&slots->wake);
	while (rc == 0 && !line->count) {
		if (line->tries != tries && line->failure.code) {
			*err = line->failure;
			rc = -err->code;
		} else if (pthread_cond_timedwait(&slots->made, &slots->lock, &until) ==
			   ETIMEDOUT) {
			rc = thaw_error_set(err, ETIMEDOUT, "network \"%s\": no slot in %d ms",
					    subnet->name, TAKE_TIMEOUT_MS);
		}
	}
	line->takers--;
	if (rc == 0) {
		*slot = line->waiting[--line->count];
		slots->counts.waiting--;
		slots->counts.taken++;
		slots->counts.used++;
		/* One for the one that was taken. */
		pthread_cond_signal(&slots->wake);
	}
	pthread_mutex_unlock(&slots->lock);
	return rc;
}

void thaw_slots_return(struct thaw_slots *slots, struct thaw_slot *slot)
{
	if (slot->tap < 0)
		return;
	thaw_slot_close(slot);
	pthread_mutex_lock(&slots->lock);
	index_release(&slots->line[slot->network], slot->index);
	slots->counts.used--;
	pthread_mutex_unlock(&slots->lock);
}

void thaw_slots_count(struct thaw_slots *slots, struct thaw_slots_counts *counts)
{
	pthread_mutex_lock(&slots->lock);
	*counts = slots->counts;
	pthread_mutex_unlock(&slots->lock);
}
