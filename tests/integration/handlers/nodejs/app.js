// SPDX-License-Identifier: Apache-2.0
// A handler that does what the event's "do" says, as behaviours/app.py does it in Python.

'use strict';

const crypto = require('crypto');
const fs = require('fs');
const { promisify } = require('util');

// Drawn before the snapshot, so that every generator has a state that clones would share.
const drawn = [Math.random(), crypto.randomUUID(), crypto.randomInt(1 << 30),
	crypto.randomBytes(8).toString('hex')];

const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

const todo = {
	echo: (event) => event.value,
	raise() { throw new RangeError('short and "stout"'); },
	async reject() { await later(1); throw new RangeError('rejected'); },
	exit: (event) => process.exit(event.status),
	async unhandled() { Promise.reject(new RangeError('nobody looked')); await later(60000); },
	async print(event) {
		for (let i = 0; i < event.lines; i++)
			console.log(`line ${i}`);
		return event.lines;
	},
	big: (event) => 'y'.repeat(event.bytes - 2),
	// What hot code, wide registers and the kernel's switching of them make of each other: the sums must
	// not depend on where it runs.
	compute() {
		const numbers = new Float64Array(4096);
		let sum = 0;
		for (let round = 0; round < 200; round++) {
			for (let i = 0; i < numbers.length; i++)
				numbers[i] = numbers[i] * 0.5 + ((i * 7919 + round) % 1009) / 1024;
			sum += numbers[round];
		}
		const text = 'ä€😀x'.repeat(5000);
		const bytes = Buffer.from(text);
		return {
			sum,
			base64: crypto.createHash('sha256').update(bytes.toString('base64')).digest('hex'),
			back: Buffer.from(bytes.toString('base64'), 'base64').equals(bytes),
			text: bytes.toString() === text && new TextDecoder().decode(bytes) === text,
		};
	},
	random: async () => ({
		drawn,
		random: Math.random(),
		uuid: crypto.randomUUID(),
		plain: crypto.randomUUID({ disableEntropyCache: true }),
		int: crypto.randomInt(2 ** 47),
		bytes: crypto.randomBytes(16).toString('hex'),
		web: crypto.webcrypto.randomUUID(),
		key: crypto.generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x,
		kernel: fs.readFileSync('/proc/sys/kernel/random/uuid', 'latin1').trim(),
		// Drawn by another thread.
		later: (await promisify(crypto.randomBytes)(16)).toString('hex'),
	}),
	// Does the next of its steps each time it is called; the counter lies in /tmp, where it outlives the
	// process.
	sequence(event) {
		let step = 0;
		try {
			step = Number(fs.readFileSync('/tmp/step', 'latin1'));
		} catch { /* the first one */ }
		fs.writeFileSync('/tmp/step', String(step + 1));
		return act(event.steps[step]);
	},
};

function act(event) {
	return todo[event.do](event);
}

let calls = 0;

exports.handler = async (event, context) => {
	calls++;
	const result = await act(event);
	return { result, calls, id: context.awsRequestId, left: context.getRemainingTimeInMillis() };
};

exports.callback = (event, context, callback) => {
	setTimeout(() => callback(event.error ? new RangeError(event.error) : null, event.value), 5);
};
