// SPDX-License-Identifier: Apache-2.0
// From the handler's name to the function: `dir/app.nested.handler` is `nested.handler` of what
// dir/app.js, .mjs, .cjs or the package dir/app exports.

'use strict';

const fs = require('fs');
const path = require('path');
const { Fault } = require('./failures.js');

function isFile(name) {
	const stat = fs.statSync(name, { throwIfNoEntry: false });
	return stat !== undefined && stat.isFile();
}

// Whether .js means an ES module there: the nearest package.json says.
function isModuleScope(folder) {
	for (;;) {
		let text;
		try {
			text = fs.readFileSync(path.join(folder, 'package.json'), 'utf8');
		} catch {
			const above = path.dirname(folder);
			if (above === folder || path.basename(folder) === 'node_modules')
				return false;
			folder = above;
			continue;
		}
		try {
			return JSON.parse(text).type === 'module';
		} catch {
			return false; // what is wrong with it is told when it is used
		}
	}
}

function importFile(file) {
	return import(require('url').pathToFileURL(file).href);
}

async function loadModule(root, name) {
	const base = path.resolve(root, name);
	if (isFile(`${base}.js`))
		return isModuleScope(path.dirname(base)) ? importFile(`${base}.js`) : require(`${base}.js`);
	if (isFile(`${base}.mjs`))
		return importFile(`${base}.mjs`);
	if (isFile(`${base}.cjs`))
		return require(`${base}.cjs`);
	// A folder with an index.js or a package.json, or a package of a layer.
	let file;
	try {
		file = require.resolve(base);
	} catch {
		file = require.resolve(name, { paths: [root] });
	}
	return require(file);
}

function importFault(error) {
	if (error instanceof SyntaxError)
		return new Fault('Runtime.UserCodeSyntaxError', String(error), error.stack);
	if (error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND'))
		return new Fault('Runtime.ImportModuleError', String(error), error.stack);
	return error;
}

async function load(root, name) {
	if (name.includes('..'))
		throw new Fault('Runtime.MalformedHandlerName', `'${name}' is not a valid handler name. ` +
			'Use absolute paths when specifying root directories in handler names.');
	const match = /^(.*\/)?([^./]*)\.([^/]+)$/s.exec(name);
	if (!match)
		throw new Fault('Runtime.MalformedHandlerName', 'Bad handler');
	const [, folder = '', file, exported] = match;
	let found;
	try {
		found = await loadModule(root, folder + file);
	} catch (error) {
		throw importFault(error);
	}
	for (const property of exported.split('.'))
		found = found === null || found === undefined ? undefined : found[property];
	if (found === null || found === undefined)
		throw new Fault('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
	if (typeof found !== 'function')
		throw new Fault('Runtime.HandlerNotFound', `${name} is not a function`);
	return found;
}

module.exports = { load };
