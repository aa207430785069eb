// SPDX-License-Identifier: Apache-2.0
// The console, as Lambda has it: one record a line, with the time, the invocation and the level.
//
//	2026-01-31T12:00:00.123Z\t<request id>\tINFO\ttext

'use strict';

const fs = require('fs');
const util = require('util');

let requestId; // "undefined" is printed while there is none

// All of it, before anything else happens: what an invocation says must have left before its answer, and
// nothing is lost when the process is killed.
function write(fd, bytes) {
	while (bytes.length > 0) {
		try {
			bytes = bytes.subarray(fs.writeSync(fd, bytes));
		} catch (error) {
			if (error.code !== 'EAGAIN')
				return; // nobody listens any more
			// A child that has the pipe too made it non-blocking, and it is full.
			Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
		}
	}
}

// process.stdout and process.stderr, made when they are first asked for: Node.js' own would go on writing
// after the answer.
function replaceStream(name, fd) {
	let stream;
	Object.defineProperty(process, name, {
		configurable: true,
		enumerable: true,
		get() {
			if (!stream) {
				const { Writable } = require('stream');
				stream = new Writable({
					decodeStrings: true,
					write(chunk, encoding, done) {
						write(fd, chunk);
						done();
					},
				});
				stream.fd = fd;
			}
			return stream;
		},
	});
}

// A line's end inside of a record becomes a carriage return: whoever reads lines has a record each.
function log(level, text) {
	const record = text.replace(/\n/g, '\r');
	write(1, Buffer.from(`${new Date().toISOString()}\t${requestId}\t${level}\t${record}\n`));
}

function install() {
	replaceStream('stdout', 1);
	replaceStream('stderr', 2);
	const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR' };
	for (const [name, level] of Object.entries(levels))
		console[name] = (...args) => log(level, util.format(...args));
	console.trace = function trace(...args) {
		const record = { name: 'Trace', message: util.format(...args) };
		Error.captureStackTrace(record, trace);
		log('TRACE', record.stack);
	};
	console.dir = (value, options) => log('INFO', util.inspect(value, { customInspect: false, ...options }));
}

module.exports = { install, log, setRequestId(id) { requestId = id; } };
