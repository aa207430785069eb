// SPDX-License-Identifier: Apache-2.0
// Handlers that stream, in an ES module.

import { pipeline } from 'stream/promises';
import { Readable } from 'stream';

const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
	switch (event.what) {
	case 'parts':
		stream.setContentType('text/plain');
		stream.write(`${context.functionName} `);
		await later(5);
		stream.write('');
		stream.end('parts');
		break;
	case 'http':
		stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
		stream.end('body');
		break;
	case 'pipeline':
		await pipeline(Readable.from(['a', 'b', 'c']), stream);
		break;
	case 'large':
		for (let left = event.bytes; left > 0; left -= 65536) {
			if (!stream.write(Buffer.alloc(Math.min(left, 65536), 'z')))
				await new Promise((resolve) => { stream.once('drain', resolve); });
		}
		stream.end();
		break;
	case 'empty': stream.end(); break;
	case 'forgets': stream.write('unended'); break;
	case 'early': throw new RangeError('before');
	case 'middle':
		stream.write('some');
		await later(20);
		throw new RangeError('in the middle');
	case 'uncaught':
		stream.write('some');
		setTimeout(() => { throw new RangeError('uncaught'); }, 5);
		await later(10000);
		break;
	case 'never': stream.write('some'); await new Promise(() => {}); break;
	}
});
