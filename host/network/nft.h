/* SPDX-License-Identifier: Apache-2.0 */
/* Rulesets into the kernel, by libnftables (libnftables(3)): all of a text at once, or nothing. */
#ifndef THAW_HOST_NETWORK_NFT_H
#define THAW_HOST_NETWORK_NFT_H

struct thaw_error;

/* In the network namespace of the calling thread. -ENOMEM; -EIO with what the kernel, or the
 * library, has against it. One thread at a time has the library: others wait. */
int thaw_nft_run(const char *text, struct thaw_error *err);

#endif
