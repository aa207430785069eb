/* SPDX-License-Identifier: Apache-2.0 */
/* The header X-Amzn-Trace-Id, from callers that are right, and callers that are hostile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/telemetry/xray.h"

#define DIGITS "5759e988bd862e3fe1be46a994272793"
#define ROOT   "Root=1-5759e988-bd862e3fe1be46a994272793"
#define PARENT "53995c3f42cd8ad8"

/* In memory of its own size, so that a read beyond it is seen. */
static int parse(const char *text, struct thaw_xray *xray)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	int rc = thaw_xray_parse(copy, xray);
	free(copy);
	return rc;
}

static void good_headers(void **state)
{
	static const struct {
		const char *text, *parent;
		enum thaw_xray_sampled sampled;
	} cases[] = {
		{ROOT, "", THAW_XRAY_UNDECIDED},
		{ROOT ";", "", THAW_XRAY_UNDECIDED},
		{ROOT ";Sampled=?", "", THAW_XRAY_UNDECIDED},
		{ROOT ";Sampled=0", "", THAW_XRAY_NOT_SAMPLED},
		{ROOT ";Parent=" PARENT ";Sampled=1", PARENT, THAW_XRAY_SAMPLED},
		{"Sampled=1;Parent=" PARENT ";" ROOT, PARENT, THAW_XRAY_SAMPLED},
		{"Self=1-67891234-12456789abcdef012345678;" ROOT ";CalledFrom=app", "",
		 THAW_XRAY_UNDECIDED},
		{ROOT ";Parent=53995C3F42CD8AD8;Sampled=1;Lineage=1:ab12cd34:0", PARENT,
		 THAW_XRAY_SAMPLED},
		{"Root=1-5759E988-BD862E3FE1BE46A994272793;x=", "", THAW_XRAY_UNDECIDED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct thaw_xray xray;
		if (parse(cases[i].text, &xray) != 0)
			print_error("\"%s\" was refused\n", cases[i].text);
		assert_int_equal(parse(cases[i].text, &xray), 0);
		assert_string_equal(xray.trace, DIGITS);
		assert_string_equal(xray.parent, cases[i].parent);
		assert_int_equal(xray.sampled, cases[i].sampled);
	}
}

static void bad_headers(void **state)
{
	static const char *const bad[] = {
		"",
		";",
		"=",
		";" ROOT,
		ROOT ";;Sampled=1",
		"Root",
		"Root=",
		"Root=1",
		"Root=1-",
		"Root=1-5759e988",
		"Root=1-5759e988-",
		"Root=1-5759e988-bd862e3fe1be46a99427279",
		"Root=1-5759e988-bd862e3fe1be46a9942727933",
		"Root=1-5759e98-8bd862e3fe1be46a994272793",
		"Root=1-5759e988bd862e3fe1be46a994272793",
		"Root=1-5759e988bbd862e3fe1be46a994272793",
		"Root=2-5759e988-bd862e3fe1be46a994272793",
		"Root=1-5759e98g-bd862e3fe1be46a994272793",
		"Root=1-5759e988-bd862e3fe1be46a99427279 ",
		"Root=1-0x59e988-bd862e3fe1be46a994272793",
		"Root=1-00000000-000000000000000000000000",
		"Root=1-5759e988-bd862e3fe1be46a99427279\xc3",
		"root=1-5759e988-bd862e3fe1be46a994272793",
		" " ROOT,
		ROOT " ",
		ROOT "; Parent=" PARENT,
		ROOT ";" ROOT,
		ROOT ";Root=",
		ROOT ";Parent=",
		ROOT ";Parent=53995c3f42cd8ad",
		ROOT ";Parent=53995c3f42cd8ad80",
		ROOT ";Parent=53995c3f42cd8adx",
		ROOT ";Parent=0000000000000000",
		ROOT ";Parent=" PARENT ";Parent=" PARENT,
		ROOT ";Sampled=",
		ROOT ";Sampled=2",
		ROOT ";Sampled=01",
		ROOT ";Sampled=true",
		ROOT ";Sampled=1;Sampled=1",
		ROOT ";Sampled=?;Sampled=1",
		ROOT ";Sampled",
		ROOT ";nothing",
		ROOT ";=x",
		ROOT ";a=\xff",
		ROOT ";a=\r\nb",
		ROOT ";a b=c",
		"Parent=" PARENT ";Sampled=1",
	};
	const struct thaw_xray before = {.trace = "kept", .sampled = THAW_XRAY_SAMPLED};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct thaw_xray xray = before;
		if (parse(bad[i], &xray) == 0)
			print_error("\"%s\" was taken\n", bad[i]);
		assert_int_equal(parse(bad[i], &xray), -EINVAL);
		assert_memory_equal(&xray, &before, sizeof(xray));
	}
}

static void a_long_header(void **state)
{
	char text[THAW_XRAY_MAX + 2] = ROOT ";a=";
	struct thaw_xray xray;

	(void)state;
	memset(text + strlen(text), 'x', THAW_XRAY_MAX - strlen(text));
	assert_int_equal(parse(text, &xray), 0);
	strcat(text, "x");
	assert_int_equal(parse(text, &xray), -EINVAL);
}

/* Each single byte of a good header changed to each other: what is taken is still whole. */
static void mutations(void **state)
{
	static const char good[] = ROOT ";Parent=" PARENT ";Sampled=1";
	size_t taken = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		for (int c = 0; c < 256; c++) {
			char text[sizeof(good)];
			struct thaw_xray xray;
			memcpy(text, good, sizeof(good));
			text[i] = (char)c;
			if (parse(text, &xray) < 0)
				continue;
			taken++;
			assert_int_equal(strspn(xray.trace, "0123456789abcdef"), 32);
			assert_int_equal(strlen(xray.trace), 32);
			assert_true(!*xray.parent || strspn(xray.parent, "0123456789abcdef") == 16);
		}
	}
	assert_true(taken > 48 * 16);
}

static void what_is_made_is_read(void **state)
{
	struct thaw_xray first, second;
	char text[THAW_XRAY_TEXT];

	(void)state;
	thaw_xray_new(&first);
	thaw_xray_format(&first, text);
	assert_int_equal(strlen(text), 40);
	assert_int_equal(parse(text, &second), 0);
	assert_memory_equal(&first, &second, sizeof(first));
	thaw_span_id_make(first.parent);
	first.sampled = THAW_XRAY_NOT_SAMPLED;
	thaw_xray_format(&first, text);
	assert_int_equal(strlen(text), THAW_XRAY_TEXT - 1);
	assert_int_equal(parse(text, &second), 0);
	assert_memory_equal(&first, &second, sizeof(first));
	thaw_xray_new(&second);
	assert_string_not_equal(first.trace, second.trace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_headers),         cmocka_unit_test(bad_headers),
		cmocka_unit_test(a_long_header),        cmocka_unit_test(mutations),
		cmocka_unit_test(what_is_made_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
