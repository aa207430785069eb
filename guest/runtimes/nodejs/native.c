/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What JavaScript cannot ask of the libraries below it: a module for Node.js (N-API 1), compiled
 *into native.node.
 *
 *	reseed()     OpenSSL draws new entropy from the kernel. Returns whether it could.
 *	narrow()     the base64 codec inside Node.js keeps off AVX. Returns whether there is one to
 *tell.
 *
 * The prototypes are written here, so that neither Node.js' nor OpenSSL's headers are needed; the
 * symbols are those of the process that loads this.
 */
#include <stdbool.h>
#include <stddef.h>

typedef struct napi_env_object *napi_env;
typedef struct napi_value_object *napi_value;
typedef struct napi_info_object *napi_info;
typedef napi_value (*napi_function)(napi_env env, napi_info info);

int napi_create_function(napi_env env, const char *name, size_t size, napi_function function,
			 void *data, napi_value *result);
int napi_set_named_property(napi_env env, napi_value object, const char *name, napi_value value);
int napi_get_boolean(napi_env env, bool value, napi_value *result);

int RAND_poll(void);

/* Of github.com/aklomp/base64, which only some builds of Node.js export. */
__attribute__((weak)) void base64_encode(const char *in, size_t size, char *out, size_t *out_size,
					 int flags);
#define BASE64_FORCE_SSE42 (1 << 6)

static napi_value boolean(napi_env env, bool value)
{
	napi_value result = NULL;

	napi_get_boolean(env, value, &result);
	return result;
}

/* The generators of all threads notice by themselves that the one they are seeded from has been
 * seeded anew, and follow at their next use. */
static napi_value reseed(napi_env env, napi_info info)
{
	(void)info;
	return boolean(env, RAND_poll() == 1);
}

/* The codec is chosen at the first use, and for good; a flag chooses again. SSE4.2 is in every
 * processor that has AVX. */
static napi_value narrow(napi_env env, napi_info info)
{
	char out[8];
	size_t size = 0;

	(void)info;
	if (!base64_encode)
		return boolean(env, false);
	base64_encode("", 0, out, &size, BASE64_FORCE_SSE42);
	return boolean(env, true);
}

static void offer(napi_env env, napi_value exports, const char *name, napi_function function)
{
	napi_value value = NULL;

	if (napi_create_function(env, name, (size_t)-1, function, NULL, &value) == 0)
		napi_set_named_property(env, exports, name, value);
}

napi_value napi_register_module_v1(napi_env env, napi_value exports);

napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
	offer(env, exports, "reseed", reseed);
	offer(env, exports, "narrow", narrow);
	return exports;
}
