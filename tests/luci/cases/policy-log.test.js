import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, open, picture, text } from '../harness.js';

test('the rules in force, and what they do', async t => {
	const { page } = await open(t, 'policy', 'migrate');
	const rules = page.locator('#tsg-version-0 .table:not(.tsg-facts) tr');
	assert.equal(await rules.count(), 4);
	const row = async at => (await rules.nth(at).locator('td').allInnerTexts()).map(cell => cell.trim());
	assert.deepEqual(await row(1), [ '1', 'modbus', 'sealed', 'tcp', 'any', 'any', 'any', '502' ]);
	assert.deepEqual(await row(2), [ '2', 's7', 'sealed', 'tcp', 'any', 'any', '192.0.2.0/24, 2001:db8::/64', '102' ]);
	assert.deepEqual((await row(3)).slice(1, 3), [ 'no telnet', 'dropped' ]);
	assert.match(await text(page, '#tsg-local'), /There are none/);
	assert.match(await text(page, '#tsg-heard'), /192\.0\.2\.50 behind this gateway 192\.0\.2\.60 behind other gateways 192\.0\.2\.61/);
	for (const needless of [ '#tsg-machines-words', '#tsg-machines [role=status]', '#tsg-machines [title="Next page"]' ])
		assert.equal(await page.locator(needless).isVisible(), false, needless);
});

const cells = (page, list) => page.locator(`${list} td:first-child`).allInnerTexts();

test('all machines that were learned are shown, by pages and by what one looks for', async t => {
	const { page, box } = await open(t, 'policy', 'plant', { picture: 'policy-plant' });
	assert.match(await text(page, '#tsg-heard'), /Behind this gateway 3 Behind other gateways 1 630 \(1 000 of them are not in the list\) Behind no known gateway 2/);
	const seen = new Set();
	for (;;) {
		(await cells(page, '#tsg-machines')).forEach(one => seen.add(one));
		if (await page.getByRole('button', { name: 'Next page' }).isDisabled())
			break;
		await page.getByRole('button', { name: 'Next page' }).click();
	}
	assert.equal(seen.size, 635);
	assert.match(await text(page, '#tsg-machines [role=status]'), /^601 to 635 of 635$/);
	assert.equal(await page.evaluate(() => document.activeElement.title), 'Previous page', 'there is no next one to press');

	/* It stays where it is, and keeps the focus, while the box is asked again. */
	await page.getByRole('button', { name: 'Previous page' }).press('Enter');
	const last = await cells(page, '#tsg-machines');
	box.answers.peers.senders_known = 99;
	await eventually(async () => await text(page, '[data-fact=senders]') == '99', 'the box was asked again');
	assert.deepEqual(await cells(page, '#tsg-machines'), last);
	assert.equal(await page.evaluate(() => document.activeElement.title), 'Previous page');

	await page.selectOption('#tsg-machines-kind', { label: 'behind no known gateway' });
	assert.deepEqual(await cells(page, '#tsg-machines'), [ '192.0.2.77', '192.0.2.78' ]);
	assert.equal(await page.getByRole('button', { name: 'Next page' }).isVisible(), false, 'all are on one page');
	await page.selectOption('#tsg-machines-kind', { label: 'everything' });
	await page.fill('#tsg-machines-words', ' 203.0.113.12 ');
	assert.deepEqual(await cells(page, '#tsg-machines'), [ '203.0.113.12', ...[ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 ].map(at => `203.0.113.12${at}`) ]);
	await page.fill('#tsg-machines-words', 'nobody');
	await page.getByText('Nothing of that kind, with these words.').waitFor();
});

test('a rule with many addresses shows all of them', async t => {
	const { page, box } = await open(t, 'policy', 'plant');
	const rule = page.locator('#tsg-version-0 .table:not(.tsg-facts) tr').nth(1);
	assert.equal(await rule.locator('bdi:visible').count(), 23);
	await rule.locator('summary', { hasText: 'and 40 more' }).click();
	assert.equal(await rule.locator('bdi:visible').count(), 63);
	box.answers.policy.versions[0].mode = 'migrate';
	await page.getByText('migrate: sealed between machines').waitFor();
	assert.equal(await rule.locator('bdi:visible').count(), 63, 'and stay unfolded');
});

test('what enforce would stop is looked through, too', async t => {
	const { page } = await open(t, 'policy', 'plant');
	await page.getByRole('button', { name: 'Look now' }).click();
	assert.match(await text(page, '#tsg-talks [role=status]'), /^1 to 50 of 900$/);
	await page.selectOption('#tsg-talks-kind', { label: 'would be dropped' });
	await page.fill('#tsg-talks-words', 'modbus');
	assert.match(await text(page, '#tsg-talks [role=status]'), /^1 to 50 of 300$/);
	await page.getByRole('button', { name: 'Look now' }).click();
	await eventually(async () => await page.inputValue('#tsg-talks-words') == 'modbus' && /of 300$/.test(await text(page, '#tsg-talks [role=status]')), 'the search stays');
});

test('what enforce would stop is looked up on demand', async t => {
	const { page, box } = await open(t, 'policy', 'migrate');
	await page.getByRole('button', { name: 'Look now' }).click();
	await page.locator('#tsg-flows table').waitFor();
	assert.match(await text(page, '#tsg-flows'), /192\.0\.2\.50 192\.0\.2\.77 tcp 502 4 211 3 s ago modbus would be dropped 192\.0\.2\.50 192\.0\.2\.78 udp any 9 60 s ago – would be sealed, and nobody there can open it/);
	assert.match(await text(page, '#tsg-flows'), /From To Protocol Port of the service Packets Last seen Rule/);
	await picture(page, 'policy');
	const { flows } = box.answers.flows;
	delete flows[0].last_s;
	box.answers.flows = { mode: 'enforce', flows: flows };
	await page.getByRole('button', { name: 'Look now' }).click();
	await eventually(async () => /4 211 – modbus dropped .* sealed, and nobody there can open it/.test(await text(page, '#tsg-flows')), 'in force, nothing would be');
	assert.deepEqual(await page.locator('#tsg-talks-kind option').allTextContents(), [ 'everything', 'dropped', 'sealed, and nobody there can open it' ]);
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
