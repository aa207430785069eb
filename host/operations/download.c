/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/download.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "host/keyring.h"
#include "host/daemon/archives.h"
#include "host/operations/operation.h"

#define PURPOSE "archive location 1"

#define SIGNATURE_TEXT (2 * THAW_MAC_SIZE + 1)

/* The digest and the time have one spelling each, and the line break is in neither. */
static int location_sign(struct thaw_service *service, const char *digest, int64_t expires,
			 char signature[SIGNATURE_TEXT])
{
	uint8_t mac[THAW_MAC_SIZE];
	char text[160];

	int n = snprintf(text, sizeof(text), "%.*s\n%" PRId64, THAW_DIGEST_TEXT, digest, expires);
	int rc = thaw_keyring_mac(service->keyring, PURPOSE, text, (size_t)n, mac, NULL);
	for (size_t i = 0; rc == 0 && i < sizeof(mac); i++)
		snprintf(signature + 2 * i, 3, "%02x", mac[i]);
	return rc;
}

/* As the client says it, when that can stand in an URL; else where we listen. */
static void location_host(const struct thaw_service *service, const struct thaw_call *call,
			  char host[256])
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-:[]_";
	const char *given = thaw_http_header(call->request, "Host");
	const struct thaw_config *config = service->config;

	if (given && *given && strlen(given) < 256 && !given[strspn(given, allowed)])
		snprintf(host, 256, "%s", given);
	else if (strchr(config->address, ':'))
		snprintf(host, 256, "[%s]:%u", config->address, config->port);
	else
		snprintf(host, 256, "%s:%u", config->address, config->port);
}

int thaw_archive_location(struct thaw_service *service, const struct thaw_call *call,
			  const char *sha256, char *url, size_t size)
{
	int64_t expires = (int64_t)time(NULL) + THAW_ARCHIVE_EXPIRES_S;
	char digest[THAW_DIGEST_TEXT], signature[SIGNATURE_TEXT], host[256];

	int rc = thaw_archives_digest(sha256, digest);
	if (rc == 0)
		rc = location_sign(service, digest, expires, signature);
	if (rc < 0)
		return rc;
	location_host(service, call, host);
	int n = snprintf(url, size, "http://%s/archives/%s?expires=%" PRId64 "&signature=%s", host,
			 digest, expires, signature);
	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

bool thaw_archive_call(const struct thaw_call *call)
{
	return strcmp(call->route->operation, THAW_ARCHIVE_OPERATION) == 0;
}

struct thaw_http_response *thaw_archive_admit(struct thaw_service *service,
					      const struct thaw_call *call)
{
	const char *digest = thaw_call_path(call, "Digest");
	const char *time_text = thaw_call_query(call, "expires");
	const char *given = thaw_call_query(call, "signature");
	char signature[SIGNATURE_TEXT];

	size_t digits = time_text ? strspn(time_text, "0123456789") : 0;
	if (!digits || digits > 18 || time_text[digits] || time_text[0] == '0' || !given ||
	    strlen(given) != SIGNATURE_TEXT - 1 || strlen(digest) != THAW_DIGEST_TEXT - 1)
		return thaw_api_error_response("AccessDeniedException",
					       "The location is not complete.");
	int64_t expires = strtoll(time_text, NULL, 10);
	if (location_sign(service, digest, expires, signature) < 0)
		return thaw_api_error_response("ServiceException",
					       "Internal failure. Please retry.");
	if (CRYPTO_memcmp(given, signature, SIGNATURE_TEXT - 1) != 0)
		return thaw_api_error_response("AccessDeniedException",
					       "The signature of the location does not match.");
	if (expires < (int64_t)time(NULL))
		return thaw_api_error_response("AccessDeniedException",
					       "The location has expired.");
	return NULL;
}

struct thaw_http_response *thaw_archive_serve(struct thaw_service *service,
					      const struct thaw_call *call)
{
	struct thaw_error err = {0};
	cleanup_close int fd = -1;
	struct stat st;

	struct thaw_http_response *refusal = thaw_archive_admit(service, call);
	if (refusal)
		return refusal;
	int rc = thaw_archives_open(service, thaw_call_path(call, "Digest"), &fd, &err);
	if (rc == 0 && fstat(fd, &st) < 0)
		rc = -errno;
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	struct thaw_http_response *response = thaw_http_response_new(200);
	thaw_http_response_body_file(response, thaw_fd_take(&fd), (size_t)st.st_size);
	thaw_http_response_header(response, "Content-Type", "application/zip");
	return response;
}

void thaw_archive_handle(void *service, struct thaw_call *call)
{
	thaw_http_respond(call->request, thaw_archive_serve(service, call));
}
