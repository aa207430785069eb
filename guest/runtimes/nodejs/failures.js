// SPDX-License-Identifier: Apache-2.0
// What goes wrong, in Lambda's words: error documents and their records in the log.

'use strict';

const util = require('util');
const logging = require('./logging.js');

// An error that is not the handler's own exception. `trace`: the stack to show, or the place it was made.
class Fault extends Error {
	constructor(errorType, message, trace) {
		super(message);
		this.name = errorType;
		if (trace !== undefined)
			this.stack = trace;
	}
}

// A promise was rejected and nobody looked.
class UnhandledRejection extends Fault {
	constructor(reason) {
		super('Runtime.UnhandledPromiseRejection', textOf(reason));
		this.reason = describe(reason).document;
		if (isError(reason))
			this.stack = `${this.name}: ${this.message}\n${stackOf(reason)}`;
	}
}

function isError(value) {
	return util.types.isNativeError(value) || (typeof value === 'object' && value !== null &&
		typeof value.name === 'string' && typeof value.message === 'string' &&
		typeof value.stack === 'string');
}

function textOf(value) {
	try {
		return String(value);
	} catch { // an object whose own toString throws
		return '<no message>';
	}
}

function stackOf(error) {
	return typeof error.stack === 'string' ? error.stack : '';
}

// {document, type}: what the client gets, and the header. Whatever can be thrown is told.
function describe(error) {
	let name;
	let message;
	let trace;
	try {
		if (isError(error)) {
			name = textOf(error.name);
			message = textOf(error.message);
			trace = stackOf(error).split('\n');
		} else {
			name = error === null ? 'null' : typeof error;
			message = textOf(error);
			trace = [];
		}
	} catch { // getters that throw
		name = 'handled';
		message = 'the error could not be read: its name, message or stack throws';
		trace = [];
	}
	let type = 'Unhandled';
	if (/^Runtime\.[A-Z][a-zA-Z0-9]*$/.test(name))
		type = name;
	else if (/^[A-Z][a-zA-Z0-9]*$/.test(name))
		type = `Function.${name}`;
	return { document: { errorType: name, errorMessage: message, trace }, type };
}

// One record: `Invoke Error \t{...}`, with what else the error has to say of itself.
function log(title, error) {
	const { document } = describe(error);
	let text;
	try {
		const own = isError(error) ? error : {};
		const { errorType, errorMessage, trace } = document;
		text = JSON.stringify({ errorType, errorMessage, ...own, name: undefined, stack: trace });
	} catch { // circular, or a BigInt
		text = JSON.stringify(document);
	}
	logging.log('ERROR', `${title} \t${text}`);
}

module.exports = { Fault, UnhandledRejection, describe, log };
