// SPDX-License-Identifier: Apache-2.0
// The Runtime API over one connection that stays open, with few system calls.
//
// The agent hands every runtime a connected socket as the descriptor named in _THAW_RUNTIME_FD: it spares
// the TCP stack. Elsewhere AWS_LAMBDA_RUNTIME_API is connected to.
//
// An answer and the request for the next event leave in one write. The agent wakes us once, with the
// receipt of the answer and the next event together.
//
// The connection keeps the process alive only while we wait for something: a handler's event loop is
// empty when nothing of the handler's own is left in it.

'use strict';

const net = require('net');

const PREFIX = '/2018-06-01/runtime/';
const HOST = '\r\nHost: runtime\r\n';
const NEXT = `GET ${PREFIX}invocation/next HTTP/1.1${HOST}\r\n`;
const RESTORE_NEXT = `GET ${PREFIX}restore/next HTTP/1.1${HOST}\r\n`;
const HEAD_END = '\r\n\r\n';
const ERROR_TYPE = 'Lambda-Runtime-Function-Error-Type';
const ERROR_BODY = 'Lambda-Runtime-Function-Error-Body';
// Bytes of an error document, as the agent takes it: in a body, and in a trailer (base64).
const ERROR_MAX = 262144;
const TRAILER_MAX = 8192;

function post(path, fields) {
	return `POST ${PREFIX}${path} HTTP/1.1${HOST}${fields}`;
}

function postWhole(path, body, fields = '') {
	return post(path, `Content-Type: application/json\r\n${fields}` +
		`Content-Length: ${Buffer.byteLength(body)}${HEAD_END}`) + body;
}

function errorDocument(document, max = ERROR_MAX) {
	const text = JSON.stringify(document);
	if (Buffer.byteLength(text) <= max)
		return text;
	// Six bytes a character at the worst, as JSON writes them, and the name of its type.
	const short = document.errorMessage.slice(0, max / 8);
	return JSON.stringify({ errorType: document.errorType.slice(0, 128), errorMessage: short, trace: [] });
}

function postError(path, document, type) {
	return postWhole(path, errorDocument(document), `${ERROR_TYPE}: ${type}\r\n`);
}

function parseHead(text) {
	const lines = text.split('\r\n');
	const headers = Object.create(null);
	for (let i = 1; i < lines.length; i++) {
		const colon = lines[i].indexOf(':');
		headers[lines[i].slice(0, colon).toLowerCase()] = lines[i].slice(colon + 1).trim();
	}
	return { status: Number(lines[0].split(' ', 2)[1]), headers };
}

class Client {
	constructor(environ) {
		const fd = environ._THAW_RUNTIME_FD;
		// Node.js makes what it inherits close-on-exec; the name would only confuse children.
		delete environ._THAW_RUNTIME_FD;
		if (fd !== undefined) {
			this._socket = new net.Socket({ fd: Number(fd), readable: true, writable: true });
		} else {
			const address = environ.AWS_LAMBDA_RUNTIME_API;
			const colon = address.lastIndexOf(':');
			this._socket = net.connect(Number(address.slice(colon + 1)), address.slice(0, colon));
			this._socket.setNoDelay();
		}
		this._waiters = []; // those who get the responses, in order
		this._response = null; // the one that is coming in
		this._pending = null; // bytes of a head that is not whole
		this._body = [];
		this._missing = 0;
		this._streaming = false; // a response is on its way that has not ended
		this._socket.on('data', (chunk) => this._take(chunk));
		this._socket.on('error', (error) => this._lost(error));
		this._socket.on('close', () => this._lost(new Error('closed')));
		this._socket.unref();
	}

	_lost(error) {
		process.stderr.write(`LAMBDA_RUNTIME the Runtime API is gone: ${error.message}\n`);
		process.exit(1);
	}

	_take(chunk) {
		while (chunk.length > 0) {
			if (!this._response) {
				if (this._pending) {
					chunk = Buffer.concat([this._pending, chunk]);
					this._pending = null;
				}
				const end = chunk.indexOf(HEAD_END);
				if (end < 0) {
					this._pending = chunk;
					return;
				}
				this._response = parseHead(chunk.latin1Slice(0, end));
				this._missing = Number(this._response.headers['content-length'] || 0);
				chunk = chunk.subarray(end + HEAD_END.length);
			}
			const part = chunk.length > this._missing ? chunk.subarray(0, this._missing) : chunk;
			if (part.length > 0)
				this._body.push(part);
			this._missing -= part.length;
			chunk = chunk.subarray(part.length);
			if (this._missing > 0)
				return;
			const response = this._response;
			response.body = this._body.length === 1 ? this._body[0] : Buffer.concat(this._body);
			this._response = null;
			this._body = [];
			this._waiters.shift()(response);
		}
	}

	_write(text) {
		this._socket.ref();
		this._socket.write(text);
	}

	// A promise of the next response that nobody waits for yet, which must have this status.
	_await(what, status) {
		return new Promise((resolve, reject) => {
			this._waiters.push((response) => {
				this._socket.unref();
				if (response.status === status)
					resolve(response);
				else
					reject(new Error(`${what} was answered with status ${response.status}: ` +
						`${response.body}`));
			});
		});
	}

	// The receipt of what was posted ahead of the request that is waited for.
	_expectReceipt(what) {
		this._waiters.push(({ status }) => {
			if (status !== 202)
				process.stderr.write(`LAMBDA_RUNTIME Failed to post ${what}. ` +
					`Http response code: ${status}.\n`);
		});
	}

	// Reads a made-up response: {status, headers, body}.
	rehearse(bytes) {
		let taken;
		this._waiters.push((response) => { taken = response; });
		this._take(bytes);
		return taken;
	}

	// Asks for an event and waits for it: {headers, body}.
	next() {
		this._write(NEXT);
		return this._await('invocation/next', 200);
	}

	respondAndNext(id, body) {
		this._write(postWhole(`invocation/${id}/response`, body) + NEXT);
		this._expectReceipt('handler success response');
		return this._await('invocation/next', 200);
	}

	failAndNext(id, document, type) {
		this._write(postError(`invocation/${id}/error`, document, type) + NEXT);
		this._expectReceipt('handler error response');
		return this._await('invocation/next', 200);
	}

	// A response that is sent while it is made: streamBegin, streamWrite..., streamEndAndNext.
	streamBegin(id, contentType) {
		this._streaming = true;
		this._socket.write(post(`invocation/${id}/response`,
			`Content-Type: ${contentType}\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n` +
			`Transfer-Encoding: chunked\r\nTrailer: ${ERROR_TYPE}, ${ERROR_BODY}${HEAD_END}`));
	}

	// done(error) when there is room for more.
	streamWrite(chunk, done) {
		this._socket.cork();
		this._socket.write(`${chunk.length.toString(16)}\r\n`);
		this._socket.write(chunk);
		this._socket.write('\r\n', done);
		this._socket.uncork();
	}

	// failure: {document, type} of an error in the middle of it, or null.
	_streamEnd(failure) {
		this._streaming = false;
		if (!failure)
			return '0\r\n\r\n';
		const body = Buffer.from(errorDocument(failure.document, TRAILER_MAX)).toString('base64');
		return `0\r\n${ERROR_TYPE}: ${failure.type}\r\n${ERROR_BODY}: ${body}\r\n\r\n`;
	}

	streamEndAndNext(failure) {
		this._write(this._streamEnd(failure) + NEXT);
		this._expectReceipt('streamed response');
		return this._await('invocation/next', 200);
	}

	// Says that a snapshot may be taken, and waits until one is restored: the headers.
	async restoreNext() {
		this._write(RESTORE_NEXT);
		return (await this._await('restore/next', 200)).headers;
	}

	// The last words before the process ends.
	_report(path, document, type, what) {
		this._write(this._streaming ? this._streamEnd({ document, type })
			: postError(path, document, type));
		return this._await(what, 202);
	}

	initError(document, type) {
		return this._report('init/error', document, type, 'init error');
	}

	restoreError(document, type) {
		return this._report('restore/error', document, type, 'restore error');
	}

	invocationError(id, document, type) {
		return this._report(`invocation/${id}/error`, document, type, 'invocation error');
	}
}

module.exports = { Client };
