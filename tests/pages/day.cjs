/*
 * An operator's day on the key server's pages, in Chromium: first start, groups, letting gateways in one by one and by a
 * list, learning what there is, rules, watching, new keys, a second factor, throwing one out, the audit trail, and another
 * machine that goes on from a backup. Every page is looked at by axe-core, in light and dark.
 *
 * Run by tests/lab/test_9_pages.py, which has the plant: what it knows comes as JSON in DAY, what it does in between is
 * asked for by a line on standard output and answered by a line on standard input.
 */
'use strict';

const { chromium } = require('playwright-core');
const axe = require('fs').readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const assert = require('assert/strict');
const crypto = require('crypto');
const readline = require('readline');

const { base, code, boxes, plc, recipient, backup, pictures } = JSON.parse(process.env.DAY);
const PASSWORD = 'a few words are good';
/* The longest page, and what is loaded with it once. */
const MOST_BYTES = 50_000;

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let page, secret, looked = 0;
const complaints = [];

async function please(what) {
	console.log(what);
	const { value, done } = await answers.next();
	assert.ok(!done && value === 'done', `${what}: ${value}`);
}

async function look(name) {
	for (const scheme of ['light', 'dark']) {
		await page.emulateMedia({ colorScheme: scheme });
		if (pictures)
			await page.screenshot({ path: `${pictures}/${name}-${scheme}.png`, fullPage: true });
		/* The pages forbid scripts from elsewhere; a debugger may run some. */
		await page.evaluate(axe);
		const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
		const shown = found.violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).slice(0, 3).join(' ')}`);
		assert.deepEqual(shown, [], `${name}, ${scheme}`);
		looked++;
	}
	await page.emulateMedia({ colorScheme: 'light' });
}

async function open(path, name) {
	const answer = await page.goto(base + path);
	assert.equal(answer.status(), 200, path);
	const bytes = (await answer.body()).length;
	assert.ok(bytes < MOST_BYTES, `${path} has ${bytes} bytes`);
	if (name)
		await look(name);
}

async function told(text) {
	await page.waitForSelector(`.note >> text=${text}`);
}

function press(name) {
	return page.click(`button:text-is("${name}")`);
}

/* Nothing but keys. */
async function tabTo(selector, most = 80) {
	for (let n = 0; n < most; n++) {
		await page.keyboard.press('Tab');
		if (await page.evaluate(wanted => document.activeElement.matches(wanted), selector))
			return;
	}
	assert.fail(`${selector} is not reached by Tab`);
}

async function firstStart() {
	await page.goto(base + '/gateways');
	assert.equal(new URL(page.url()).pathname, '/setup');
	await look('set-up');
	await page.fill('#code', 'AAAA-AAAA-AAAA');
	await page.fill('#name', 'ann');
	await page.fill('#password', PASSWORD);
	await page.fill('#again', PASSWORD);
	await press('Begin');
	await told('not the set-up code');
	await page.fill('#code', code.toLowerCase());
	await page.fill('#password', PASSWORD);
	await page.fill('#again', PASSWORD);
	await page.keyboard.press('Enter');
	await page.waitForSelector('h1 >> text=Overview');
	await look('overview-empty');
}

async function letIn() {
	await open('/groups', 'groups-empty');
	await page.fill('#group', 'plant');
	await press('Add');
	await page.waitForSelector('h1 >> text=Group plant');
	await open('/gateways?state=pending', 'waiting');
	await page.click('tr:has-text("gwa") a');
	await look('approve');
	await page.fill('#compared', '0000-0000-0000-0000-0000-0000-0000-0000');
	await press('Approve');
	await told('Not approved');
	await page.fill('#compared', boxes.gwa);
	await press('Approve');
	await told('gwa is in plant');
}

/* The others, with the list of whoever put the boxes into cabinets. */
async function letInListed() {
	const never = '0123-4567-89ab-cdef-0123-4567-89ab-cdef';
	await open('/gateways', 'waiting-one');
	await page.fill('#list', `${boxes.gwb} gwb\n${boxes.gwa.slice(0, 19)}\n`);
	await press('Approve all listed');
	await told('Line 2:');
	assert.ok((await page.inputValue('#list')).startsWith(boxes.gwb), 'what was typed is still there');
	await look('list-wrong');
	await page.fill('#list', `# hall 3\n${boxes.gwa},gwa\n\n${boxes.gwb.toUpperCase()},gwb\n${never},spare\n`);
	await page.focus('#list');
	await tabTo('main button');
	await page.keyboard.press('Enter');
	await told('plant: 1 let in, 1 has not asked yet, 1 was in before');
	assert.ok((await page.innerText('section:has(#absent)')).includes(never));
	await look('list');
	await page.click('section:has(#approved) a:text-is("gwb")');
	await page.waitForSelector('h1 >> text=gwb');
	await open('/gateways');
	assert.equal(await page.locator('#list').count(), 0, 'nobody waits');
}

async function mode(wanted) {
	await open('/groups/plant');
	await page.selectOption('#s-mode', wanted);
	await press('Save');
	await told(`mode=${wanted}`);
}

async function putIntoForce(name) {
	await page.click('p > button[value=review]');
	await page.waitForSelector('#review');
	await look(name);
	await page.click('button[value=save]');
	await told('is accepted');
}

/* From what gateways saw to a rule. */
async function learn() {
	await open('/groups/plant/policy', 'rules-empty');
	await open('/groups/plant/learn', 'learn-off');
	await mode('learn');
	await open('/groups/plant/learn', 'learn-empty');
	await please('polls are seen');
	/* A gateway reports once a minute, and the page renews itself. */
	const flow = `#live-flows tr:has-text("Modbus/TCP"):has-text("${plc}")`;
	await page.waitForSelector(`${flow} >> text=no rule: let through in clear`, { timeout: 150_000 });
	await page.waitForSelector('#live-open >> a:text-is("On any machine")');
	await look('learn');
	await page.click(`${flow} >> a:text-is("any machine")`);
	await told('1 rule was added below');
	assert.equal(await page.locator('table.rules tbody tr').count(), 1);
	for (const [ field, value ] of [['name', 'modbus'], ['proto', 'tcp'], ['dest_ip', ''], ['dest_port', '502']])
		assert.equal(await page.inputValue(`tr:nth-child(1) input[name=${field}]`), value, field);
	await look('rules-learned');
	await putIntoForce('review-learned');
	await open('/groups/plant/learn?show=all');
	await page.waitForSelector(`${flow} >> text=sealed by modbus`);
	await look('learn-judged');
}

async function rules() {
	await open('/groups/plant/policy');
	await page.selectOption('#service', 'own');
	await page.click('button[value=add]');
	await page.waitForSelector('tr:nth-child(2) input[name=proto]');
	/* What is wrong is said while it is typed. */
	await page.fill('tr:nth-child(2) input[name=proto]', 'udp');
	await page.fill('tr:nth-child(2) input[name=dest_port]', '2000O');
	await page.waitForFunction(() => document.querySelectorAll('.wrong')[1].textContent.includes('is not a port'));
	await look('rules-wrong');
	await page.fill('tr:nth-child(2) input[name=dest_port]', '20000');
	await page.fill('tr:nth-child(2) input[name=name]', 'telemetry');
	await page.waitForFunction(() => document.querySelectorAll('.wrong')[1].textContent === '');
	/* Moved by keys alone, and by the mouse. */
	await page.focus('tr:nth-child(2) input[name=name]');
	await tabTo('tr:nth-child(2) button[data-move=up]');
	await page.keyboard.press('Enter');
	assert.equal(await page.inputValue('tr:nth-child(1) input[name=name]'), 'telemetry');
	const grip = await page.locator('tr:nth-child(1) .grip').boundingBox();
	const below = await page.locator('tr:nth-child(2)').boundingBox();
	await page.mouse.move(grip.x + 4, grip.y + 4);
	await page.mouse.down();
	await page.mouse.move(grip.x + 4, below.y + below.height - 4, { steps: 5 });
	await page.mouse.up();
	assert.equal(await page.inputValue('tr:nth-child(1) input[name=name]'), 'modbus');
	await look('rules');
	await putIntoForce('review');
	await mode('enforce');
}

async function watch() {
	/* It renews itself. */
	await open('/');
	await page.waitForSelector('#live-groups >> text=in step', { timeout: 30_000 });
	/* A gateway reports once a minute. */
	await page.waitForSelector('#live-traffic svg.chart', { timeout: 150_000 });
	await page.waitForFunction(() => !/sealed: 0$/m.test(document.querySelector('.key').innerText), null, { timeout: 150_000 });
	await look('overview');
	await open('/alarms', 'alarms');
	await open('/gateways', 'gateways');
	await page.click('text=gwa');
	await page.waitForSelector('#live-counted >> text=sealed', { timeout: 150_000 });
	await look('gateway');
	await page.fill('#tags', 'hall-3, Line.b');
	await press('Tag');
	await told('gwa is tagged hall-3 line.b');
	await open('/gateways?tag=line.b', 'tagged');
	await page.click('text=gwa');
	await page.selectOption('#command', 'diagnostics');
	await press('Send');
	await page.waitForSelector('.note:not(.bad)', { timeout: 20_000 });
	await open('/groups/plant/policy?proto=tcp&port=102&server=192.0.2.7', 'rules-added');
	await open('/groups/plant', 'group');
	const epoch = () => page.evaluate(() => [...document.querySelectorAll('#live-keys td:first-child')].map(cell => +cell.textContent));
	const before = Math.max(...await epoch());
	await press('New keys now');
	await told(`Epoch ${before + 1} is ordered`);
	await page.waitForFunction(wanted => [...document.querySelectorAll('#live-keys tr')].some(row =>
		row.cells[0].textContent === String(wanted) && row.cells[1].textContent === 'in force'), before + 1, { timeout: 60_000 });
}

async function others() {
	await open('/people', 'people');
	await page.fill('#name', 'vic');
	await page.fill('section:has(#users) #password', PASSWORD);
	await press('Add');
	await told('vic may sign in as viewer');
	await open('/server', 'server');
	await open('/enrol', 'enrol');
	await press('Make');
	await page.waitForSelector('#token');
	await look('token');
	const other = await page.context().browser().newContext({ ignoreHTTPSErrors: true });
	const guest = await other.newPage();
	await guest.goto(base + '/groups/plant');
	await guest.fill('#name', 'vic');
	await guest.fill('#password', PASSWORD);
	await guest.keyboard.press('Enter');
	await guest.waitForSelector('h1 >> text=Group plant');
	assert.equal(await guest.locator('text=Edit the rules').count(), 0);
	assert.ok(await guest.isDisabled('#s-mode'));
	assert.equal((await guest.goto(base + '/people')).status(), 403);
	assert.equal((await guest.goto(base + '/server')).status(), 403);
	await other.close();
}

/* What an authenticator app shows now: RFC 6238. */
function codeOf(secret) {
	const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
	const bits = [...secret].map(letter => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
	const key = Buffer.from(bits.match(/.{8}/g).map(byte => parseInt(byte, 2)));
	const time = Buffer.alloc(8);
	time.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
	const hash = crypto.createHmac('sha1', key).update(time).digest();
	const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
	return String(number % 1_000_000).padStart(6, '0');
}

async function secondFactor() {
	await open('/account', 'account');
	await page.fill('#on', PASSWORD);
	await press('Set it up');
	await page.waitForSelector('.qr svg');
	await look('second-factor');
	secret = (await page.innerText('#second ~ p code')).replaceAll(' ', '');
	await page.fill('#code', codeOf(secret));
	await press('Confirm');
	await told('you sign in with a code');
	await press('Sign out');
	await signIn('code');
}

async function signIn(name) {
	await page.fill('#name', 'ann');
	await page.fill('#password', PASSWORD);
	await page.keyboard.press('Enter');
	await page.waitForSelector('#code');
	if (name)
		await look(name);
	await page.fill('#code', codeOf(secret));
	await page.keyboard.press('Enter');
	await page.waitForSelector('h1 >> text=Overview');
}

async function throwOut() {
	await open('/gateways?text=gwb');
	await page.click('text=gwb');
	page.once('dialog', dialog => dialog.accept());
	await page.fill('#reason', 'stolen from the truck');
	await press('Revoke');
	await told('is revoked');
	await page.waitForSelector('text=Thrown out: stolen from the truck');
	await look('revoked');
	await please('gwb is out');
	await open('/groups/plant/history', 'history');
	await open('/audit?verify=1', 'audit');
	await told('as they were written');
	const trail = await page.innerText('main');
	for (const action of ['user add', 'group add', 'gateway approve', 'gateway approve-list', 'policy set', 'group set', 'rekey', 'token create', 'gateway revoke'])
		assert.ok(trail.includes(action), action);
}

async function restore() {
	await open('/server');
	await page.fill('#recipients', recipient);
	const [ file ] = await Promise.all([ page.waitForEvent('download'), press('Make a backup') ]);
	await file.saveAs(backup);
	/* Where nothing asks for a server that is gone. */
	await page.goto('about:blank');
	await please('the machine is lost');
	await page.goto(base + '/');
	assert.equal(new URL(page.url()).pathname, '/login');
	/* A code is good once in a process of the server. */
	await signIn();
	await page.waitForSelector('#live-groups >> text=in step', { timeout: 60_000 });
	await open('/gateways?state=revoked');
	assert.equal(await page.locator('tr:has-text("gwb")').count(), 1);
	await open('/audit?verify=1');
	await told('as they were written');
	const trail = await page.innerText('main');
	for (const action of ['gateway revoke', 'backup'])
		assert.ok(trail.includes(action), action);
}

async function main() {
	const browser = await chromium.launch({ executablePath: '/usr/bin/chromium',
		args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
	const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1180, height: 820 } });
	page = await context.newPage();
	page.setDefaultTimeout(15_000);
	page.on('pageerror', error => complaints.push(error.message));
	page.on('console', line => line.type() === 'error' && complaints.push(line.text()));
	page.on('request', request => request.url().startsWith(base) || complaints.push(`asks elsewhere: ${request.url()}`));
	await firstStart();
	await letIn();
	await letInListed();
	await learn();
	await rules();
	await please('polls are sealed');
	await watch();
	await others();
	await secondFactor();
	await throwOut();
	await restore();
	/* Refusals of what was typed wrong are no mistakes of the pages. */
	const own = complaints.filter(text => !/status of (409|422)/.test(text));
	assert.deepEqual(own, []);
	await browser.close();
	console.log(`looked at ${looked} pages`);
}

/* What waits for an answer on standard input would keep it from ending. */
main().then(() => process.exit(0), async error => {
	if (page && pictures)
		await page.screenshot({ path: `${pictures}/failed.png`, fullPage: true }).catch(() => {});
	console.log(`failed at ${page && page.url()}: ${error.stack}`);
	process.exit(1);
});
