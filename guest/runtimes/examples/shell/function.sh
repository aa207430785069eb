# SPDX-License-Identifier: Apache-2.0
# Handler "function.handler": counts the bytes of the event.
handler() {
	bytes=$(wc -c | tr -d ' ')
	echo "an event of $bytes bytes" >&2
	printf '{"bytes":%s}' "$bytes"
}

echo_back() {
	cat
}

fail() {
	return 1
}
