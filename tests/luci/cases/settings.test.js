import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { eventually, open, REAL, text } from '../harness.js';

const field = (page, name) => page.locator(`.cbi-value[data-name=${name}]`);
const save = page => page.locator('.cbi-page-actions .cbi-button-save').click();

test('what stands in the configuration is shown, and what it means', async t => {
	const { page } = await open(t, 'settings', 'sealing', { picture: 'settings' });
	assert.equal((await text(page, '#tsg-fingerprint')).replace(/\s/g, ''), '3f07-a1c2-99de-0b54-7e21-c8d0-4412-5a9b');
	assert.equal(await page.locator('#tsg-fingerprint > span').count(), 8);
	assert.match(await text(page, '#tsg-member'), /group line1/);
	assert.equal(await field(page, 'fail').locator('select').inputValue(), 'closed');
	assert.match(await field(page, 'fail').innerText(), /nobody can read or forge anything, and the plant may stand/);
	assert.match(await field(page, 'name').innerText(), /when the key server first lets this gateway in; after that it is renamed there/);
	assert.match(await field(page, 'cache_keys').innerText(), /whoever steals the box has them/);
	assert.equal(await field(page, 'enabled').locator('input[type=checkbox]').isChecked(), true);
	assert.match(await field(page, 'server').innerText(), /tcp:\/\/192\.0\.2\.10:5555/);
});

test('changes are staged and nothing is applied', async t => {
	const { page, box } = await open(t, 'settings', 'sealing');
	await field(page, 'name').locator('input').fill('press 9');
	await field(page, 'fail').locator('select').selectOption('open');
	await field(page, 'server').locator('.add-item input[type=text], .add-item input:not([type])').first().fill('tcp://keys.plant:5555');
	await page.keyboard.press('Enter');
	await field(page, 'cache_keys').locator('input[type=checkbox]').check();
	await save(page);
	await eventually(() => box.changes.tsg?.length >= 4, 'changes are staged');
	const main = box.uci.tsg.main;
	assert.deepEqual([ main.name, main.fail, main.cache_keys ], [ 'press 9', 'open', '1' ]);
	assert.deepEqual(main.server, [ 'tcp://192.0.2.10:5555', 'tcp://keys.plant:5555' ]);
	assert.equal(box.applied, null);
	await page.locator('[data-indicator=uci-changes]').waitFor();
});

test('a LED is chosen among those of the box, or none; tunnels can have keys', async t => {
	const { page, box } = await open(t, 'settings', 'sealing');
	const led = field(page, 'led').locator('select');
	assert.deepEqual(await led.locator('option').allInnerTexts(), [ 'no LED', 'amber:wan', 'green:status' ]);
	assert.match(await field(page, 'led').innerText(), /Fast blinking: not sealed/);
	await led.selectOption('green:status');
	await field(page, 'routed').locator('input[type=checkbox]').check();
	await save(page);
	await eventually(() => box.uci.tsg.main.led == 'green:status' && box.uci.tsg.main.routed == '1', 'both are staged');
});

test('a LED is let go', async t => {
	const { page, box } = await open(t, 'settings', 'led');
	await field(page, 'led').locator('select').selectOption({ label: 'no LED' });
	await save(page);
	await eventually(() => box.uci.tsg.main.led === undefined, 'no LED any more');
});

test('a LED that LuCI does not know stays what was set', async t => {
	const { page, box } = await open(t, 'settings', 'led');
	assert.equal(await field(page, 'led').locator('select').inputValue(), 'blue:seal');
	await field(page, 'name').locator('input').fill('press9');
	await save(page);
	await eventually(() => box.uci.tsg.main.name == 'press9', 'staged');
	assert.equal(box.uci.tsg.main.led, 'blue:seal');
});

test('every option of the main section can be set on the pages Settings or Bridge', async () => {
	const source = name => readFile(new URL(`../../../${name}`, import.meta.url), 'utf8');
	const known = /const OPTIONS: \[&str; \d+\] = \[([^\]]*)\]/.exec(await source('src/tsg-bridge/src/config/main_section.rs'))[1].matchAll(/"(\w+)"/g);
	const pages = await Promise.all([ 'settings', 'bridge' ].map(view => source(`luci-app-tsg/htdocs/luci-static/resources/view/tsg/${view}.js`)));
	const set = [ ...pages.join().matchAll(/\.option\(form\.\w+, '(\w+)'/g) ].map(found => found[1]);
	const wanted = [ ...known ].map(found => found[1]);
	assert.ok(wanted.length >= 12, wanted.length);
	assert.deepEqual(wanted.filter(option => !set.includes(option)), []);
});

test('what cannot be is refused', async t => {
	const { page, box } = await open(t, 'settings', 'sealing', { error: /invalid input/ });
	await field(page, 'server_key').locator('input').fill('short');
	await save(page);
	await page.getByText(/Public key of the key server.*invalid input/).waitFor();
	assert.deepEqual(box.changes, {});
});

test('a rule with a port wants a protocol that has ports', async t => {
	const { page, box } = await open(t, 'settings', 'sealing', { error: /invalid input/ });
	const rules = page.locator('#cbi-tsg-rule');
	const row = rules.locator('.cbi-section-table-row:not(.placeholder)').first();
	await rules.getByRole('button', { name: 'Add a rule' }).click();
	await row.waitFor();
	await row.locator('[data-name=dest_port] input').fill('23');
	await save(page);
	await page.getByText(/To port.*invalid input.*Ports want a protocol/).waitFor();
	assert.ok(!Object.values(box.uci.tsg).some(section => section.dest_port == '23'), 'nothing is staged');
});

/* Each option with what the gateway takes, and what it does not; beside a port its protocol. */
const WORDS = {
	proto: [ [ 'tcp', 'TCP,udp', 'any', ' all ', '47', 'tcp  udp,,esp', 'ospf' ], [ 'tpc', '256', 'tcp any', '-1', 'constructor', '6.0', 'any,' ] ],
	dest_ip: [
		[ '192.0.2.7', '192.0.2.0/24, 2001:db8::/32', '0.0.0.0/0', '::', '::ffff:192.0.2.1/128', '1:2:3:4:5:6:7::', '192.0.2.0/024' ],
		[ '300.1.2.3', '192.0.2', '192.0.2.0/33', '2001:db8::/129', '192.0.2.007', 'plc', '192.0.2.7/', '1:2:3:4:5:6:7::8', 'fe80::1%eth0', '[::1]', '::1]/x[', 'any', '192.0.2.0/24/8' ]
	],
	dest_port: [ [ '502', '0', '44818-44820', '1:65535, 7', '00080' ], [ '99999', '9-5', '65536', '+5', '5-', 'http', 'any', '1-2-3' ] ]
};

test('what the gateway takes in a rule can be set, and nothing else', async t => {
	const { page, box } = await open(t, 'settings', 'sealing', { error: /invalid input/ });
	const rules = page.locator('#cbi-tsg-rule');
	const row = rules.locator('.cbi-section-table-row:not(.placeholder)').first();
	await rules.getByRole('button', { name: 'Add a rule' }).click();
	await row.waitFor();
	const input = name => row.locator(`[data-name=${name}] input`);
	const given = async (name, value) => {
		await input(name).fill(value);
		await input(name).blur();

		return /cbi-input-invalid/.test(await input(name).getAttribute('class'));
	};
	for (const [ name, [ right, wrong ] ] of Object.entries(WORDS)) {
		await given('proto', name == 'dest_port' ? 'TCP' : '');
		for (const value of right)
			assert.equal(await given(name, value), false, `${name} ${value}`);
		for (const value of wrong)
			assert.equal(await given(name, value), true, `${name} ${value}`);
		await given(name, '');
	}
	assert.equal(await given('proto', '1 '.repeat(65)), true, 'too many');
	assert.equal(await given('name', '\u00fc'.repeat(33)), true, 'too many bytes');
	await given('name', '\u00fc'.repeat(32));

	/* A protocol that does not have the ports which stand there already. */
	await given('proto', 'tcp');
	await given('dest_port', '502');
	await given('proto', 'tcp icmp');
	assert.match(await input('dest_port').getAttribute('class'), /cbi-input-invalid/);
	await given('proto', 'udp');
	await given('dest_ip', '300.1.2.3');
	await save(page);
	await page.getByText(/To address.*invalid input.*\u201c300\.1\.2\.3\u201d is no address/).waitFor();
	assert.ok(!Object.values(box.uci.tsg).some(section => section.dest_port == '502'), 'nothing is staged');
});

test('settings that the gateway does not take are shown where they are', async t => {
	const { page, box } = await open(t, 'settings', 'alarms');
	assert.equal(await text(page, '#tsg-wrong'), '');
	box.answers.status.alarms.push('the settings are wrong, and after a restart nothing would run: option dest_ip of section @rule[0] is "300.1.2.3"');
	await page.reload();
	await page.locator('#tsg-wrong .tsg-alarm').waitFor();
	assert.match(await text(page, '#tsg-wrong'), /dest_ip of section @rule\[0\].*What to do: .*before this box loses power/);
});

test('a token is handed to the daemon, and the settings are read anew', async t => {
	const { page, box } = await open(t, 'settings', 'fresh', { picture: 'settings-fresh' });
	await page.fill('#tsg-token', '  tsg1-abc\n def ');
	await page.getByRole('button', { name: 'Join with this token' }).click();
	await page.getByText('The token was taken').waitFor();
	assert.deepEqual(box.calls.filter(([ object ]) => object == 'tsg'), [ [ 'tsg', 'enrol', { token: 'tsg1-abcdef' } ] ]);
	await eventually(async () => /192\.0\.2\.99/.test(await field(page, 'server').innerText()), 'the new address');
	assert.equal(await page.inputValue('#tsg-token'), '');
});

test('after a token the page follows until the gateway is in the group, and what was refused before is gone', async t => {
	const { page, box } = await open(t, 'settings', 'fresh');
	const join = async token => {
		await page.fill('#tsg-token', token);
		await page.getByRole('button', { name: 'Join with this token' }).click();
	};
	await join('hello');
	await page.getByText('This is no token').waitFor();
	await join('tsg1-abcdef');
	await page.getByText('The token was taken').waitFor();
	assert.equal(await page.getByText('This is no token').count(), 0);
	assert.equal(await page.locator('#tsg-member').count(), 0);
	Object.assign(box.answers.status, { state: 'sealing', connected: true, group: 'line1' });
	await page.locator('#tsg-member').waitFor();
	assert.match(await text(page, '#tsg-member'), /group line1/);
});

test('a token that somebody types stays while the gateway begins anew', async t => {
	const { page, box } = await open(t, 'settings', 'fresh');
	await page.fill('#tsg-token', 'tsg1-abc');
	await page.locator('#tsg-token').focus();
	box.answers.status.fingerprint = '0000-a1c2-99de-0b54-7e21-c8d0-4412-5a9b';
	await eventually(async () => /^0000/.test(await text(page, '#tsg-fingerprint')), 'asked again');
	box.gone = true;
	await page.waitForResponse(async response => /-32000/.test(await response.text()));
	box.gone = false;
	box.answers.status.fingerprint = '1111-a1c2-99de-0b54-7e21-c8d0-4412-5a9b';
	await eventually(async () => /^1111/.test(await text(page, '#tsg-fingerprint')), 'asked once more');
	assert.equal(await page.inputValue('#tsg-token'), 'tsg1-abc');
	assert.equal(await page.evaluate(() => document.activeElement.id), 'tsg-token');
});

test('what is no token does not leave the page; one that is refused says why', async t => {
	const { page, box } = await open(t, 'settings', 'fresh');
	for (const wrong of [ '', 'hello', 'tsg1-' + 'x'.repeat(5000) ]) {
		await page.locator('#tsg-token').evaluate((node, value) => { node.value = value; }, wrong);
		await page.getByRole('button', { name: 'Join with this token' }).click();
		await page.getByText('This is no token').first().waitFor();
	}
	assert.deepEqual(box.calls.filter(([ object ]) => object == 'tsg'), []);
	box.answers.enrol = { ok: false, error: 'this token was used' };
	await page.fill('#tsg-token', 'tsg1-abcdef');
	await page.getByRole('button', { name: 'Join with this token' }).click();
	await page.getByText('That did not work: this token was used').waitFor();
	assert.equal(await page.inputValue('#tsg-token'), 'tsg1-abcdef');
});

test('a local rule is added and removed', async t => {
	const { page, box } = await open(t, 'settings', 'sealing');
	const rules = page.locator('#cbi-tsg-rule');
	const rows = rules.locator('.cbi-section-table-row:not(.placeholder)');
	await rules.getByRole('button', { name: 'Add a rule' }).click();
	await rows.first().waitFor();
	await rows.first().locator('[data-name=name] input').fill('no telnet');
	await rows.first().locator('[data-name=proto] input').fill('tcp');
	await rows.first().locator('[data-name=dest_port] input').fill('23');
	await save(page);
	const made = () => Object.values(box.uci.tsg).find(section => section['.type'] == 'rule');
	await eventually(() => made()?.dest_port == '23', 'the rule');
	assert.deepEqual([ made().name, made().action, made().proto ], [ 'no telnet', 'drop', 'tcp' ]);
	await rows.first().locator('.cbi-button-remove').click();
	await eventually(() => made() === undefined, 'the rule is gone');
});

test('without the daemon the settings can still be changed', async t => {
	const { page, box } = await open(t, 'settings', 'gone');
	assert.match(await text(page, '#tsg-enrolment'), /not running.*Start the gateway/);
	await field(page, 'enabled').locator('input[type=checkbox]').uncheck();
	await save(page);
	await eventually(() => box.uci.tsg.main.enabled === '0', 'switched off');
});

for (const [ view, place ] of Object.entries({ settings: '#tsg-enrolment', bridge: '#tsg-ports', policy: '#tsg-rules' }))
	test(`one that is switched off says so: ${view}`, async t => {
		const { page } = await open(t, view, 'unwanted');
		assert.match(await text(page, place), /switched off on the page Settings/);
		assert.equal(await page.getByRole('button', { name: 'Start the gateway' }).count(), 0);
	});

test('Save & Apply asks the box to take it back unless it is confirmed', { skip: REAL && 'the next test does it for real' }, async t => {
	const { page, box } = await open(t, 'settings', 'sealing');
	await field(page, 'name').locator('input').fill('press8');
	await page.locator('.cbi-page-actions .cbi-button-apply').click();
	await eventually(() => box.confirmed == 1, 'confirmed');
	assert.deepEqual(box.calls.find(([ , method ]) => method == 'apply')[2], { timeout: 90, rollback: true });
});

test('on a real box: staged, applied and confirmed by its own uci', { skip: !REAL && 'LUCI_URL is not set' }, async t => {
	const { page } = await open(t, 'settings', 'sealing', { live: true });
	const name = `press${process.pid}`;
	await field(page, 'name').locator('input').fill(name);
	await page.locator('.cbi-page-actions .cbi-button-apply').click();
	await page.getByText('Configuration changes applied.').waitFor({ timeout: 60000 });
	await page.waitForTimeout(5000);
	await page.reload();
	await field(page, 'name').locator('input').waitFor();
	assert.equal(await field(page, 'name').locator('input').inputValue(), name);
	assert.equal(await page.locator('[data-indicator=uci-changes]').count(), 0);
});
