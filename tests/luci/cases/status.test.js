import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, open, text } from '../harness.js';

test('sealed is said in one look', async t => {
	const { page } = await open(t, 'status', 'sealing');
	assert.equal(await text(page, '.tsg-word'), 'SEALED');
	assert.equal(await page.getAttribute('.tsg-banner', 'data-level'), 'good');
	assert.equal(await page.locator('#tsg-alarm-list').count(), 0);
	for (const [ fact, expected ] of Object.entries({
		name: 'press7', group: 'line1', servers: 'tcp://192.0.2.10:5555', epoch: 'number 17', rekey: 'in 8 h 40 min', fail: 'is stopped (fail closed)', senders: '3',
		machines: '1 here, 2 behind other gateways, 0 behind none', uptime: '2 d 2 h'
	}))
		assert.equal(await text(page, `[data-fact=${fact}]`), expected);
	assert.match(await text(page, '[data-fact=answered]'), /^4 s ago/);
	assert.match(await text(page, '[data-fact=ports]'), /lan1 ↔ plant network: wan \(ingress\)/);
	assert.deepEqual(await page.locator('#tsg-dropped-list [data-counter]').evaluateAll(all => all.map(one => one.dataset.counter)), [ 'drop_in_clear', 'drop_replayed' ]);
	assert.match(await text(page, '#tsg-dropped-list'), /14 Somebody on the plant side sends unprotected/);
});

const SAID = {
	fresh: [ 'off', 'NOT SET UP', /Paste a token/ ],
	off: [ 'off', 'SWITCHED OFF', /switch it on/ ],
	pending: [ 'bad', 'NOT SEALED', /operator has to let this gateway in.*is stopped.*Compare the fingerprint/ ],
	no_server: [ 'care', 'SEALED', /does not answer.*Do not restart/ ],
	no_key: [ 'bad', 'NOT SEALED', /no key.*UNPROTECTED/ ],
	revoked: [ 'bad', 'NOT SEALED', /thrown this gateway out/ ],
	migrate: [ 'care', 'SEALED', /UNPROTECTED to the others.*Policy/ ],
	alarms: [ 'care', 'SEALED', /look at the alarms/ ],
	detached: [ 'bad', 'NOT SEALED', /cannot get at the packets of br-lan/ ],
	unported: [ 'bad', 'NOT SEALED', /no port was given/ ],
	routed: [ 'good', 'KEYS READY', /for the tunnels of this box/ ],
	bypass: [ 'bad', 'NOT SEALED: BYPASS', /12:34 to go/ ],
	gone: [ 'bad', 'NOT RUNNING', /Start it/ ],
	unwanted: [ 'off', 'SWITCHED OFF', /Everything crosses unprotected.*switch it on/ ],
	hangs: [ 'bad', 'UNKNOWN', /does not answer/ ]
};

for (const [ scenario, [ level, word, why ] ] of Object.entries(SAID))
	test(`the banner, ${scenario}`, async t => {
		const { page } = await open(t, 'status', scenario, { picture: [ 'pending', 'bypass', 'gone' ].includes(scenario) ? `status-${scenario}` : null });
		assert.equal(await page.getAttribute('.tsg-banner', 'data-level'), level);
		assert.equal(await text(page, '.tsg-word'), word);
		assert.match(await text(page, '.tsg-banner'), why);
	});

test('what a gateway without a key server does not know is no empty cell', async t => {
	const { page } = await open(t, 'status', 'fresh');
	assert.deepEqual(await page.locator('#tsg-fact-list td').evaluateAll(all => all.filter(cell => !cell.textContent.trim()).map(cell => cell.dataset.fact)), []);
	assert.equal(await text(page, '[data-fact=name]'), '\u2013');
});

test('each alarm says what to do, an unknown one where to look', async t => {
	const { page } = await open(t, 'status', 'alarms', { picture: 'status-alarms' });
	const alarms = await page.locator('.tsg-alarm').allInnerTexts();
	assert.equal(alarms.length, 3);
	assert.match(alarms[0], /192\.0\.2\.77[^]*a rule “bypass”/);
	assert.match(alarms[1], /a port is missing[^]*Is the port there/);
	assert.match(alarms[2], /something quite new[^]*operations guide/);
});

test('a gateway that is not running is started from the page, which follows', async t => {
	const { page, box } = await open(t, 'status', 'gone');
	await page.getByRole('button', { name: 'Start the gateway' }).click();
	await eventually(async () => await text(page, '.tsg-word') == 'SEALED', 'sealed after the start');
	assert.deepEqual(box.calls, [ [ 'file', 'exec', { command: '/etc/init.d/tsg', params: [ 'start' ] } ] ]);
});

test('one that is switched off does not run, and is switched on in its settings', async t => {
	const { page, box } = await open(t, 'status', 'unwanted');
	const word = said => eventually(async () => await text(page, '.tsg-word') == said, said);
	assert.equal(await page.getByRole('button', { name: 'Start the gateway' }).count(), 0);
	box.uci.tsg.main.enabled = '1';
	await word('NOT RUNNING');
	box.uci.tsg.main.enabled = 'off';
	await word('SWITCHED OFF');
	delete box.uci.tsg.main.enabled;
	await word('NOT RUNNING');

	/* What is not applied yet does not count. */
	Object.assign(box.uci.tsg.main, { enabled: '0' });
	box.changes = { tsg: [ [ 'set', 'main', 'name', 'press9' ] ] };
	await word('SWITCHED OFF');
	box.changes = { tsg: [ [ 'set', 'main', 'enabled', '0' ] ] };
	await word('NOT RUNNING');
	box.uci.tsg.main.enabled = '1';
	box.changes = { tsg: [ [ 'set', 'main', 'enabled', '1' ] ] };
	await word('SWITCHED OFF');
	box.gone = false;
	await word('SEALED');
});

test('a gateway that hangs is restarted', async t => {
	const { page, box } = await open(t, 'status', 'hangs');
	await page.getByRole('button', { name: 'Restart the gateway' }).click();
	await eventually(async () => await text(page, '.tsg-word') == 'SEALED', 'sealed after the restart');
	assert.deepEqual(box.calls, [ [ 'file', 'exec', { command: '/etc/init.d/tsg', params: [ 'restart' ] } ] ]);
});

test('a start that fails says why', async t => {
	const { page } = await open(t, 'status', 'gone', { box: { starts: 127 } });
	await page.getByRole('button', { name: 'Start the gateway' }).click();
	await page.getByText('It did not start: no such file').waitFor();
});

test('the page follows the box, from sealed to gone and back', async t => {
	const { page, box } = await open(t, 'status', 'sealing');
	box.gone = true;
	await eventually(async () => await text(page, '.tsg-word') == 'NOT RUNNING', 'gone');
	assert.equal(await page.locator('#tsg-charts').isVisible(), false);
	box.gone = false;
	await eventually(async () => await text(page, '.tsg-word') == 'SEALED', 'back');
	assert.equal(await page.locator('#tsg-charts').isVisible(), true);
});

test('the charts draw what the counters gain, and a restart is no flood', async t => {
	const { page, box } = await open(t, 'status', 'sealing', { box: { grow: { sealed: [ 300 ], opened: [ 150 ], drop_replayed: [ 30 ] } } });
	const rate = key => page.locator(`[data-series=${key}]`).innerText();
	const number = async key => parseFloat((await rate(key)).replace(/\s/g, ''));
	await eventually(async () => await number('sealed') > 0, 'a rate');
	const sealed = await number('sealed');
	assert.ok(sealed > 40 && sealed < 400, sealed);
	assert.ok(await number('dropped') > 4);
	assert.match(await page.locator('[data-lately=sealed]').innerText(), /^average [\d.]+\/s, peak [\d.]+\/s$/);
	assert.equal(await page.locator('#tsg-throughput').isVisible(), false, 'bytes are not counted');
	assert.match(await page.locator('#tsg-traffic polyline').first().getAttribute('points'), /^[\d.]+,[\d.]+( [\d.]+,[\d.]+)*$/);
	box.grow = null;
	Object.assign(box.answers.counters, { sealed: 0, opened: 0 });
	await eventually(async () => await number('sealed') == 0, 'no rate after a restart');
});

test('throughput is shown in bit/s, with its average and peak', async t => {
	const { page, box } = await open(t, 'status', 'throughput', {
		box: { grow: { sealed_bytes: [ 4.5e6 ], opened_bytes: [ 4.5e4 ], sealed: [ 3000 ], opened: [ 1500 ], drop_in_clear: [ 0, 0, 2 ] } }
	});
	const shown = (name, way) => page.locator(`#tsg-throughput [data-${name}=${way}_bits]`).innerText();
	await eventually(async () => /Mbit/.test(await shown('series', 'sealed')), 'a rate');
	/* 12 Mbit/s and 120 kbit/s, if the page asks every three seconds. */
	for (const [ way, unit, least, most ] of [ [ 'sealed', 'Mbit/s', 6, 18 ], [ 'opened', 'kbit/s', 60, 180 ] ]) {
		const [ , number, of ] = /^([\d.]+)\s(.*)$/.exec(await shown('series', way));
		assert.equal(of, unit, way);
		assert.ok(number >= least && number <= most, `${way}: ${number}`);
	}
	assert.match(await shown('lately', 'sealed'), /^average [\d.]+\sMbit\/s, peak [\d.]+\sMbit\/s$/);
	assert.match(await page.locator('#tsg-throughput polyline').first().getAttribute('points'), /^[\d.]+,[\d.]+( [\d.]+,[\d.]+)*$/);
	assert.doesNotMatch(await text(page, '#tsg-counters'), /bytes/, 'they are no packets');
	box.grow = null;
	Object.assign(box.answers.counters, { sealed_bytes: 0, opened_bytes: 0 });
	await eventually(async () => /^0\sbit\/s$/.test(await shown('series', 'sealed')), 'no rate after a restart');
	assert.match(await shown('lately', 'sealed'), /peak [\d.]+\sMbit\/s$/);
});

test('the lines of a chart of which nothing crosses have two numbers', async t => {
	const { page } = await open(t, 'status', 'throughput');
	const marks = async chart => (await page.locator(`#${chart} .tsg-mark`).allInnerTexts()).map(one => one.replace(/\s/g, ' '));
	await eventually(async () => (await marks('tsg-throughput'))[0] != '', 'drawn');
	assert.deepEqual(await marks('tsg-throughput'), [ '1.0 kbit/s', '500 bit/s' ]);
	assert.deepEqual(await marks('tsg-traffic'), [ '1/s', '0.5/s' ]);
});

test('a daemon that does not count all bytes has no throughput that is too small', async t => {
	const { page, box } = await open(t, 'status', 'throughput');
	await page.locator('#tsg-throughput').waitFor();
	delete box.answers.counters.opened_bytes;
	await page.locator('#tsg-throughput').waitFor({ state: 'hidden' });
	assert.equal(await page.locator('#tsg-traffic').isVisible(), true);
});

test('a bypass is asked for, counts down, and is ended', async t => {
	const { page, box } = await open(t, 'status', 'sealing');
	await page.selectOption('#tsg-minutes', { label: '5 minutes' });
	await page.getByRole('button', { name: 'Bypass now' }).click();
	assert.deepEqual(box.calls, [], 'nothing before it is confirmed');
	await page.getByRole('button', { name: 'Switch protection off', exact: true }).click();
	await eventually(async () => await text(page, '.tsg-word') == 'NOT SEALED: BYPASS', 'the bypass is shown');
	assert.deepEqual(box.calls, [ [ 'tsg', 'bypass', { seconds: 300 } ] ]);
	assert.match(await text(page, '#tsg-bypass'), /OFF for another 05:00/);
	box.answers.status.bypass.ends_in_s = 61;
	await eventually(async () => /01:01/.test(await text(page, '#tsg-bypass')), 'it counts down');
	await page.getByRole('button', { name: 'End the bypass now' }).click();
	await eventually(async () => await text(page, '.tsg-word') == 'SEALED', 'the bypass is over');
	assert.deepEqual(box.calls[1], [ 'tsg', 'bypass', { seconds: 0 } ]);
});

test('a bypass that the group forbids says so', async t => {
	const { page, box } = await open(t, 'status', 'sealing');
	box.answers.bypass = { ok: false, error: 'the group forbids it' };
	await page.getByRole('button', { name: 'Bypass now' }).click();
	await page.getByRole('button', { name: 'Switch protection off', exact: true }).click();
	await page.getByText('That did not work: the group forbids it').waitFor();
	assert.equal(await text(page, '.tsg-word'), 'SEALED');
});

test('connecting anew is asked of the daemon', async t => {
	const { page, box } = await open(t, 'status', 'no_server');
	await page.getByRole('button', { name: 'Connect anew' }).click();
	await page.getByText('The gateway connects to the key server anew.').waitFor();
	assert.deepEqual(box.calls, [ [ 'tsg', 'reconnect', {} ] ]);
});

test('an older daemon: what it has is shown', async t => {
	const { page } = await open(t, 'status', 'older');
	assert.equal(await text(page, '.tsg-word'), 'SEALED');
	assert.match(await text(page, '#tsg-counters'), /1 840 233/);
	assert.equal(await page.locator('#tsg-bypass-panel').count(), 0);
	await page.getByRole('button', { name: 'Connect anew' }).click();
	await page.getByText('That did not work: The gateway on this box is an older version').waitFor();
});

test('huge numbers stay readable', async t => {
	const { page } = await open(t, 'status', 'huge');
	const counters = await text(page, '#tsg-counters');
	assert.match(counters, /1\.84 · 10\^19/);
	assert.match(counters, /9\.9 P/);
	assert.match(counters, /10 T/);
	assert.match(counters, /123 456 789 012/);
	assert.equal(await text(page, '[data-fact=rekey]'), 'in more than 30 years');
});

test('a login that may not see anything is told so', async t => {
	const { page } = await open(t, 'status', 'sealing', { box: { denied: [ 'tsg.status', 'tsg.counters', 'tsg.peers' ] } });
	assert.match(await text(page, '.tsg-banner'), /UNKNOWN.*not allowed/);
});

test('what is unfolded stays unfolded', async t => {
	const { page, box } = await open(t, 'status', 'sealing');
	await page.locator('summary').click();
	box.answers.counters.drop_policy = 9;
	await page.locator('#tsg-dropped-list [data-counter=drop_policy]').waitFor();
	assert.equal(await page.locator('details[open]').count(), 1);
});

test('a picture for the guide', async t => {
	const { page } = await open(t, 'status', 'throughput', {
		picture: 'status', wait: 80000,
		box: { grow: {
			sealed: [ 290, 310, 300, 330, 280 ], opened: [ 280, 300, 290, 320, 275 ], sealed_bytes: [ 96e3, 113e3, 101e3, 134e3, 90e3 ], opened_bytes: [ 41e3, 47e3, 43e3, 52e3, 40e3 ],
			bypassed: [ 30, 45, 20 ], drop_in_clear: [ 0, 0, 0, 3, 0, 0, 0, 0, 0 ]
		} }
	});
	assert.equal(await text(page, '.tsg-word'), 'SEALED');
});
