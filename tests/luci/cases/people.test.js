/* For people: names and keyboard, contrast in light and dark, logins that may only look. */

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, open, picture, REAL, text, VIEWER } from '../harness.js';

const PAGES = [ 'status', 'settings', 'bridge', 'policy', 'log' ];

/* Runs in the page: of everything that shows text and is ours, the contrast to what is behind it, as WCAG reckons. */
function pale() {
	const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
	canvas.canvas.width = canvas.canvas.height = 1;
	const colour = text => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = text;
		canvas.fillRect(0, 0, 1, 1);

		return Array.from(canvas.getImageData(0, 0, 1, 1).data);
	};
	const over = (front, back, alpha) => front.slice(0, 3).map((part, at) => part * alpha + back[at] * (1 - alpha));
	const light = rgb => rgb.map(part => part / 255).map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
		.reduce((sum, part, at) => sum + part * [ .2126, .7152, .0722 ][at], 0);
	const behind = node => {
		const layers = [];
		for (let one = node; one; one = one.parentElement) {
			const style = getComputedStyle(one), found = colour(style.backgroundColor);
			if (style.backgroundImage != 'none')
				return null;
			layers.push(found);
			if (found[3] == 255)
				break;
		}

		return layers.reverse().reduce((back, layer) => over(layer, back, layer[3] / 255), [ 255, 255, 255 ]);
	};
	const bad = [];
	const walker = document.createTreeWalker(document.getElementById('view'), NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const node = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest('option, :disabled, .cbi-page-actions, .cbi-dropdown'))
			continue;
		const back = behind(node);
		if (!back)
			continue;
		const style = getComputedStyle(node);
		let opacity = 1;
		for (let one = node; one; one = one.parentElement)
			opacity *= getComputedStyle(one).opacity;
		const front = colour(style.color);
		const [ one, other ] = [ light(over(front, back, opacity * front[3] / 255)), light(back) ].sort((a, b) => b - a);
		const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
		if ((one + .05) / (other + .05) < (large ? 3 : 4.5))
			bad.push(`${((one + .05) / (other + .05)).toFixed(2)} ${style.color} on ${back.map(Math.round)}: ${walker.currentNode.data.trim().slice(0, 60)} <${node.className}>`);
	}

	return bad;
}

/* Runs in the page: fields and buttons that have no name, and titles of options that are empty. */
function nameless() {
	const ours = Array.from(document.querySelectorAll('#view :is(input, select, textarea, button):not([type=hidden])'))
		.filter(node => node.checkVisibility() && node.closest('[id^=tsg-]') && !node.closest('.cbi-map'))
		.filter(node => !(node.getAttribute('aria-label') || node.labels?.length || node.tagName == 'BUTTON' && node.textContent.trim()));
	const titles = Array.from(document.querySelectorAll('.cbi-map .cbi-value'))
		.filter(row => !row.querySelector('.cbi-value-title')?.textContent.trim());

	return ours.concat(titles).map(node => node.outerHTML.slice(0, 200));
}

/* LuCI's theme follows the system; the host page is told. */
async function darken(page, dark) {
	if (REAL)
		await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
	else
		await page.evaluate(value => document.documentElement.setAttribute('data-darkmode', value), dark);
	await page.waitForTimeout(50);
}

const STATES = [ ...PAGES.map(view => [ view, 'preflight' ]), [ 'status', 'bypass' ], [ 'status', 'pending' ], [ 'status', 'no_server' ], [ 'status', 'fresh' ] ];

for (const [ view, scenario ] of STATES)
	test(`read in light and dark, on a telephone, and by who cannot see: ${view}, ${scenario}`, async t => {
		const { page } = await open(t, view, scenario);
		await darken(page, false);
		assert.deepEqual(await page.evaluate(pale), [], 'contrast, light');
		await darken(page, true);
		assert.deepEqual(await page.evaluate(pale), [], 'contrast, dark');
		await picture(page, `dark-${view}-${scenario}`);
		assert.deepEqual(await page.evaluate(nameless), [], 'without a name');
		await page.setViewportSize({ width: 380, height: 800 });
		await page.waitForTimeout(200);
		await picture(page, `phone-${view}-${scenario}`);
		assert.ok(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth) <= 0, 'cut off');
	});

test('a bypass with the keyboard alone', async t => {
	const { page, box } = await open(t, 'status', 'sealing');
	await page.locator('#tsg-minutes').focus();
	await page.keyboard.press('ArrowDown');
	assert.equal(await page.inputValue('#tsg-minutes'), '30');
	await page.keyboard.press('Tab');
	await page.keyboard.press('Enter');
	await eventually(() => page.evaluate(() => document.activeElement.closest('.modal') != null), 'the dialogue has the focus');
	await page.keyboard.press('Enter');
	await eventually(() => box.calls.length == 1, 'the call');
	assert.deepEqual(box.calls[0], [ 'tsg', 'bypass', { seconds: 1800 } ]);
});

/* What has the focus, and what then changes beside it with each answer of the box. */
const FOCUSED = {
	'the choice of minutes': [ 'sealing', page => page.locator('#tsg-minutes'), box => { box.answers.status.since_server_s = 99; }, /99 s ago/ ],
	'Connect anew': [ 'sealing', page => page.getByRole('button', { name: 'Connect anew' }), box => { box.answers.status.since_server_s = 99; }, /99 s ago/ ],
	'Connect anew, with rows that come and go': [ 'sealing', page => page.getByRole('button', { name: 'Connect anew' }), box => {
		box.missing = [ 'peers' ];
		box.answers.status.alarms = [ 'br-lan: a port is missing' ];
	}, /a port is missing/ ],
	'the end of a bypass': [ 'bypass', page => page.getByRole('button', { name: 'End the bypass now' }), box => { box.answers.status.bypass.ends_in_s = 61; }, /another 01:01/ ],
	'what stands at zero': [ 'sealing', page => page.locator('summary'), box => { box.answers.counters.drop_policy = 9; }, /Forbidden by a rule/ ]
};

for (const [ name, [ scenario, find, change, said ] ] of Object.entries(FOCUSED))
	test(`while the page is drawn anew, the focus stays: ${name}`, async t => {
		const { page, box } = await open(t, 'status', scenario);
		await find(page).focus();
		const focused = await page.evaluateHandle(() => document.activeElement);
		change(box);
		await eventually(async () => said.test(await text(page, '#tsg-status')), said);
		assert.equal(await page.evaluate(node => node == document.activeElement && node.isConnected, focused), true);
	});

test('a button that was pressed has the focus again once it is done', async t => {
	const { page, box } = await open(t, 'status', 'sealing');
	await page.getByRole('button', { name: 'Connect anew' }).focus();
	for (const times of [ 1, 2 ]) {
		await page.keyboard.press('Enter');
		await eventually(() => box.calls.length == times, 'the call');
		await eventually(() => page.evaluate(() => document.activeElement.textContent == 'Connect anew'), 'the focus');
	}
});

test('a button that waits goes on waiting while the page is drawn anew', async t => {
	const { page, box } = await open(t, 'status', 'sealing');
	const button = await page.getByRole('button', { name: 'Connect anew' }).elementHandle();
	await button.evaluate(node => { node.classList.add('spinning'); node.disabled = true; });
	box.answers.status.since_server_s = 99;
	await eventually(async () => /^99 s ago/.test(await text(page, '[data-fact=answered]')), 'a new answer');
	assert.equal(await button.evaluate(node => node.isConnected && node.disabled), true);
});

test('who may only look can change nothing', { skip: REAL && !VIEWER && 'LUCI_VIEWER names no user who may only look' }, async t => {
	for (const view of [ 'status', 'settings', 'bridge', 'policy' ]) {
		const { page } = await open(t, view, 'preflight', { readonly: true });
		const able = await page.evaluate(() => Array.from(document.querySelectorAll('#view button:not(:disabled)'), one => one.textContent));
		assert.deepEqual(able.filter(label => label != '+'), { bridge: [ 'Look again' ], policy: [ 'Look now' ] }[view] ?? [], view);
		const fields = await page.evaluate(() => Array.from(document.querySelectorAll('#view :is(input, select, textarea):not(:disabled, [type=hidden], #tsg-machines *)'), one => one.outerHTML));
		assert.deepEqual(fields, [], view);
	}
});
