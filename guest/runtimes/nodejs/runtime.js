// SPDX-License-Identifier: Apache-2.0
// The Node.js runtime: loads the handler, then event after event.
//
// Requires are few and late on purpose: everything here is paid for by every cold start.

'use strict';

const { Client } = require('./client.js');
const failures = require('./failures.js');
const { call } = require('./invocation.js');
const { load } = require('./load.js');
const logging = require('./logging.js');
const snapshot = require('./snapshot.js');
const streaming = require('./streaming.js');

const environ = process.env;
const client = new Client(environ);

// Where an error goes that nobody catches: to the init, to the invocation that runs, or, between two of
// them, nowhere but to the log.
let report = (document, type) => client.initError(document, type);
let dying = false;

async function die(status, title, error, type) {
	failures.log(title, error);
	// The first one is told; the process ends by it.
	if (dying)
		return;
	dying = true;
	const described = failures.describe(error);
	try {
		if (report)
			await report(described.document, type || described.type);
	} catch (refused) {
		process.stderr.write(`LAMBDA_RUNTIME ${refused.message}\n`);
	}
	process.exit(status);
}

function catchTheUncaught() {
	process.on('uncaughtException', (error) => die(129, 'Uncaught Exception', error));
	process.on('unhandledRejection', (reason) =>
		die(128, 'Unhandled Promise Rejection', new failures.UnhandledRejection(reason)));
}

const REHEARSAL = Buffer.from(
	'HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 00000000-0000-0000-0000-000000000000\r\n' +
	'Lambda-Runtime-Deadline-Ms: 0\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n' +
	'Content-Length: 2\r\n\r\n{}');

// Without the handler, what every event goes through: functions are compiled when they are first called,
// and then are in the snapshot.
async function rehearse() {
	for (let i = 0; i < 2; i++) {
		const { headers, body } = client.rehearse(REHEARSAL);
		await call(client, async (event, context) => {
			context.getRemainingTimeInMillis();
			return event;
		}, headers, body, environ);
	}
	snapshot.restored({}, environ);
}

// Before-snapshot hooks, the wait in which the snapshot is taken, after-restore hooks.
async function passSnapshot() {
	try {
		await snapshot.runBefore();
	} catch (error) {
		return die(1, 'Before-snapshot hook', error, 'Runtime.BeforeSnapshotError');
	}
	await rehearse();
	// Without hooks the first event will say that this is a copy: one round trip less in every restore.
	if (!snapshot.hasAfter())
		return undefined;
	const headers = await client.restoreNext();
	report = (document, type) => client.restoreError(document, type);
	try {
		// First of all, for a hook may well draw a random number.
		snapshot.restored(headers, environ);
		await snapshot.runAfter();
	} catch (error) {
		return die(1, 'After-restore hook', error, 'Runtime.AfterRestoreError');
	}
	return undefined;
}

function begin(headers) {
	const id = headers['lambda-runtime-aws-request-id'];
	const trace = headers['lambda-runtime-trace-id'];
	logging.setRequestId(id);
	report = (document, type) => client.invocationError(id, document, type);
	if ('thaw-restored' in headers)
		snapshot.restored(headers, environ);
	if (trace)
		environ._X_AMZN_TRACE_ID = trace;
	else
		delete environ._X_AMZN_TRACE_ID;
	return id;
}

function fail(error) {
	failures.log('Invoke Error', error);
	return failures.describe(error);
}

// Sends the answer to one event; a promise of the next one.
async function serveOne(handler, { headers, body }) {
	const id = begin(headers);
	let answer;
	try {
		answer = await call(client, handler, headers, body, environ);
	} catch (error) {
		const { document, type } = fail(error);
		answer = { send: () => client.failAndNext(id, document, type) };
	}
	// An error nobody caught has been told for this invocation.
	if (dying)
		return new Promise(() => {});
	const failure = 'error' in answer ? fail(answer.error) : undefined;
	report = null;
	return answer.send(failure);
}

async function main() {
	logging.install();
	// Told like the C library: see bootstrap.
	if (/-AVX/.test(environ.GLIBC_TUNABLES))
		require('./native.node').narrow();
	catchTheUncaught();
	globalThis.awslambda = {
		streamifyResponse: streaming.streamifyResponse,
		HttpResponseStream: streaming.HttpResponseStream,
	};
	globalThis.thaw = snapshot.hooks;
	const copied = environ.AWS_LAMBDA_INITIALIZATION_TYPE === 'snap-start';
	let handler;
	try {
		if (copied)
			snapshot.prepare();
		handler = await load(environ.LAMBDA_TASK_ROOT || '/var/task', environ._HANDLER || '');
	} catch (error) {
		return die(1, 'Uncaught Exception', error);
	}
	if (copied)
		await passSnapshot();
	report = null;
	let event = await client.next();
	for (;;)
		event = await serveOne(handler, event);
}

main();
