'use strict';
'require view';
'require poll';
'require tsg.gateway as gateway';
'require tsg.parts as parts';
'require tsg.shape as shape';

/* What the gateway wrote into the system's log. */

const INTERVAL = 5;
const LINES = 1000;
const OURS = /^tsg(-[a-z]+)?(\[\d+\])?:/;
/* By the system log's numbers. */
const LEVELS = [ _('error'), _('error'), _('error'), _('error'), _('warning'), _('notice'), _('information'), _('detail') ];

return view.extend({
	load() {
		parts.style();

		return gateway.log(LINES, false, true);
	},

	render(answer) {
		this.level = E('select', { 'id': 'tsg-level', 'class': 'cbi-input-select', 'change': () => this.draw() }, [
			[ 7, _('everything') ], [ 6, _('information and worse') ], [ 4, _('warnings and errors') ], [ 3, _('errors only') ]
		].map(([ value, label ]) => E('option', { 'value': value }, [ label ])));
		this.words = E('input', { 'id': 'tsg-words', 'type': 'text', 'class': 'cbi-input-text', 'input': () => this.draw() });
		this.lines = E('div', { 'class': 'tsg-log', 'id': 'tsg-log', 'role': 'log', 'tabindex': 0, 'aria-label': _('Lines of the log, the newest last') });

		this.answer = answer;
		this.draw();
		poll.add(() => gateway.log(LINES, false, true).then(fresh => {
			this.answer = fresh;
			this.draw();
		}), INTERVAL);
		/* Once it is in the page: to the newest line. */
		requestAnimationFrame(() => requestAnimationFrame(() => { this.lines.scrollTop = this.lines.scrollHeight; }));

		return E('div', { 'id': 'tsg-log-page' }, [
			E('h2', {}, [ _('Log of the gateway') ]),
			E('div', { 'class': 'cbi-map-descr' }, [ _('The newest line is the last. How much the gateway writes is set on the page Settings.') ]),
			E('div', { 'class': 'tsg-row' }, [
				E('label', { 'for': 'tsg-level' }, [ _('Show') ]), this.level,
				E('label', { 'for': 'tsg-words' }, [ _('with these words') ]), this.words
			]),
			this.lines
		]);
	},

	draw() {
		const atEnd = this.lines.scrollTop + this.lines.clientHeight >= this.lines.scrollHeight - 8;

		parts.show(this.lines, this.answer.fault ? [ E('p', {}, [
			this.answer.fault == 'denied' ? gateway.explain('denied') : _('The system log cannot be read on this box.')
		]) ] : this.entries(shape.list(this.answer.value.log)));
		if (atEnd)
			this.lines.scrollTop = this.lines.scrollHeight;
	},

	entries(log) {
		const words = this.words.value.trim().toLowerCase();
		const wanted = log.map(shape.object)
			.filter(entry => typeof(entry.msg) == 'string' && OURS.test(entry.msg))
			.filter(entry => (shape.number(entry.priority) || 0) % 8 <= +this.level.value)
			.filter(entry => entry.msg.toLowerCase().includes(words));

		return wanted.length ? wanted.map(entry => this.entry(entry)) : [ E('p', {}, [
			log.length ? _('Nothing of the gateway in the log, at this level and with these words.') : _('The log is empty.')
		]) ];
	},

	entry(entry) {
		const level = (shape.number(entry.priority) || 0) % 8;
		const time = new Date(shape.number(entry.time) || 0);
		const when = isNaN(time) ? '\u2013' : time.toLocaleString();

		return E('div', { 'class': 'tsg-entry', 'data-level': level }, [
			E('time', {}, [ when ]), ' ',
			E('span', { 'class': 'tsg-level' }, [ level < 6 ? LEVELS[level] + ' ' : '' ]),
			parts.foreign(entry.msg.replace(OURS, '').trim(), 2000)
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
