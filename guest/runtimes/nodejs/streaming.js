// SPDX-License-Identifier: Apache-2.0
// Responses that leave while they are made, by Lambda's interface:
//
//	exports.handler = awslambda.streamifyResponse(async (event, responseStream, context) => { ... })

'use strict';

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HTTP_RESPONSE = 'application/vnd.awslambda.http-integration-response';

let Stream; // made when the first handler streams

function define() {
	const { Writable } = require('stream');

	Stream = class ResponseStream extends Writable {
		constructor(client, id) {
			super();
			this.begun = false;
			this._client = client;
			this._id = id;
			this._contentType = 'application/octet-stream';
			this._prelude = '';
		}

		setContentType(type) {
			// It goes into a header.
			if (/[^\t\x20-\x7e]/.test(type))
				throw new TypeError('a content type is printable ASCII');
			this._contentType = type;
		}

		_begin() {
			if (this.begun)
				return;
			this.begun = true;
			this._client.streamBegin(this._id, this._contentType);
			if (this._prelude)
				this._client.streamWrite(Buffer.from(`${this._prelude}\0\0\0\0\0\0\0\0`));
		}

		_write(chunk, encoding, done) {
			this._begin();
			// An empty chunk would be the end.
			if (chunk.length > 0)
				this._client.streamWrite(chunk, done);
			else
				done();
		}

		// The end itself is sent when the handler's promise is settled: it may still fail.
		_final(done) {
			this._begin();
			done();
		}
	};
}

class HttpResponseStream {
	// The same stream, which will begin with status code, headers and cookies.
	static from(stream, prelude) {
		stream.setContentType(HTTP_RESPONSE);
		stream._prelude = JSON.stringify(prelude);
		return stream;
	}
}

function streamifyResponse(handler) {
	handler[STREAMING] = 'response';
	return handler;
}

module.exports = {
	HttpResponseStream,
	streamifyResponse,
	isStreaming: (handler) => handler[STREAMING] === 'response',
	makeStream(client, id) {
		if (!Stream)
			define();
		return new Stream(client, id);
	},
};
