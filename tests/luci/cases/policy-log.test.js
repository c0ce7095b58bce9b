import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, open, text } from '../harness.js';

test('the rules in force, and what they do', async t => {
	const { page } = await open(t, 'policy', 'migrate', { picture: 'policy' });
	const rules = page.locator('#tsg-version-0 .table:not(.tsg-facts) tr');
	assert.equal(await rules.count(), 4);
	const row = async at => (await rules.nth(at).locator('td').allInnerTexts()).map(cell => cell.trim());
	assert.deepEqual(await row(1), [ '1', 'modbus', 'sealed', 'tcp', 'any', 'any', 'any', '502' ]);
	assert.deepEqual(await row(2), [ '2', 's7', 'sealed', 'tcp', 'any', 'any', '192.0.2.0/24, 2001:db8::/64', '102' ]);
	assert.deepEqual((await row(3)).slice(1, 3), [ 'no telnet', 'dropped' ]);
	assert.match(await text(page, '#tsg-local'), /There are none/);
	assert.match(await text(page, '#tsg-heard'), /192\.0\.2\.60, 192\.0\.2\.61/);
});

test('what enforce would stop is looked up on demand', async t => {
	const { page, box } = await open(t, 'policy', 'migrate');
	await page.getByRole('button', { name: 'Look now' }).click();
	await page.locator('#tsg-flows table').waitFor();
	assert.match(await text(page, '#tsg-flows'), /192\.0\.2\.50 192\.0\.2\.77 tcp 502 4 211 modbus would be dropped 192\.0\.2\.50 192\.0\.2\.78 udp any 9 – would be sealed, and nobody there can open it/);
	box.answers.flows = { flows: [] };
	await page.getByRole('button', { name: 'Look now' }).click();
	await page.getByText(/Nothing: nobody was heard/).waitFor();
});

test('a policy that changes is followed', async t => {
	const { page, box } = await open(t, 'policy', 'fresh');
	assert.match(await text(page, '#tsg-rules'), /None yet/);
	box.answers.policy.versions = [ { version: 9, stage: 'prepared', mode: 'learn', fail: 'open', rules: [] } ];
	await eventually(async () => /version 9.*prepared.*learn: nothing is sealed.*no rule/.test(await text(page, '#tsg-rules')), 'version 9');
});

for (const [ scenario, said ] of [ [ 'gone', /not running/ ], [ 'older', /older version/ ], [ 'hangs', /does not answer/ ] ])
	test(`the policy without a daemon that answers: ${scenario}`, async t => {
		const { page } = await open(t, 'policy', scenario);
		assert.match(await text(page, '#tsg-rules'), said);
		await page.getByRole('button', { name: 'Look now' }).click();
		await eventually(async () => said.test(await text(page, '#tsg-would')), 'flows say why');
	});

const lines = page => page.locator('.tsg-entry').allInnerTexts();

test('the log shows our lines, by level and words', async t => {
	const { page, box } = await open(t, 'log', 'sealing', { picture: 'log' });
	const all = await lines(page);
	assert.equal(all.length, 4);
	assert.match(all[0], /the key server lets this gateway in: group line1$/);
	assert.match(all[3], /error lan1 is gone$/);
	await page.selectOption('#tsg-level', { label: 'warnings and errors' });
	assert.equal((await lines(page)).length, 2);
	await page.fill('#tsg-words', 'LAN1');
	assert.equal((await lines(page)).length, 1);
	await page.fill('#tsg-words', 'nowhere');
	await page.getByText('Nothing of the gateway in the log').waitFor();
	await page.fill('#tsg-words', '');
	box.log.push({ msg: 'tsg[812]: bridge br-lan is gone', id: 9, priority: 27, source: 1, time: 1790000009000 });
	await eventually(async () => (await lines(page)).length == 3, 'a new line');
});

test('the log works without the daemon, and says when it cannot be read', async t => {
	const { page } = await open(t, 'log', 'gone');
	assert.equal((await lines(page)).length, 4);
	const denied = await open(t, 'log', 'sealing', { box: { denied: [ 'log.read' ] } });
	assert.match(await text(denied.page, '#tsg-log'), /not allowed/);
});
