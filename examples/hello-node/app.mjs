// SPDX-License-Identifier: Apache-2.0
// Greets, in an ES module: what a first function in JavaScript looks like.
//
// What is loaded here, once, is in a snapshot and shared by all its copies. What must not be shared is made in
// a hook: it runs in every copy, before its first event.

import { randomUUID } from 'node:crypto';

const greetings = { de: 'Guten Tag', en: 'Hello', fr: 'Bonjour' };

let instance = randomUUID();

thaw.afterRestore(() => {
	instance = randomUUID();
});

export const handler = async (event, context) => {
	const name = event.name ?? 'world';
	console.log('greeting %s', name);
	return {
		greeting: `${greetings[event.language] ?? greetings.en}, ${name}!`,
		instance,
		requestId: context.awsRequestId,
		remaining: context.getRemainingTimeInMillis(),
	};
};
