/* SPDX-License-Identifier: Apache-2.0 */
/* What thawd is told: command line, file, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/daemon/config.h"
#include "lib/error.h"

static struct thaw_config config;
static struct thaw_error error;
static int rest;

/* Arguments up to NULL; no file but the one that they name. */
static int read_config(const char *first, ...)
{
	char *argv[32] = {(char *)"thawd", (char *)"--config", (char *)"/dev/null"};
	int argc = 3;
	va_list ap;

	va_start(ap, first);
	for (const char *word = first; word; word = va_arg(ap, const char *))
		argv[argc++] = (char *)word;
	va_end(ap);
	memset(&error, 0, sizeof(error));
	return thaw_config_read(&config, argc, argv, &rest, &error);
}

static void refused(int rc, const char *part)
{
	assert_int_equal(rc, -EINVAL);
	if (!strstr(error.message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, error.message);
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(read_config(NULL), THAW_CONFIG_RUN);
	assert_string_equal(config.address, "127.0.0.1");
	assert_int_equal(config.port, 9000);
	assert_string_equal(config.data, "/var/lib/thaw");
	assert_int_equal(config.concurrency, 1000);
	assert_true(config.cpu_limit);
	assert_true(config.jail);
	assert_int_equal(config.uid_first, 0);
	assert_int_equal(config.disk_mib, 0);
	assert_false(config.no_auth);
	assert_true(config.retry_scale == 1);
}

static void test_options(void **state)
{
	(void)state;
	assert_int_equal(read_config("--data", "/tmp/x", "--listen=[::1]:80", "--no-auth",
				     "--cpu-limit=no", "--idle", "7", "--retry-scale=0.01", NULL),
			 THAW_CONFIG_RUN);
	assert_string_equal(config.data, "/tmp/x");
	assert_string_equal(config.address, "::1");
	assert_int_equal(config.port, 80);
	assert_true(config.no_auth);
	assert_false(config.cpu_limit);
	assert_int_equal(config.idle_s, 7);
	assert_true(config.retry_scale == 0.01);
	assert_int_equal(read_config("--help", NULL), THAW_CONFIG_HELP);
	assert_int_equal(read_config("--version", NULL), THAW_CONFIG_VERSION);
	assert_int_equal(read_config("--data", "/tmp/x", "account", "ls", NULL),
			 THAW_CONFIG_COMMAND);
	assert_int_equal(rest, 5);
}

static void test_networks(void **state)
{
	(void)state;
	assert_int_equal(read_config("--egress", "--bridge", "lan br0 10.1.0.5-10.1.0.9/24",
				     "--bridge=dmz br1 10.2.0.5-10.2.0.9/24", "--nameserver",
				     "9.9.9.9", "--network-allow", "10.3.0.0/16", "--network-allow",
				     "10.4.0.0/16", "--network-uplink=eth0",
				     "--network-uplink=eth1", "--network-slots", "3",
				     "--network-bytes=0", NULL),
			 THAW_CONFIG_RUN);
	assert_int_equal(config.networks.count, 3);
	assert_string_equal(config.networks.subnet[2].bridge, "br1");
	assert_int_equal(config.networks.allowed_count, 2);
	assert_int_equal(config.networks.uplink_count, 2);
	assert_string_equal(config.networks.uplinks[1], "eth1");
	assert_int_equal(config.network_slots, 3);
	assert_int_equal(config.network_bytes, 0);
	assert_int_equal(read_config(NULL), THAW_CONFIG_RUN);
	assert_int_equal(config.networks.count, 0);
	refused(read_config("--egress", "--network-range", "10.0.0.0/8", NULL), "network-range");
	refused(read_config("--nameserver", "name", NULL), "nameserver");
	refused(read_config("--bridge", "lan", NULL), "bridge: ");
	refused(read_config("--network-uplink", "a-name-that-is-long", NULL), "network-uplink");
	refused(read_config("--network-slots", "0", NULL), "1 to 1000");
}

static void test_refused(void **state)
{
	char long_path[5000];

	(void)state;
	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = 0;
	refused(read_config("--nonsense", NULL), "--nonsense");
	refused(read_config("--idle", NULL), "idle");
	refused(read_config("--idle", "0", NULL), "1 to 86400");
	refused(read_config("--idle", "86401", NULL), "86401");
	refused(read_config("--idle", "-1", NULL), "-1");
	refused(read_config("--idle", "7x", NULL), "7x");
	refused(read_config("--idle", "99999999999999999999", NULL), "idle");
	refused(read_config("--retry-scale", "-0.5", NULL), "-0.5");
	refused(read_config("--retry-scale", "nan", NULL), "nan");
	refused(read_config("--listen", "9000", NULL), "9000");
	refused(read_config("--listen", "127.0.0.1:65536", NULL), "65536");
	refused(read_config("--listen", ":80", NULL), "listen");
	refused(read_config("--region", "EU west", NULL), "EU west");
	refused(read_config("--log-level", "loud", NULL), "loud");
	refused(read_config("--data", "", NULL), "data");
	refused(read_config("--data", long_path, NULL), "data");
	refused(read_config("--cpu-limit=maybe", NULL), "maybe");
	refused(read_config("--uid-first", "4294967295", NULL), "uid-first");
	/* Everybody who reaches it could do everything. */
	refused(read_config("--no-auth", "--listen", "0.0.0.0:9000", NULL), "loopback");
	refused(read_config("--no-auth", "--listen", "[::]:9000", NULL), "loopback");
}

static void file_with(char path[32], const char *text)
{
	strcpy(path, "/tmp/thaw-config-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_file(void **state)
{
	char path[32];

	(void)state;
	file_with(path, "# a comment\n\n  idle = 9 \nno-auth = yes\r\nlisten=127.0.0.1:1\n");
	assert_int_equal(read_config("--config", path, "--idle", "11", NULL), THAW_CONFIG_RUN);
	assert_int_equal(config.idle_s, 11); /* the command line comes after the file */
	assert_true(config.no_auth);
	assert_int_equal(config.port, 1);
	unlink(path);
	refused(read_config("--config", path, NULL) == -ENOENT ? -EINVAL : 0, path);

	file_with(path, "idle = 9\nidle 10\n");
	refused(read_config("--config", path, NULL), "line 2");
	unlink(path);
	file_with(path, "idel = 9\n");
	refused(read_config("--config", path, NULL), "idel");
	unlink(path);
	file_with(path, "config = /etc/passwd\n");
	refused(read_config("--config", path, NULL), "config");
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_options),
		cmocka_unit_test(test_networks), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
