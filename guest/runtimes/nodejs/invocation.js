// SPDX-License-Identifier: Apache-2.0
// One call of a handler, in each of the ways it may answer: by a promise, by the callback, by the old
// methods of the context, or by a stream.

'use strict';

const { AsyncResource } = require('async_hooks');
const { Fault } = require('./failures.js');
const streaming = require('./streaming.js');

// What happens when nothing is left in the event loop.
let whenIdle = null;

process.on('beforeExit', () => {
	const act = whenIdle;
	whenIdle = null;
	if (act)
		act();
});

// What a caller passed along may be anything; it must not fail the invocation.
function parseHeader(text) {
	if (!text)
		return undefined;
	try {
		return JSON.parse(Buffer.from(text, 'latin1').toString());
	} catch {
		return undefined;
	}
}

function makeContext(headers, environ) {
	const deadline = Number(headers['lambda-runtime-deadline-ms'] || 0);
	return {
		callbackWaitsForEmptyEventLoop: true,
		functionVersion: environ.AWS_LAMBDA_FUNCTION_VERSION,
		functionName: environ.AWS_LAMBDA_FUNCTION_NAME,
		memoryLimitInMB: environ.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
		logGroupName: environ.AWS_LAMBDA_LOG_GROUP_NAME,
		logStreamName: environ.AWS_LAMBDA_LOG_STREAM_NAME,
		clientContext: parseHeader(headers['lambda-runtime-client-context']),
		identity: parseHeader(headers['lambda-runtime-cognito-identity']),
		invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
		awsRequestId: headers['lambda-runtime-aws-request-id'],
		getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
	};
}

function parseEvent(body) {
	try {
		return JSON.parse(body.toString());
	} catch (error) {
		throw new Fault('Runtime.UnmarshalError', `Unable to unmarshal input: ${error.message}`);
	}
}

// The response's text.
function encode(result) {
	try {
		const text = JSON.stringify(result);
		return text === undefined ? 'null' : text;
	} catch (error) {
		throw new Fault('Runtime.MarshalError', `Unable to stringify response body: ${error.message}`);
	}
}

function isPromise(value) {
	return value !== null && typeof value === 'object' && typeof value.then === 'function';
}

function neverSettled() {
	return new Fault('Runtime.NodeJsExit',
		'The event loop is empty and the promise of the handler is still pending: nothing can settle it');
}

// The result of a handler that answers as a whole.
function callBuffered(handler, event, context) {
	return new Promise((resolve, reject) => {
		const succeed = (result) => { whenIdle = null; resolve(result); };
		const fail = (error) => { whenIdle = null; reject(error); };
		let called = false;
		const answer = (error, result, waits) => {
			if (called)
				return;
			called = true;
			if (error !== undefined && error !== null)
				fail(error);
			else if (waits)
				whenIdle = () => resolve(result);
			else
				succeed(result);
		};
		const callback = (error, result) =>
			answer(error, result, context.callbackWaitsForEmptyEventLoop);
		context.done = (error, result) => answer(error, result, false);
		context.succeed = (result) => answer(null, result, false);
		context.fail = (error) => answer(error === undefined || error === null ? 'handled' : error);
		// A handler that calls nothing and leaves nothing to wait for has answered null.
		whenIdle = () => resolve(null);
		const returned = handler(event, context, callback);
		if (isPromise(returned)) {
			if (!called)
				whenIdle = () => reject(neverSettled());
			returned.then((result) => answer(null, result, false), (error) => {
				// Also where it is undefined that was thrown.
				called = true;
				fail(error);
			});
		}
	});
}

// Calls the handler and sends what it answers: a promise of the function that sends it, together with the
// request for the next event. Rejects with what the handler throws.
async function callStreaming(client, handler, event, context) {
	const stream = streaming.makeStream(client, context.awsRequestId);
	try {
		await new Promise((resolve, reject) => {
			const fail = (error) => { whenIdle = null; reject(error); };
			let pending = true; // the handler's promise
			const settle = () => {
				if (!pending && stream.writableFinished) {
					whenIdle = null;
					resolve();
				}
			};
			stream.on('error', fail);
			stream.on('finish', settle);
			whenIdle = () => {
				if (pending)
					reject(neverSettled());
				else
					stream.end(); // which it forgot
			};
			const returned = handler(event, stream, context);
			if (isPromise(returned)) {
				returned.then(() => { pending = false; settle(); }, fail);
			} else {
				pending = false;
				settle();
			}
		});
	} catch (error) {
		if (!stream.begun)
			throw error;
		stream.destroy();
		return { error, send: (failure) => client.streamEndAndNext(failure) };
	}
	return { send: () => client.streamEndAndNext(null) };
}

// As callStreaming, for any handler: {send} sends the answer and resolves to the next event. With `error`
// the handler failed in the middle of its stream; `send` then takes what is to be told of it.
async function call(client, handler, headers, body, environ) {
	const context = makeContext(headers, environ);
	const event = parseEvent(body);
	// A scope of its own: what the handler's AsyncLocalStorage holds ends with the invocation.
	const scope = new AsyncResource('Invocation');
	if (streaming.isStreaming(handler))
		return scope.runInAsyncScope(callStreaming, null, client, handler, event, context);
	const text = encode(await scope.runInAsyncScope(callBuffered, null, handler, event, context));
	return { text, send: () => client.respondAndNext(context.awsRequestId, text) };
}

module.exports = { call };
