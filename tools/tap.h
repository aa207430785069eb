/* SPDX-License-Identifier: Apache-2.0 */
/* --network TAP: a tap of the network namespace that the command runs in, for one microVM. */
#ifndef THAW_TOOLS_TAP_H
#define THAW_TOOLS_TAP_H

#include "host/environment.h"

/* Opens the tap `name`, which must exist and be nobody's: without the kernel's header before each
 * frame, non-blocking. NULL: none, *fd stays -1. TOOL_OK, or an exit code, told. */
int tap_open(const char *name, int *fd);

/* Fills `network`, without limits; NULL when `fd` is -1. */
const struct thaw_network *tap_network(struct thaw_network *network, int fd);

#endif
