// SPDX-License-Identifier: Apache-2.0
// Around a snapshot: hooks, and what the copies must not have in common.
//
//	thaw.beforeSnapshot(async () => { await pool.end(); });
//	thaw.afterRestore(connect, 'host', 5432);

'use strict';

const before = [];
const after = [];

function register(list, hook, args) {
	if (typeof hook !== 'function')
		throw new TypeError('a hook is a function');
	list.push({ hook, args });
	return hook;
}

let crypto = null;
let native = null;
let integersDrawn = false;

// V8 keeps the state of Math.random where nothing can reach it, not even a flag: every copy would go on
// with the same numbers. So the function gets one that draws from OpenSSL's generator, which can be seeded
// anew, and keeps some in store; these are thrown away after a restore.
const words = new Uint32Array(512);
let used = words.length;

function random() {
	if (used === words.length) {
		crypto.randomFillSync(words);
		used = 0;
	}
	const high = words[used++] >>> 5;
	const low = words[used++] >>> 6;
	return (high * 0x4000000 + low) / 0x20000000000000; // 27 and 26 bits, of 53
}

// Before the handler is loaded, since it may keep what it finds.
function prepare() {
	crypto = require('crypto');
	native = require('./native.node');
	Math.random = random;
	const { randomInt } = crypto;
	crypto.randomInt = function watchedRandomInt(...args) {
		integersDrawn = true;
		return randomInt.apply(this, args);
	};
	Object.defineProperty(crypto.randomInt, 'name', { value: 'randomInt' });
	// `import { randomInt } from 'crypto'` sees it as well.
	require('module').syncBuiltinESMExports();
}

// Makes every source of randomness in this process differ from its clones'. The kernel's has been seeded
// anew before we were let go on; these are the states kept in user space.
function reseed() {
	if (!native.reseed())
		throw new Error('OpenSSL could not be seeded anew');
	used = words.length;
	// Node.js draws UUIDs 128 at a time, and the numbers of randomInt 1024 at a time. After so many
	// calls none of the old ones is left.
	for (let i = 0; i < 128; i++)
		crypto.randomUUID();
	if (integersDrawn) {
		for (let i = 0; i < 1024; i++)
			crypto.randomInt(2);
	}
}

// What a copy must forget of the original, before any code of the function runs.
function restored(headers, environ) {
	if (!native)
		prepare();
	reseed();
	if ('thaw-log-stream' in headers)
		environ.AWS_LAMBDA_LOG_STREAM_NAME = headers['thaw-log-stream'];
}

async function runBefore() {
	for (const { hook, args } of before.slice().reverse())
		await hook(...args);
}

async function runAfter() {
	for (const { hook, args } of after)
		await hook(...args);
}

module.exports = {
	hooks: {
		beforeSnapshot: (hook, ...args) => register(before, hook, args),
		afterRestore: (hook, ...args) => register(after, hook, args),
	},
	hasAfter: () => after.length > 0,
	prepare,
	restored,
	runBefore,
	runAfter,
};
