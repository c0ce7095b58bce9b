/*
 * Opens a page of luci-app-tsg, or LuCI's own of an interface of luci-proto-tsg, in Chromium: on the host page, or on a real LuCI where LUCI_URL says so. There, the
 * mock answers for the daemon, its init script, the log and the configuration; all else is the real box.
 */

import { createServer } from 'node:http';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { Box } from './mock/box.js';
import { scenarios } from './mock/scenarios.js';
import { CATALOGUES, messages } from './po.js';

/* Installed outside of the clone: NODE_PATH. */
const { chromium } = createRequire(import.meta.url)('playwright-core');

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = join(HERE, '../..');
const APPS = Object.keys(CATALOGUES);
export const REAL = process.env.LUCI_URL?.replace(/\/+$/, '');
/* A user there who has only the reading half of the access list, and the same password. */
export const VIEWER = process.env.LUCI_VIEWER;
const PICTURES = process.env.LUCI_PICTURES;

const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html; charset=utf-8' };
const FLAGS = [ '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
	'--disable-component-update', '--disable-sync' ];

let browser, server, origin, context;
const boxes = new Map();

/* Which box a page talks to is told by a cookie. */
function boxOf(request) {
	return boxes.get(/box=(\d+)/.exec(request.headers.cookie ?? '')?.[1]);
}

async function file(path) {
	/* What no package has is LuCI's own. */
	const places = path.startsWith('/luci-static/resources/')
		? [ ...APPS.map(app => join(ROOT, app, 'htdocs', path)), join(HERE, 'host', normalize(path).split('/').pop()) ]
		: [ path.startsWith('/host/') ? join(HERE, path) : join(HERE, 'host/index.html') ];
	for (const at of places)
		try {
			return [ await readFile(at), TYPES[extname(at)] ];
		}
		catch {
			continue;
		}
	throw new Error(`nobody has ${path}`);
}

/* The catalogues of all packages are one. */
async function words(language) {
	return Object.assign({}, ...await Promise.all(APPS.map(app => messages(language, app))));
}

async function answer(request, response) {
	const { pathname } = new URL(request.url, origin);
	const box = boxOf(request);
	try {
		if (pathname == '/ubus') {
			const parts = [];
			for await (const part of request)
				parts.push(part);
			response.setHeader('Content-Type', 'application/json');
			response.end(JSON.stringify(box.rpc(JSON.parse(Buffer.concat(parts)))));

			return;
		}
		const [ found, type ] = pathname == '/host/words.js'
			? [ `window.WORDS = ${JSON.stringify(box?.words ?? {})};`, TYPES['.js'] ] : await file(pathname);
		const environment = JSON.stringify({ readonly: box?.readonly, apply_rollback: 90 });
		response.setHeader('Content-Type', type);
		response.end(type == TYPES['.html'] ? String(found).replace('<html lang="en"', `<html lang="${box?.language ?? 'en'}" data-environment='${environment}'`) : found);
	}
	catch (error) {
		response.statusCode = 404;
		response.end(String(error));
	}
}

async function logIn(user) {
	const made = await browser.newContext({ viewport: { width: 1200, height: 900 } });
	const form = { luci_username: user, luci_password: process.env.LUCI_PASSWORD ?? '' };
	const said = await made.request.post(`${REAL}/cgi-bin/luci/`, { form: form, maxRedirects: 0 });
	assert.equal(said.status(), 302, `${user} cannot log in at ${REAL} with LUCI_PASSWORD`);

	return made;
}

before(async () => {
	browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
	if (REAL) {
		context = await logIn('root');

		return;
	}
	server = createServer(answer);
	await new Promise(done => server.listen(0, '127.0.0.1', done));
	origin = `http://127.0.0.1:${server.address().port}`;
});

after(async () => {
	await browser?.close();
	server?.close();
});

/* Answers for the mock's objects, and lets the real box answer the others of a batch. */
async function between(route, box) {
	const asked = route.request().postDataJSON();
	const batch = [ asked ].flat();
	const ours = batch.map(one => one?.method == 'call' && box.answers_for(one.params[1], one.params[2], one.params[3] ?? {}));
	if (!ours.includes(true)) {
		await route.continue();

		return;
	}
	const rest = batch.filter((one, at) => !ours[at]);
	const fetched = rest.length ? [ await (await route.fetch({ postData: JSON.stringify(rest) })).json() ].flat() : [];
	const answers = batch.map((one, at) => ours[at] ? box.rpc(one) : fetched.shift());
	await route.fulfill({ contentType: 'application/json', body: JSON.stringify(Array.isArray(asked) ? answers : answers[0]) });
}

/* `live`: the configuration is the real box's. `error`: one that may happen in the page. */
export async function open(test, view, name, options = {}) {
	const box = new Box({ ...scenarios[name], ...options.box });
	assert.ok(scenarios[name], `no scenario ${name}`);
	box.readonly = options.readonly ?? false;
	box.words = options.language ? await words(options.language) : {};
	box.language = options.lang ?? options.language;
	if (options.live)
		box.uci = {};

	const own = REAL && options.readonly ? await logIn(VIEWER) : context ?? await browser.newContext({ viewport: { width: 1200, height: 900 } });
	const page = await own.newPage();
	page.setDefaultTimeout(60000);
	const errors = [];
	page.on('pageerror', error => options.error?.test(error.message) || errors.push(error.stack));
	page.on('console', message => message.type() == 'error' && !/favicon/.test(message.text()) && errors.push(`${message.text()} (${message.location().url})`));
	if (REAL) {
		await page.emulateMedia({ colorScheme: 'light' });
		await page.route(/\/(ubus|admin\/ubus)\/?(\?|$|\/)/, route => between(route, box));
	}
	else {
		const id = String(boxes.size + 1);
		boxes.set(id, box);
		await own.addCookies([ { name: 'box', value: id, url: origin } ]);
	}
	test.after(async () => {
		await page.close();
		if (own != context)
			await own.close();
		assert.deepEqual(errors, [], 'errors in the page');
	});

	await page.goto(`${REAL ?? origin}/cgi-bin/luci/admin/services/tsg/${view}`);
	await page.waitForSelector(`#tsg-${view == 'log' ? 'log-page' : view}`);
	if (PICTURES && options.picture) {
		await page.waitForTimeout(options.wait ?? 300);
		await picture(page, options.picture);
	}

	return { page: page, box: box };
}

/* Of the page as it is once nothing moves or fades in any more, where somebody wants pictures. */
export async function picture(page, name, options = {}) {
	if (!PICTURES)
		return;
	await mkdir(PICTURES, { recursive: true });
	/* LuCI's menu is where one has scrolled to. */
	await page.evaluate(() => scrollTo(0, 0));
	await page.evaluate(() => Promise.allSettled(document.getAnimations().filter(one => one.effect.getComputedTiming().endTime < Infinity).map(one => one.finished)));
	await page.screenshot({ path: join(PICTURES, `${REAL ? 'luci' : 'host'}-${name}.png`), fullPage: true, ...options });
}

export async function text(page, selector) {
	return (await page.locator(selector).first().innerText()).replace(/\s+/g, ' ').trim();
}

/* Until `what` holds: what the page shows follows the box by polling. */
export async function eventually(what, said) {
	const end = Date.now() + 30000;
	for (;;) {
		if (await what())
			return;
		assert.ok(Date.now() < end, `never happened: ${said}`);
		await new Promise(done => setTimeout(done, 100));
	}
}
