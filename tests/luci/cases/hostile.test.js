import { test } from 'node:test';
import assert from 'node:assert/strict';
import { open } from '../harness.js';

const PAGES = [ 'status', 'settings', 'bridge', 'policy', 'log' ];

/* Nothing of what was made by an enemy is more than text, nor turns or stretches the page. */
async function harmless(page) {
	await page.waitForTimeout(300);
	assert.equal(await page.evaluate(() => window.pwned), undefined, 'a script ran');
	const found = await page.evaluate(() => {
		/* Beside them, LuCI has scripts of its own. */
		const ours = Array.from(document.querySelectorAll('#view, .alert-message, .modal'));
		const all = selector => ours.flatMap(node => Array.from(node.querySelectorAll(selector)));

		return {
			active: all(':is(script, img, iframe, object, embed, [onerror], [onload]), svg:not(.tsg-chart)').map(one => one.outerHTML),
			hidden: ours.flatMap(node => node.textContent.match(/[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u0000-\u0008]/g) ?? []).length,
			longest: Math.max(0, ...all('.tsg-foreign').map(one => one.textContent.length)),
			wide: document.documentElement.scrollWidth - document.documentElement.clientWidth
		};
	});
	assert.deepEqual(found.active, []);
	assert.equal(found.hidden, 0, 'characters that turn or cannot be seen');
	assert.ok(found.longest <= 2001 * 8, `${found.longest} characters in one piece`);
	assert.ok(found.wide <= 0, `${found.wide} pixels too wide`);
}

for (const view of PAGES)
	test(`hostile texts and numbers are shown as what they are: ${view}`, async t => {
		const { page } = await open(t, view, 'hostile', { picture: `hostile-${view}` });
		assert.ok(await page.getByText('<img src=x onerror=', { exact: false }).count() > 0, 'they are shown');
		await harmless(page);
	});

test('hostile refusals', async t => {
	const { page } = await open(t, 'status', 'hostile');
	await page.getByRole('button', { name: 'Connect anew' }).click();
	await page.getByText('That did not work').waitFor();
	await harmless(page);
	const settings = (await open(t, 'settings', 'hostile')).page;
	await settings.fill('#tsg-token', 'tsg1-x');
	await settings.getByRole('button', { name: 'Join with this token' }).click();
	await settings.getByText('That did not work').waitFor();
	await harmless(settings);
	const policy = (await open(t, 'policy', 'hostile')).page;
	await policy.getByRole('button', { name: 'Look now' }).click();
	await policy.locator('#tsg-flows table').waitFor();
	await harmless(policy);
});

const NONSENSE = [ 'no', [ 1 ], null, 7, {} ];
const METHODS = [ 'status', 'counters', 'peers', 'policy', 'flows', 'preflight', 'ports', 'setup' ];

for (const view of PAGES)
	for (const turn of [ 0, 4 ])
		test(`every answer is nonsense, ${turn}: ${view}`, async t => {
			const answers = Object.fromEntries(METHODS.map((method, at) => [ method, NONSENSE[(at + turn) % NONSENSE.length] ]));
			const { page } = await open(t, view, 'sealing', { box: { answers: answers, log: NONSENSE[turn] } });
			await harmless(page);
		});
