// SPDX-License-Identifier: Apache-2.0
// Streams a part, waits until it is told to go on by time alone, and streams the next.

export const handler = awslambda.streamifyResponse(async (event, stream) => {
	for (let i = 0; i < event.parts; i++) {
		stream.write(`part ${i}\n`);
		await new Promise((resolve) => { setTimeout(resolve, event.pause); });
	}
	if (event.fail)
		throw new RangeError('in the middle');
	stream.end();
});
