// SPDX-License-Identifier: Apache-2.0
// Handlers that the tests of the agent drive.

'use strict';

const { AsyncLocalStorage } = require('async_hooks');
const { execFileSync } = require('child_process');

const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

exports.echo = async (event) => event;
exports.plain = { nested: { echo: (event, context, callback) => callback(null, event) } };

// --- the ways to answer

exports.ways = (event, context, callback) => {
	if (event.waits === false)
		context.callbackWaitsForEmptyEventLoop = false;
	// Keeps the event loop from being empty.
	const timer = event.timer ? setTimeout(() => console.log('timer'), event.timer) : null;
	switch (event.way) {
	case 'callback': callback(null, 'called'); break;
	case 'callback-later': setTimeout(() => callback(null, 'called later'), 5); break;
	case 'callback-error': callback(new TypeError('called with an error')); break;
	case 'callback-string': callback('a string'); break;
	case 'callback-twice': callback(null, 'first'); callback(null, 'second'); break;
	case 'done': context.done(null, 'done'); break;
	case 'succeed': context.succeed('succeeded'); break;
	case 'fail': context.fail(new Error('failed')); break;
	case 'throw': throw new RangeError('thrown');
	case 'promise': return later(5).then(() => 'promised');
	case 'then-reject': return Promise.reject(undefined);
	case 'never': return new Promise(() => {});
	default: break;
	}
	if (event.clear)
		clearTimeout(timer);
	return undefined;
};

// --- what a handler sees

exports.whoami = async (event, context) => ({
	context: { ...context },
	remaining: context.getRemainingTimeInMillis(),
	env: process.env,
	cwd: process.cwd(),
	offset: new Date().getTimezoneOffset(),
	descriptors: execFileSync('/bin/sh', ['-c', 'ls -l /proc/self/fd']).toString().split('\n').filter((line) => line.includes('->')),
	heap: require('v8').getHeapStatistics().heap_size_limit >> 20,
	avx: process.execArgv.includes('--no-enable-avx'),
	simdutf: process.env.SIMDUTF_FORCE_IMPLEMENTATION,
	base64: Buffer.from('any carnal pleasur'.repeat(20)).toString('base64'),
});

const storage = new AsyncLocalStorage();
exports.leak = async () => {
	const found = storage.getStore();
	storage.enterWith('left behind');
	await later(1);
	return found === undefined ? 'nothing' : found;
};

exports.log = async () => {
	console.log('to %s', 'whom', { it: ['may'] });
	console.error('two\nlines');
	console.debug('a');
	console.warn('b');
	console.info('c');
	console.dir({ d: 1 });
	console.table([['e']]);
	process.stdout.write('raw\n');
};

exports.talk = async (size) => {
	const line = 'x'.repeat(99);
	for (let i = 0; i < size / 100; i++)
		process.stdout.write(`${line}\n`);
	console.log('record');
	process.stderr.write('an error line\n');
};

// --- what goes wrong

class TeapotError extends Error {
	constructor(message) {
		super(message);
		this.name = 'TeapotError';
		this.spout = 1n;
	}
}

function inner() {
	throw new TeapotError('short and "stout"');
}

exports.fail = async () => inner();
exports.uncaught = () => { setTimeout(inner, 1); };
exports.unhandled = async () => {
	Promise.reject(new TeapotError('nobody looked'));
	await later(10000);
};
exports.throwing = async (what) => {
	switch (what) {
	case 'null': throw null;
	case 'string': throw 'a string';
	case 'object': throw { a: 1 };
	case 'huge': throw new Error('h'.repeat(1 << 20));
	case 'name': throw Object.assign(new Error('x'), { name: 'Runtime.A\r\nEvil: 1' });
	default: throw { get name() { throw new Error('y'); } };
	}
};
exports.unserialisable = async (what) => {
	const circle = {};
	circle.circle = circle;
	return { circle, big: 1n, function: exports.echo }[what];
};
exports.leave = async (status) => process.exit(status);
exports.sleep = async (s) => {
	console.log('going to sleep');
	await later(s * 1000);
	return 'slept';
};
exports.spin = () => { for (;;); };
// As JSON a string is two bytes longer.
exports.large = async (size) => 'y'.repeat(size - 2);
exports.number = 5;
