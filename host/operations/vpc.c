/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/vpc.h"

#include <stdio.h>
#include <string.h>

#include "host/network/networks.h"
#include "host/operations/function_config.h"
#include "host/operations/operation.h"

#define SUBNET          "subnet-"
#define SUBNETS_MAX     16
#define GROUPS_MAX      5
#define GROUP_CHARS_MAX 128

static void refuse(struct thaw_request *request, const char *format, const char *first,
		   const char *second)
{
	if (!request->refusal)
		request->refusal = thaw_api_error_response("InvalidParameterValueException", format,
							   first, second);
}

/* "subnet-egress, subnet-lan", or "none". */
static void list_subnets(const struct thaw_networks *networks, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "%s", networks->count ? "" : "none");

	for (size_t i = 0; i < networks->count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s" SUBNET "%s", i ? ", " : "",
					 networks->subnet[i].name);
}

static bool subnet_there(const struct thaw_networks *networks, const char *id)
{
	size_t prefix = strlen(SUBNET);

	return strncmp(id, SUBNET, prefix) == 0 && thaw_networks_find(networks, id + prefix);
}

static void check_subnets(struct thaw_request *request, const json_t *subnets)
{
	const struct thaw_networks *networks = &request->service->config->networks;
	const char *first = json_string_value(json_array_get(subnets, 0));
	char known[THAW_NETWORKS_MAX * (THAW_SUBNET_NAME_MAX + sizeof(SUBNET) + 2)];
	json_t *item;
	size_t i;

	list_subnets(networks, known, sizeof(known));
	json_array_foreach(subnets, i, item)
	{
		const char *id = json_string_value(item);
		if (!subnet_there(networks, id))
			refuse(request,
			       "The subnet ID '%.64s' does not exist. Subnets of this host: %s.",
			       id, known);
		else if (strcmp(id, first) != 0)
			refuse(request,
			       "A function has one network: the subnets '%s' and '%s' are two.",
			       first, id);
	}
}

static void check_groups(struct thaw_request *request, const json_t *groups)
{
	json_t *item;
	size_t i;

	json_array_foreach(groups, i, item)
	{
		const char *id = json_string_value(item);
		size_t size = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789._-");
		if (!size || id[size] || size > GROUP_CHARS_MAX)
			refuse(request, "The security group ID '%.64s' is not valid%s.", id, "");
	}
}

void thaw_vpc_merge(struct thaw_request *request, json_t *config)
{
	const json_t *subnets = NULL, *groups = NULL;
	struct thaw_object vpc;
	bool ipv6 = false;

	if (thaw_object_object(&request->body, "VpcConfig", THAW_OPTIONAL, &vpc) != 1 ||
	    thaw_object_strings(&vpc, "SubnetIds", THAW_OPTIONAL, 0, SUBNETS_MAX, &subnets) < 0 ||
	    thaw_object_strings(&vpc, "SecurityGroupIds", THAW_OPTIONAL, 0, GROUPS_MAX, &groups) <
		    0 ||
	    thaw_object_boolean(&vpc, "Ipv6AllowedForDualStack", THAW_OPTIONAL, &ipv6) < 0)
		return;
	if (ipv6)
		refuse(request, "%s%s",
		       "Ipv6AllowedForDualStack is not supported by this host: functions have IPv4 "
		       "only.",
		       "");
	check_subnets(request, subnets);
	check_groups(request, groups);
	if (json_array_size(subnets)) {
		json_t *copy = groups ? json_deep_copy(groups) : json_array();
		json_object_set_new(config, "VpcConfig",
				    json_pack("{s:o, s:o}", "SubnetIds", json_deep_copy(subnets),
					      "SecurityGroupIds", copy));
	} else if (json_array_size(groups)) {
		refuse(request, "%s%s",
		       "SubnetIds and SecurityIds must coexist or be both empty list.", "");
	} else {
		json_object_del(config, "VpcConfig");
	}
}

const char *thaw_vpc_network(const json_t *config)
{
	const json_t *subnets = json_object_get(json_object_get(config, "VpcConfig"), "SubnetIds");
	const char *id = json_string_value(json_array_get(subnets, 0));

	return id && strncmp(id, SUBNET, strlen(SUBNET)) == 0 ? id + strlen(SUBNET) : NULL;
}

void thaw_vpc_render(const json_t *config, json_t *out)
{
	const char *network = thaw_vpc_network(config);

	if (!network)
		return;
	json_t *vpc = json_deep_copy(json_object_get(config, "VpcConfig"));
	json_object_set_new(vpc, "VpcId", json_sprintf("vpc-%s", network));
	json_object_set_new(vpc, "Ipv6AllowedForDualStack", json_false());
	json_object_set_new(out, "VpcConfig", vpc);
}
