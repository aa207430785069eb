/* SPDX-License-Identifier: Apache-2.0 */
/* The little JSON and base64 an agent needs: error documents out, a trailer in. */
#ifndef THAW_AGENT_JSON_H
#define THAW_AGENT_JSON_H

#include <stddef.h>
#include <stdint.h>

/* {"errorMessage":...,"errorType":...} with both strings escaped, in memory the caller frees; NULL
 * when there is none. `*size` does not count the terminating 0. */
char *thaw_json_error(const char *type, const char *message, size_t *size);

/* Decodes standard base64 (RFC 4648 4). NULL when it is not that; the caller frees. */
uint8_t *thaw_base64_decode(const char *text, size_t size, size_t *decoded);

#endif
