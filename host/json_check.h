/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it JSON? (RFC 8259: any value at the top, UTF-8, no byte order mark.) Events and responses
 * are passed on as the bytes they are, so nothing is built and no number is too large; only
 * nesting is bounded, by what common parsers take.
 */
#ifndef THAW_HOST_JSON_CHECK_H
#define THAW_HOST_JSON_CHECK_H

#include <stddef.h>
#include <stdint.h>

struct thaw_error;

#define THAW_JSON_DEPTH_MAX 512

/* 0, or -EINVAL with the line and column of the first fault. */
int thaw_json_check(const uint8_t *data, size_t size, struct thaw_error *err);

#endif
