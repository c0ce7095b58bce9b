/* Reads translations, and collects from the sources what is to be translated. As file: prints the template of a package. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/* What the files with translations of each package are called. */
export const CATALOGUES = { 'luci-app-tsg': 'tsg', 'luci-proto-tsg': 'proto-tsg' };
const SPOKEN = /\b_\('((?:[^'\\]|\\.)*)'\)/g;

/* As it is once parsed; only what our sources use. */
function plain(literal) {
	return literal.replace(/\\u([0-9a-f]{4})/gi, (all, code) => String.fromCharCode(parseInt(code, 16))).replace(/\\(['"\\])/g, '$1');
}

async function files(folder, ending) {
	const all = await readdir(join(ROOT, folder), { recursive: true }).catch(() => []);

	return all.filter(name => name.endsWith(ending)).map(name => join(folder, name)).sort();
}

/* Each text with the files it stands in. */
export async function spoken(app) {
	const texts = new Map();
	const note = (text, file) => texts.set(text, [ ...new Set([ ...texts.get(text) ?? [], file ]) ]);
	for (const file of await files(`${app}/htdocs`, '.js'))
		for (const [ , literal ] of (await readFile(join(ROOT, file), 'utf8')).matchAll(SPOKEN))
			note(plain(literal), file);
	for (const file of await files(`${app}/root`, '.json'))
		for (const [ , literal ] of (await readFile(join(ROOT, file), 'utf8')).matchAll(/"(?:title|description)": "([^"]+)"/g))
			note(literal, file);

	return texts;
}

const quoted = text => `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"')}"`;

export async function template(app) {
	const entries = [ ...await spoken(app) ].sort(([ one ], [ other ]) => one < other ? -1 : 1)
		.map(([ text, from ]) => `${from.map(file => `#: ${file}`).join('\n')}\nmsgid ${quoted(text)}\nmsgstr ""\n`);

	return `msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n\n${entries.join('\n')}`;
}

/* By language; without what is not translated. */
export async function messages(language, app) {
	const text = await readFile(join(ROOT, app, 'po', language, `${CATALOGUES[app]}.po`), 'utf8');
	const found = text.matchAll(/^msgid ((?:"(?:[^"\\]|\\.)*"\n)+)msgstr ((?:"(?:[^"\\]|\\.)*"(?:\n|$))+)/gm);
	const joined = lines => lines.trim().split('\n').map(line => JSON.parse(line)).join('');

	return Object.fromEntries([ ...found ].map(([ , id, said ]) => [ joined(id), joined(said) ]).filter(([ id, said ]) => id && said));
}

if (process.argv[1] == fileURLToPath(import.meta.url))
	process.stdout.write(await template(process.argv[2]));
