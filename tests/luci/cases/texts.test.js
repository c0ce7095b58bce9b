/* Texts: translations are whole, and every counter and alarm of docs/operations.md has words for people. */

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { eventually, open, REAL, text } from '../harness.js';
import { CATALOGUES, messages, spoken, template } from '../po.js';

const ROOT = new URL('../../../', import.meta.url);
const APP = new URL('luci-app-tsg/', ROOT);
const RESOURCES = new URL('htdocs/luci-static/resources/', APP);
const LANGUAGES = [ 'de', 'fr' ];

const LEAST = { 'luci-app-tsg': 200, 'luci-proto-tsg': 20 };

for (const [ app, name ] of Object.entries(CATALOGUES))
	test(`the template of ${app} is what its sources say`, async () => {
		const at = `${app}/po/templates/${name}.pot`;
		assert.equal(await readFile(new URL(at, ROOT), 'utf8'), await template(app), `run node tests/luci/po.js ${app} >${at}`);
	});

for (const [ app, language ] of Object.keys(CATALOGUES).flatMap(app => LANGUAGES.map(language => [ app, language ])))
	test(`everything of ${app} is said in ${language}, and nothing that is gone`, async () => {
		const said = await messages(language, app);
		const texts = [ ...(await spoken(app)).keys() ];
		assert.ok(texts.length > LEAST[app], texts.length);
		assert.deepEqual(texts.filter(one => !said[one]), [], 'missing');
		assert.deepEqual(Object.keys(said).filter(one => one != '' && !texts.includes(one)), [], 'gone');
		const marks = one => (one.match(/%[dsh]/g) ?? []).join();
		assert.deepEqual(texts.filter(one => marks(one) != marks(said[one])), [], 'other placeholders');
		assert.deepEqual(texts.filter(one => /[<>]/.test(said[one])), [], 'markup');
	});

for (const language of LANGUAGES)
	test(`what both packages say is the same in ${language}`, async () => {
		const [ one, other ] = await Promise.all(Object.keys(CATALOGUES).map(app => messages(language, app)));
		assert.deepEqual(Object.keys(one).filter(text => text in other && one[text] != other[text]), []);
	});

test('the page speaks German', { skip: REAL && 'LuCI\'s own languages decide' }, async t => {
	const { page } = await open(t, 'status', 'huge', { language: 'de', picture: 'de-status' });
	assert.equal(await text(page, '.tsg-word'), 'VERSIEGELT');
	assert.match(await text(page, '#tsg-counters'), /1,84 · 10\^19.*9,9 P/);
	await eventually(async () => (await page.locator('#tsg-traffic .tsg-mark').nth(1).innerText()) == '0,5/s', 'the chart, too');
});

for (const language of [ 'zh_Hans', 'x', '' ])
	test(`a language that the browser may not know is no fault: "${language}"`, { skip: REAL && 'LuCI\'s own languages decide' }, async t => {
		const { page } = await open(t, 'status', 'huge', { lang: language });
		assert.match(await text(page, '#tsg-counters'), /1\.84 · 10\^19/);
	});

/* The terms in the first column below a heading of docs/operations.md. */
async function terms(title) {
	const page = await readFile(new URL('docs/operations.md', ROOT), 'utf8');
	const section = page.split(/^## /m).find(part => part.startsWith(`${title}\n`));

	return section.split('\n').filter(line => line.startsWith('| `')).flatMap(line => line.split(' | ')[0].slice(2).split(/(?<=`), (?=`)/)).map(term => term.replace(/^`|`$/g, ''));
}

test('every counter has words', async () => {
	const source = await readFile(new URL('tsg/counters.js', RESOURCES), 'utf8');
	const has = [ ...source.matchAll(/^\t([a-z_]+): \[ _\(/gm) ].map(found => found[1]);
	const wanted = [ ...await terms('Dropped packets'), ...await terms('What else a gateway counts') ].filter(term => term != 'senders_known' && !term.endsWith('_bytes'));
	assert.ok(wanted.length > 40, wanted.length);
	assert.deepEqual(wanted.filter(term => !has.includes(term)), [], 'without words');
	assert.deepEqual(has.filter(term => !wanted.includes(term)), [], 'not counted any more');
});

test('every alarm has advice', async () => {
	const source = await readFile(new URL('tsg/alarms.js', RESOURCES), 'utf8');
	const starts = [ ...source.matchAll(/^\t\[ '([^']+)', _\(/gm) ].map(found => found[1]);
	const wanted = (await terms('A gateway\'s alarms')).filter(term => term != 'BRIDGE: …');
	assert.ok(wanted.length > 12, wanted.length);
	assert.deepEqual(wanted.filter(term => !starts.some(start => start.startsWith(':') ? term.includes(start) : term.startsWith(start))), []);
});

test('nothing makes HTML of texts', async () => {
	const files = (await Promise.all(Object.keys(CATALOGUES).map(async app => {
		const folder = new URL(`${app}/htdocs/`, ROOT);

		return (await readdir(folder, { recursive: true })).map(name => new URL(name, folder));
	}))).flat().filter(file => file.pathname.endsWith('.js'));
	assert.ok(files.length >= 13, files.length);
	for (const file of files) {
		const source = await readFile(file, 'utf8');
		assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser|rawhtml/, file);
		assert.doesNotMatch(source, /\bE\('[a-z0-9]+', (\{[^{}]*\}|\{\}), (_\(|'|`)/, `${file}: a lone string as child`);
	}
});

test('the pages may no more than they need', async () => {
	const all = JSON.parse(await readFile(new URL('root/usr/share/rpcd/acl.d/luci-app-tsg.json', APP), 'utf8'))['luci-app-tsg'];
	const gateway = await readFile(new URL('tsg/gateway.js', RESOURCES), 'utf8');
	const used = [ ...gateway.matchAll(/ask\('(\w+)'/g) ].map(found => found[1]).sort();
	assert.deepEqual([ ...all.read.ubus.tsg, ...all.write.ubus.tsg ].sort(), used);
	assert.deepEqual(all.write.ubus.tsg, [ 'bypass', 'enrol', 'reconnect', 'setup' ]);
	assert.deepEqual([ all.read.ubus.luci, all.write.ubus.luci ], [ [ 'getLEDs' ], undefined ]);
	assert.deepEqual(all.read.uci, [ 'tsg' ], 'who may only look does not see the passwords in the network settings');
	assert.deepEqual(Object.keys(all.write.file), [ '/etc/init.d/tsg restart', '/etc/init.d/tsg start' ]);
	assert.equal(JSON.stringify(all).includes('*'), false);
});
