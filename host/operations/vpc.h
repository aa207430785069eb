/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VpcConfig: what a function's network is called in the API. "subnet-egress" and "subnet-NAME" name
 * the operator's networks (host/network/networks.h); no subnets are no network. Security groups are
 * kept, and mean nothing: the filter is the operator's.
 */
#ifndef THAW_HOST_OPERATIONS_VPC_H
#define THAW_HOST_OPERATIONS_VPC_H

#include <jansson.h>

struct thaw_request;

/* The request's VpcConfig, if it has one, into the stored configuration. Faults go into the
 * request. */
void thaw_vpc_merge(struct thaw_request *request, json_t *config);

/* The network that a stored configuration names; NULL: none. */
const char *thaw_vpc_network(const json_t *config);

/* A VpcConfigResponse into `out`, where there is a network. */
void thaw_vpc_render(const json_t *config, json_t *out);

#endif
