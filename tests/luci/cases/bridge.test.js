import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, open, picture, REAL, text } from '../harness.js';

const save = page => page.locator('.cbi-page-actions .cbi-button-save').click();

test('ports, offloads and the check are shown', async t => {
	const { page } = await open(t, 'bridge', 'preflight', { picture: 'bridge' });
	assert.match(await text(page, '#tsg-ports'), /lan1 plugged in/);
	assert.match(await text(page, '#tsg-ports'), /lan2 nothing at the other end/);
	assert.deepEqual(await page.locator('#tsg-ports tr select').evaluateAll(all => all.map(one => one.value)), [ 'lan', 'none', 'wan' ]);
	assert.equal(await page.locator('[data-fixed=lro]').count(), 3);
	assert.equal(await text(page, '[data-fixed=lro]'), 'fixed: off');
	assert.match(await text(page, '#tsg-preflight .alert-message'), /Problems: 1, warnings: 1/);
	assert.deepEqual(await page.locator('[data-grade]').evaluateAll(all => all.map(one => one.dataset.grade)), [ 'problem', 'warning', 'ok' ]);
	assert.match(await text(page, '#tsg-preflight'), /flow_offloading=0/);
});

test('nothing is cut where there is little room, in a language that needs more', { skip: REAL && 'LuCI\'s own languages decide' }, async t => {
	const { page, box } = await open(t, 'bridge', 'sealing', { language: 'fr' });
	box.answers.ports.ports[0].name = 'sfp-lan0-machines';
	await page.setViewportSize({ width: 600, height: 900 });
	await page.reload();
	await page.locator('#tsg-role-0').waitFor();
	const cut = await page.evaluate(() => {
		const whole = node => {
			const copy = document.body.appendChild(node.cloneNode(true));
			copy.setAttribute('style', 'max-width:none;min-width:0;position:absolute;width:auto');
			const { width } = copy.getBoundingClientRect();
			copy.remove();

			return width;
		};
		const { paddingLeft, paddingRight, font } = getComputedStyle(document.getElementById('tsg-vlan'));
		const canvas = document.createElement('canvas').getContext('2d');
		canvas.font = font;
		const vlan = document.getElementById('tsg-vlan');

		return [
			...Array.from(document.querySelectorAll('#tsg-bridge .td select')).filter(one => one.getBoundingClientRect().width < whole(one)),
			...Array.from(document.querySelectorAll('#tsg-bridge .td bdi')).filter(one => one.textContent.startsWith('sfp') && one.getClientRects().length != 1),
			...canvas.measureText(vlan.placeholder).width > vlan.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) ? [ vlan ] : []
		].map(node => node.outerHTML.slice(0, 120));
	});
	assert.deepEqual(cut, []);
	assert.ok(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth) <= 0, 'the page itself is not scrolled');
});

test('ports are set up by staged changes that LuCI can take back', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing');
	await page.selectOption('#tsg-address', 'dhcp');
	await page.getByRole('button', { name: 'Set up these ports' }).click();
	await page.locator('#tsg-changes').waitFor();
	assert.deepEqual(box.calls.find(([ , method ]) => method == 'setup')[2], { lan: [ 'lan1' ], wan: 'wan', address: 'dhcp', vlan: null, standalone: false });
	assert.match(await text(page, '#tsg-changes'), /uci set network\.br_tsg='device' uci set network\.br_tsg\.name='br-tsg'.*uci delete network\.wan uci del_list tsg\.bridge\.lan='lan2'/);
	assert.match(await text(page, '.modal'), /lan2 leaves the bridge/);
	assert.deepEqual(box.changes, {}, 'nothing before it is confirmed');
	await picture(page, 'bridge-review', { fullPage: false });
	await page.getByRole('button', { name: 'Take over these changes' }).click();
	await page.getByText('The changes are noted').waitFor();
	const { br_tsg: bridge, lan, wan } = box.uci.network;
	assert.deepEqual([ bridge['.type'], bridge.name, bridge.type, bridge.ports ], [ 'device', 'br-tsg', 'bridge', [ 'lan1', 'wan' ] ]);
	assert.deepEqual([ lan.device, wan ], [ 'br-tsg', undefined ]);
	assert.deepEqual(box.uci.tsg.bridge.lan, [ 'lan1' ]);
	assert.equal(box.applied, null);
	await page.locator('[data-indicator=uci-changes]').waitFor();
});

test('the address of the box can be in a VLAN, and the ports without a bridge', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing');
	const press = () => page.getByRole('button', { name: 'Set up these ports' }).click();
	const asked = () => box.calls.filter(([ , method ]) => method == 'setup').map(call => call[2]);
	assert.equal(await page.inputValue('#tsg-vlan'), '');
	assert.equal(await page.isChecked('#tsg-standalone'), false);
	for (const wrong of [ '0', '4095', 'ten', '1e2', '-1' ]) {
		await page.fill('#tsg-vlan', wrong);
		await press();
		await page.getByText('A VLAN is a number from 1 to 4094.').nth(0).waitFor();
	}
	assert.deepEqual(asked(), []);
	await page.fill('#tsg-vlan', ' 10 ');
	await page.check('#tsg-standalone');
	await press();
	await page.locator('#tsg-changes').waitFor();
	assert.deepEqual(asked(), [ { lan: [ 'lan1' ], wan: 'wan', address: 'keep', vlan: 10, standalone: true } ]);
	await page.getByRole('button', { name: 'Cancel' }).click();
	await page.selectOption('#tsg-address', 'none');
	assert.equal(await page.locator('#tsg-vlan').isDisabled(), true, 'no address, no VLAN');
	await press();
	await eventually(() => asked().length == 2, 'asked again');
	assert.deepEqual([ asked()[1].address, asked()[1].vlan ], [ 'none', null ]);
});

test('a box that is in a VLAN already, without a bridge, stays there', async t => {
	const { page, box } = await open(t, 'bridge', 'managed', { picture: 'bridge-vlan' });
	assert.equal(await page.inputValue('#tsg-vlan'), '20');
	await page.getByRole('button', { name: 'Set up these ports' }).click();
	await page.locator('#tsg-changes').waitFor();
	const { vlan, standalone } = box.calls.find(([ , method ]) => method == 'setup')[2];
	assert.deepEqual([ vlan, standalone ], [ 20, true ]);
});

test('ports are not set up beside changes that wait', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing');
	const press = () => page.getByRole('button', { name: 'Set up these ports' }).click();
	await press();
	await page.getByRole('button', { name: 'Take over these changes' }).click();
	await page.getByText('The changes are noted').waitFor();
	box.answers.setup = { ok: true, changes: [], notes: [] };
	await press();
	await page.getByText('Other changes wait to be applied').waitFor();
	assert.equal(box.calls.filter(([ , method ]) => method == 'setup').length, 1);
	for (const config of [ 'network', 'tsg' ]) {
		await page.reload();
		box.changes = { [config]: [ [ 'set', 'lan', 'proto', 'dhcp' ] ] };
		await press();
		await page.getByText('Other changes wait to be applied').waitFor();
	}
	box.changes = { system: [ [ 'set', 'ntp', 'enabled', '0' ] ] };
	await press();
	await page.getByText('These ports are set up like this already.').waitFor();
});

test('a list is replaced in a section without a name', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing');
	box.answers.setup = { ok: true, notes: [], changes: [
		[ 'delete', 'network', '@device[0]', 'ports' ], [ 'add_list', 'network', '@device[0]', 'ports', 'lan1' ], [ 'add_list', 'network', '@device[0]', 'ports', 'wan' ]
	] };
	await page.getByRole('button', { name: 'Set up these ports' }).click();
	await page.getByRole('button', { name: 'Take over these changes' }).click();
	await page.getByText('The changes are noted').waitFor();
	assert.deepEqual(box.uci.network.cfg030f15.ports, [ 'lan1', 'wan' ]);
});

test('on a real box: staged by its own uci, and reverted', { skip: !REAL && 'LUCI_URL is not set' }, async t => {
	const { page, box } = await open(t, 'bridge', 'sealing', { live: true });
	const set = (...words) => [ 'set', 'network', 'tsg_test', ...words ], list = (verb, port) => [ verb, 'network', 'tsg_test', 'ports', port ];
	box.answers.setup = { ok: true, notes: [], changes: [
		set('device'), set('name', 'tsg-test'), list('add_list', 'lan1'), list('add_list', 'lan2'), list('del_list', 'lan1'), [ 'set', 'tsg', 'bridge', 'standalone', '1' ]
	] };
	await page.getByRole('button', { name: 'Set up these ports' }).click();
	await page.getByRole('button', { name: 'Take over these changes' }).click();
	await page.locator('[data-indicator=uci-changes]').waitFor();
	const there = () => page.evaluate(() => window.L.require('uci').then(uci => {
		uci.unload([ 'network', 'tsg' ]);

		return uci.load([ 'network', 'tsg' ]).then(() => [ uci.get('network', 'tsg_test', 'ports'), uci.get('network', 'tsg_test', 'name'), uci.get('tsg', 'bridge', 'standalone') ]);
	}));
	assert.deepEqual(await there(), [ [ 'lan2' ], 'tsg-test', '1' ]);
	await page.reload();
	await page.locator('#tsg-standalone:checked').waitFor();
	await page.locator('[data-indicator=uci-changes]').click();
	await page.locator('.modal .cbi-button-reset').click();
	await page.locator('#tsg-standalone:not(:checked)').waitFor();
	assert.equal((await there())[1] ?? null, null);
});

test('a choice that cannot be is not asked for', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing');
	const press = () => page.getByRole('button', { name: 'Set up these ports' }).click();
	await page.selectOption('#tsg-role-0', 'wan');
	await press();
	await page.getByText('exactly one for the plant network').first().waitFor();
	await page.selectOption('#tsg-role-0', 'lan');
	await page.selectOption('#tsg-address', 'static');
	await page.fill('#tsg-static', '192.0.2.20');
	await press();
	await page.getByText('An address looks like').waitFor();
	assert.equal(box.calls.some(([ , method ]) => method == 'setup'), false);
	await page.fill('#tsg-static', '192.0.2.20/24');
	await press();
	await page.locator('#tsg-changes').waitFor();
	assert.equal(box.calls.find(([ , method ]) => method == 'setup')[2].address, '192.0.2.20/24');
});

test('what went wrong is said where one sees it, until the next attempt', async t => {
	const { page } = await open(t, 'bridge', 'sealing');
	await page.setViewportSize({ width: 900, height: 400 });
	const press = () => page.getByRole('button', { name: 'Set up these ports' }).click();
	const seen = what => page.getByText(what).evaluate(node => {
		const { top, bottom } = node.getBoundingClientRect();

		return top >= 0 && bottom <= innerHeight;
	});
	await page.selectOption('#tsg-role-0', 'wan');
	await press();
	await page.getByText('exactly one for the plant network').waitFor();
	await eventually(() => seen('exactly one for the plant network'), 'in view');
	await page.selectOption('#tsg-role-0', 'lan');
	await page.fill('#tsg-vlan', '5000');
	await press();
	await page.getByText('A VLAN is a number').waitFor();
	await eventually(() => seen('A VLAN is a number'), 'in view');
	assert.equal(await page.getByText('exactly one for the plant network').count(), 0);
});

const BAD = {
	'another configuration': [ [ 'set', 'system', 'ntp', 'enabled', '0' ] ],
	'another verb': [ [ 'rename', 'network', 'lan', 'x' ] ],
	'no words': 'rm -rf /',
	'a value with line ends': [ [ 'set', 'network', 'lan', 'device', 'x\ny' ] ],
	'a section with markup': [ [ 'set', 'network', '<img src=x onerror=window.pwned=5>', 'device' ] ],
	'a section of another kind': [ [ 'set', 'network', 'lan', 'device' ] ],
	'too few words': [ [ 'add_list', 'network', 'lan', 'ports' ] ],
	'a number': [ [ 'set', 'network', 'lan', 'mtu', 5 ] ],
	'a word of objects': [ [ 'constructor', 'network', 'lan' ] ]
};

for (const [ name, changes ] of Object.entries(BAD))
	test(`a proposal with ${name} is refused whole`, async t => {
		const { page, box } = await open(t, 'bridge', 'sealing');
		box.answers.setup = { ok: true, changes: Array.isArray(changes) ? [ [ 'set', 'tsg', 'bridge', 'wan', 'wan2' ], ...changes ] : changes, notes: [] };
		await page.getByRole('button', { name: 'Set up these ports' }).click();
		await page.getByText(/The gateway proposed/).waitFor();
		assert.equal(await page.locator('#tsg-changes').count(), 0);
		assert.deepEqual(box.changes, {});
	});

test('a proposal that changes nothing says so', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing');
	box.answers.setup = { ok: true, changes: [], notes: [] };
	await page.getByRole('button', { name: 'Set up these ports' }).click();
	await page.getByText('These ports are set up like this already.').waitFor();
});

test('offloads become `config port`, and go back to as it was', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing');
	const gro = page.locator('select[data-port=wan][data-offload=gro]');
	await gro.selectOption('0');
	await page.locator('.cbi-value[data-name=path_mtu] input').fill('1400');
	await save(page);
	const ports = () => Object.values(box.uci.tsg).filter(section => section['.type'] == 'port');
	await eventually(() => ports().length == 1 && box.uci.tsg.main.path_mtu == '1400', 'both are staged');
	assert.deepEqual([ ports()[0]['.name'], ports()[0].device, ports()[0].gro, ports()[0].lro ], [ 'port_wan', 'wan', '0', undefined ]);
	await gro.selectOption('');
	await save(page);
	await eventually(() => ports().length == 0, 'gro is left alone again, and nothing is wished');
});

test('what is wished makes it so: what it was before is not known', async t => {
	const { page, box } = await open(t, 'bridge', 'wished');
	const empty = name => page.locator(`select[data-port=lan1][data-offload=${name}] option[value=""]`).innerText();
	assert.deepEqual(await Promise.all([ 'gro', 'gso', 'tso' ].map(empty)), [ 'as before', 'as it is (on)', 'as before' ]);
	await page.locator('select[data-port=lan1][data-offload=gro]').selectOption('');
	await page.locator('select[data-port=lan1][data-offload=gso]').selectOption('0');
	await save(page);
	const port = () => box.uci.tsg.port_lan1;
	await eventually(() => port()?.gso == '0' && port().gro === undefined, 'another wish instead');
	await page.locator('select[data-port=lan1][data-offload=gso]').selectOption('');
	port().note = 'by hand';
	await page.evaluate(() => window.L.require('uci').then(uci => { uci.unload('tsg'); return uci.load('tsg'); }));
	await save(page);
	await eventually(() => port()?.gso === undefined, 'nothing is wished');
	assert.equal(port()?.note, 'by hand', 'what somebody else has written stays');
});

test('an MTU that cannot be is refused', async t => {
	const { page, box } = await open(t, 'bridge', 'sealing', { error: /invalid input/ });
	await page.locator('.cbi-value[data-name=path_mtu] input').fill('20');
	await save(page);
	await page.getByText(/Largest packet.*invalid input/).waitFor();
	assert.equal(box.uci.tsg.main.path_mtu, undefined);
});

test('the check is done again', async t => {
	const { page, box } = await open(t, 'bridge', 'preflight');
	box.answers.preflight = { problems: 0, warnings: 0, checks: [ { grade: 'ok', what: 'bridge', text: 'all well' } ] };
	await page.getByRole('button', { name: 'Look again' }).click();
	await page.getByText('Problems: 0, warnings: 0').waitFor();
	assert.match(await text(page, '#tsg-preflight'), /all well/);
});

for (const scenario of [ 'gone', 'older' ])
	test(`without ports and checks: ${scenario}`, async t => {
		const { page } = await open(t, 'bridge', scenario);
		const said = scenario == 'gone' ? /not running/ : /older version/;
		assert.match(await text(page, '#tsg-ports'), said);
		assert.match(await text(page, '#tsg-preflight'), said);
		assert.equal(await page.locator('.cbi-value[data-name=path_mtu]').count(), 1);
	});
