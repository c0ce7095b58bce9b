/* luci-proto-tsg: an interface with the protocol tsg, on LuCI's page of interfaces. */

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { eventually, open, REAL, text } from '../harness.js';

const skip = REAL && 'a real LuCI shows interfaces on a page of its own';
const field = (page, name) => page.locator(`.cbi-value[data-name=${name}]`);
const refused = async page => {
	await save(page);
	await page.getByText(/Save error/).waitFor();
	await page.locator('#modal_overlay button').click();
};
const save = page => page.locator('.cbi-page-actions .cbi-button-save').click();
const ROOT = new URL('../../../', import.meta.url);
const SCRIPT = new URL('openwrt-feed/tsg-proto/files/lib/netifd/proto/tsg.sh', ROOT);
const PROTOCOL = new URL('luci-proto-tsg/htdocs/luci-static/resources/protocol/tsg.js', ROOT);

async function add(page, name, value) {
	await field(page, name).locator('.add-item input').fill(value);
	await page.keyboard.press('Enter');
}

test('what stands in the configuration is shown', { skip: skip }, async t => {
	const { page } = await open(t, 'interface', 'tunnel', { picture: 'interface' });
	assert.equal(await text(page, '#protocol'), 'Sealed tunnel (TSG)');
	assert.equal(await text(page, '#device'), 'vpn0');
	assert.equal(await field(page, 'peer').locator('input').inputValue(), '192.0.2.2');
	assert.match(await field(page, 'addresses').innerText(), /10\.9\.0\.1\/24/);
	assert.match(await field(page, '_key').innerText(), /\/etc\/tsg\/tunnel-vpn0\.key/);
	assert.equal(await field(page, 'key_file').locator('input').getAttribute('placeholder'), '/etc/tsg/tunnel-vpn0.key');
	assert.deepEqual(await field(page, 'tunlink').locator('option').allInnerTexts(), [ 'unspecified', 'lan', 'wan' ]);
});

test('everything that can be set is staged', { skip: skip }, async t => {
	const { page, box } = await open(t, 'interface', 'no_tunnel');
	await field(page, 'peer').locator('input').fill('vpn.example.org');
	await add(page, 'addresses', '10.9.0.1/24');
	await add(page, 'addresses', 'fd09::1/64');
	await add(page, 'routes', '198.51.100.0/24');
	await field(page, 'udp').locator('input').check();
	await field(page, 'tunlink').locator('select').selectOption('wan');
	await field(page, 'key_file').locator('input').fill('/etc/tsg/own.key');
	await field(page, 'mtu').locator('input').fill('1300');
	await save(page);
	await eventually(() => box.uci.network.vpn0.mtu, 'it is staged');
	const { peer, addresses, routes, udp, tunlink, key_file, mtu, ...rest } = box.uci.network.vpn0;
	assert.deepEqual([ peer, addresses, routes, udp, tunlink, key_file, mtu ],
		[ 'vpn.example.org', [ '10.9.0.1/24', 'fd09::1/64' ], [ '198.51.100.0/24' ], '1', 'wan', '/etc/tsg/own.key', '1300' ]);
	const others = Object.keys(rest).filter(name => !name.startsWith('.')).sort();
	assert.deepEqual(others, [ 'group', 'proto', 'transport' ], 'nothing else, and no key');
	assert.deepEqual([ rest.group, rest.transport ], [ '0', '0' ]);
	await eventually(async () => /\/etc\/tsg\/own\.key/.test(await field(page, '_key').innerText()), 'where the key is now');
});

test('transport mode has nothing in the tunnel', { skip: skip }, async t => {
	const { page, box } = await open(t, 'interface', 'tunnel', { error: /has to be named/ });
	const tunlink = field(page, 'tunlink').locator('select');
	assert.ok(await field(page, 'addresses').isVisible());
	await field(page, 'transport').locator('input').check();
	for (const name of [ 'addresses', 'routes' ])
		assert.ok(!await field(page, name).isVisible(), name);
	assert.match(await field(page, 'transport').innerText(), /nft delete table inet tsg-transport-vpn0/);
	assert.match(await tunlink.getAttribute('class'), /cbi-input-invalid/, 'at once');
	await refused(page);
	await tunlink.selectOption('wan');
	assert.doesNotMatch(await tunlink.getAttribute('class'), /cbi-input-invalid/);
	await save(page);
	await eventually(() => box.uci.network.vpn0.transport === '1', 'it is staged');
	assert.deepEqual([ box.uci.network.vpn0.tunlink, box.uci.network.vpn0.addresses, box.uci.network.vpn0.routes ], [ 'wan', undefined, undefined ]);
});

for (const peer of [ '0.0.0.0', '::' ])
	test(`a host that calls from anywhere, ${peer}, comes by an interface that is named`, { skip: skip }, async t => {
		const { page, box } = await open(t, 'interface', 'tunnel');
		const tunlink = field(page, 'tunlink').locator('select');
		await field(page, 'peer').locator('input').fill(peer);
		await field(page, 'peer').locator('input').blur();
		assert.match(await tunlink.getAttribute('class'), /cbi-input-invalid/);
		await tunlink.selectOption('wan');
		await field(page, 'transport').locator('input').check();
		assert.match(await field(page, 'peer').locator('input').getAttribute('class'), /cbi-input-invalid/);
		await field(page, 'transport').locator('input').uncheck();
		await save(page);
		await eventually(() => box.uci.network.vpn0.tunlink === 'wan', 'it is staged');
		assert.equal(box.uci.network.vpn0.peer, peer);
	});

test('a save that was refused costs no addresses', { skip: skip }, async t => {
	const { page, box } = await open(t, 'interface', 'tunnel', { error: /has to be named/ });
	const { addresses } = box.uci.network.vpn0;
	await field(page, 'transport').locator('input').check();
	await refused(page);
	await field(page, 'transport').locator('input').uncheck();
	await save(page);
	await eventually(() => box.uci.network.vpn0.transport === '0', 'it is staged');
	assert.deepEqual(box.uci.network.vpn0.addresses, addresses);
});

test('the keys may be those of a group', { skip: skip }, async t => {
	const { page, box } = await open(t, 'interface', 'tunnel');
	await field(page, 'group').locator('input').check();
	for (const name of [ '_key', 'key_file' ])
		assert.ok(!await field(page, name).isVisible(), name);
	await save(page);
	await eventually(() => box.uci.network.vpn0.group === '1', 'it is staged');
});

for (const [ name, value ] of [ [ 'peer', '' ], [ 'peer', 'two words' ], [ 'key_file', 'own.key' ], [ 'mtu', '500' ], [ 'mtu', '1400.5' ] ])
	test(`${name} "${value}" is refused`, { skip: skip }, async t => {
		const { page, box } = await open(t, 'interface', 'tunnel', { error: /invalid input|must not be empty/ });
		await field(page, name).locator('input').fill(value);
		await save(page);
		await page.getByText(/Save error/).waitFor();
		assert.deepEqual(box.changes, {});
	});

test('what netifd says of it is said in words', { skip: skip }, async t => {
	const { page } = await open(t, 'interface', 'no_tunnel');
	assert.match(await text(page, '#errors'), /The key file is no whole path Unknown error/);
});

test('hostile settings are text', { skip: skip }, async t => {
	const { page } = await open(t, 'interface', 'hostile_tunnel');
	assert.equal(await page.evaluate(() => window.pwned), undefined);
	assert.match(await field(page, '_key').innerText(), /<script>/);
});

test('the page speaks German', { skip: skip }, async t => {
	const { page } = await open(t, 'interface', 'tunnel', { language: 'de', picture: 'de-interface' });
	assert.equal(await text(page, '#protocol'), 'Versiegelter Tunnel (TSG)');
});

test('options and errors are those of the script', async () => {
	const [ script, protocol ] = await Promise.all([ SCRIPT, PROTOCOL ].map(file => readFile(file, 'utf8')));
	const all = (source, form) => [ ...new Set([ ...source.matchAll(form) ].map(found => found[1])) ].sort();
	const options = all(script, /proto_config_add_\w+ (\w+)/g);
	assert.ok(options.length > 6, options);
	/* LuCI has that one for every interface. */
	assert.deepEqual(all(protocol, /form\.\w+, '([a-z]\w+)'/g), options.filter(name => ![ 'defaultroute', 'tunlink' ].includes(name)));
	assert.deepEqual(all(protocol, /widgets\.\w+, '(\w+)'/g), [ 'tunlink' ]);
	assert.deepEqual(all(protocol, /\t(TSG_\w+):/g), all(script, /(?:refuse|fail|tell) (TSG_\w+)/g));
});
