/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the HTTP server share:
 *
 *	http.c             configuration, start, stop
 *	http_watch.c       connections: their slots, phases, times, and who has left
 *	http_exchange.c    one request and its answer, from libmicrohttpd's calls to the handler's
 *	http_head.c        what a head may be
 *	http_response.c    responses
 *
 * Locks, outermost first: an exchange's, the server's. libmicrohttpd's own are innermost: its
 * suspend and resume are called under an exchange's lock, and it calls back holding none of them
 * that those two take.
 */
#ifndef THAW_HOST_API_HTTP_INTERNAL_H
#define THAW_HOST_API_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "host/api/http.h"

/* What the client of a connection is doing. */
enum http_phase {
	HTTP_PHASE_NONE,   /* a slot that is free */
	HTTP_PHASE_FIRST,  /* connected; no whole head yet */
	HTTP_PHASE_IDLE,   /* answered; no whole head yet */
	HTTP_PHASE_BODY,   /* sends a body */
	HTTP_PHASE_WAIT,   /* waits for the answer: no time counts */
	HTTP_PHASE_SEND,   /* reads the answer */
	HTTP_PHASE_STREAM, /* reads what there is of a streamed answer */
};

/* The connections of one client: counted by IPv4 address or IPv6 /64. */
struct http_address {
	uint8_t key[16];
	unsigned int count;
	struct http_address *next;
};

struct http_connection {
	int fd;
	uint32_t generation; /* tells an event of this connection from one of the slot's last */
	enum http_phase phase;
	uint64_t since;    /* when the phase began, ns */
	uint64_t first_ns; /* when the first byte of the next head was noticed, 0: none yet */
	uint64_t base;     /* bytes received or acknowledged when the phase began */
	uint64_t moved;    /* of the body, in this phase */
	uint64_t busy_ns;  /* how long a stream had something for the client to take */
	uint64_t seen_ns;  /* the watch's last look */
	bool left;
	struct http_address *address;
	struct http_exchange *exchange;
	unsigned int next_free;
};

struct http_exchange {
	struct thaw_http_request request; /* first: a request's address is its exchange's */
	atomic_uint references;
	struct thaw_http_server *server;
	struct MHD_Connection *mhd; /* NULL when the connection is done with it */
	struct http_connection *connection;

	/* Only libmicrohttpd's side uses these. */
	char *target;
	char *head_text;
	struct thaw_http_header *headers;
	uint8_t *body;
	size_t body_space;
	size_t discarded;
	struct thaw_http_response *refusal; /* sent when the body has been read and dropped */
	bool headed;
	bool dispatched;
	bool http_1_0;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t changed;
	struct MHD_Response *answer;
	unsigned int status;
	bool answered; /* the handler, or the server in its place, has answered */
	bool suspended;
	bool closed; /* nobody will read any more */
	bool left;
	bool telling;
	pthread_t teller;
	void (*gone)(void *opaque, struct thaw_http_request *request);
	void *gone_opaque;

	uint8_t *stream; /* a ring of stream_max bytes */
	size_t stream_start;
	size_t stream_used;
	bool streaming;
	bool stream_ended;
	bool stream_aborted;
};

struct thaw_http_server {
	struct thaw_http_config config;
	atomic_uint references; /* the owner's and each exchange's */
	struct MHD_Daemon *daemon;
	int listener;
	uint16_t port;
	int epoll;
	int wake; /* ends the watch */
	pthread_t watch;
	bool watching;
	atomic_bool stopping; /* answers close their connections */
	atomic_bool closing;  /* handlers' answers are not waited for any more */
	atomic_size_t body_bytes;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t changed;
	struct http_connection *connections;
	unsigned int slots;
	unsigned int first_free; /* `slots`: none */
	struct http_address **buckets;
	unsigned int bucket_count; /* a power of two */
	uint64_t seed;
	struct thaw_http_figures figures;
};

struct thaw_http_response {
	unsigned int status;
	size_t header_count;
	struct thaw_http_header headers[THAW_HTTP_HEADERS_MAX];
	void *body;
	size_t body_size;
	int file;    /* -1: none; in place of the body */
	bool broken; /* something of it is lost: it is sent as 500, with nothing */
	bool shared; /* the one for want of memory: nobody's to change or free */
};

/* http_watch.c */
int http_watch_start(struct thaw_http_server *server, struct thaw_error *err);
void http_watch_stop(struct thaw_http_server *server);
enum MHD_Result http_watch_admit(void *opaque, const struct sockaddr *address, socklen_t size);
void http_watch_notify(void *opaque, struct MHD_Connection *mhd, void **context,
		       enum MHD_ConnectionNotificationCode code);
/* Both under no lock. `exchange` NULL keeps what is there. */
void http_watch_phase(struct http_exchange *exchange, enum http_phase phase);
void http_watch_moved(struct http_exchange *exchange, size_t size);
/* Ends the connections that have no request; the others too with `all`. How many are open. */
unsigned int http_watch_end(struct thaw_http_server *server, bool all);
/* http_exchange_force for every request under way. */
void http_watch_force(struct thaw_http_server *server);

/* http_exchange.c */
void *http_exchange_begin(void *opaque, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result http_exchange_step(void *opaque, struct MHD_Connection *mhd, const char *url,
				   const char *method, const char *version, const char *data,
				   size_t *size, void **context);
void http_exchange_done(void *opaque, struct MHD_Connection *mhd, void **context,
			enum MHD_RequestTerminationCode why);
void http_exchange_ref(struct http_exchange *exchange);
void http_exchange_unref(struct http_exchange *exchange);
/* Tells the handler that the client has left. */
void http_exchange_gone(struct http_exchange *exchange);
/* Answers in the handler's place: 503, or the end of a stream in its middle. */
void http_exchange_force(struct http_exchange *exchange);
void http_server_unref(struct thaw_http_server *server);

/* http_head.c: copies the head into the exchange and judges it. 0, or the status to refuse with and
 * why. */
unsigned int http_head_take(struct http_exchange *exchange, const char *method, const char *version,
			    const char **reason);

/* http_response.c: frees `response`, also without success (NULL). `stream`: the exchange whose ring
 * is the body, which the result holds a reference of. */
struct MHD_Response *http_response_make(struct thaw_http_response *response, const char *id,
					bool close, struct http_exchange *stream);
struct thaw_http_response *http_response_plain(unsigned int status, const char *reason);
ssize_t http_stream_read(void *opaque, uint64_t position, char *buffer, size_t size);
void http_stream_free(void *opaque);

#endif
