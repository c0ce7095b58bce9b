import { test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, open, text } from '../harness.js';

test('sealed is said in one look', async t => {
	const { page } = await open(t, 'status', 'sealing', { picture: 'status' });
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
