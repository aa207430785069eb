/* SPDX-License-Identifier: Apache-2.0 */
/* Running another program of the host (mkfs.erofs, gnuplot, ...) and waiting for its end. */
#ifndef THAW_HOST_SUBPROCESS_H
#define THAW_HOST_SUBPROCESS_H

#include <stddef.h>

struct thaw_error;

/* Runs argv[0], looked up in PATH (with the sbin directories added), with the `size` bytes at
 * `input` as its standard input (NULL: /dev/null). What it prints is dropped but for the last line
 * of its standard error, which an error quotes. 0 when it exits with status 0; -ENOENT when there
 * is no such program (`package` says where to get it); -EIO. The program dies with us. */
int thaw_subprocess_run(char *const argv[], const char *package, const void *input, size_t size,
			struct thaw_error *err);

/* 0 when `program` is in PATH (as above), else -ENOENT. */
int thaw_subprocess_find(const char *program, char *path, size_t size);

#endif
