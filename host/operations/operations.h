/* SPDX-License-Identifier: Apache-2.0 */
/* All operations by name. What each takes and gives is in the public model (docs/api.md). */
#ifndef THAW_HOST_OPERATIONS_OPERATIONS_H
#define THAW_HOST_OPERATIONS_OPERATIONS_H

#include "host/operations/operation.h"

/* functions.c, function_config.c, code.c */
thaw_operation_fn thaw_operation_create_function;
thaw_operation_fn thaw_operation_get_function;
thaw_operation_fn thaw_operation_get_function_configuration;
thaw_operation_fn thaw_operation_update_function_code;
thaw_operation_fn thaw_operation_update_function_configuration;
thaw_operation_fn thaw_operation_delete_function;
thaw_operation_fn thaw_operation_list_functions;
/* versions.c */
thaw_operation_fn thaw_operation_publish_version;
thaw_operation_fn thaw_operation_list_versions_by_function;
/* invoke.c: answered when the invocation has ended; struct thaw_route, handle. */
void thaw_operation_invoke(void *service, struct thaw_call *call);
void thaw_operation_invoke_async(void *service, struct thaw_call *call);
void thaw_operation_invoke_with_response_stream(void *service, struct thaw_call *call);

/* account.c */
thaw_operation_fn thaw_operation_get_account_settings;
/* aliases.c */
thaw_operation_fn thaw_operation_create_alias;
thaw_operation_fn thaw_operation_get_alias;
thaw_operation_fn thaw_operation_update_alias;
thaw_operation_fn thaw_operation_delete_alias;
thaw_operation_fn thaw_operation_list_aliases;
/* concurrency.c */
thaw_operation_fn thaw_operation_put_function_concurrency;
thaw_operation_fn thaw_operation_get_function_concurrency;
thaw_operation_fn thaw_operation_delete_function_concurrency;
/* event_invoke.c */
thaw_operation_fn thaw_operation_put_function_event_invoke_config;
thaw_operation_fn thaw_operation_update_function_event_invoke_config;
thaw_operation_fn thaw_operation_get_function_event_invoke_config;
thaw_operation_fn thaw_operation_delete_function_event_invoke_config;
thaw_operation_fn thaw_operation_list_function_event_invoke_configs;
/* layers.c */
thaw_operation_fn thaw_operation_publish_layer_version;
thaw_operation_fn thaw_operation_get_layer_version;
thaw_operation_fn thaw_operation_get_layer_version_by_arn;
thaw_operation_fn thaw_operation_list_layers;
thaw_operation_fn thaw_operation_list_layer_versions;
thaw_operation_fn thaw_operation_delete_layer_version;
/* policy.c */
thaw_operation_fn thaw_operation_add_permission;
thaw_operation_fn thaw_operation_remove_permission;
thaw_operation_fn thaw_operation_get_policy;
/* provisioned.c */
thaw_operation_fn thaw_operation_put_provisioned_concurrency_config;
thaw_operation_fn thaw_operation_get_provisioned_concurrency_config;
thaw_operation_fn thaw_operation_delete_provisioned_concurrency_config;
thaw_operation_fn thaw_operation_list_provisioned_concurrency_configs;
/* tags.c */
thaw_operation_fn thaw_operation_list_tags;
thaw_operation_fn thaw_operation_tag_resource;
thaw_operation_fn thaw_operation_untag_resource;

#endif
