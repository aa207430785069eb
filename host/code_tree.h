/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of code as it is read for a drive (host/code.h says what it may hold): hashed, and
 * copied in the same reading, for the user may write to it meanwhile. */
#ifndef THAW_HOST_CODE_TREE_H
#define THAW_HOST_CODE_TREE_H

#include "host/digest.h"

struct thaw_error;
struct thaw_unpack;

/* Hashes the folder `from`; copies it to the folder `to` unless that is -1, over what is there:
 * files and links take the place of others, folders are merged, and a file over a folder or the
 * reverse is -EINVAL. What is read counts against `left` (host/archive.h), whether it is copied or
 * not: -EFBIG. */
int thaw_code_tree_read(int from, int to, struct thaw_unpack *left, char digest[THAW_DIGEST_TEXT],
			struct thaw_error *err);

#endif
