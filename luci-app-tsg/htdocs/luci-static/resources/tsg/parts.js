'use strict';
'require baseclass';
'require dom';
'require ui';
'require tsg.gateway as gateway';
'require tsg.shape as shape';

/*
 * Pieces of pages. Children are always given as arrays: LuCI makes text nodes of their strings, and HTML of a string
 * that stands alone.
 */

let styled = false;

return baseclass.extend({
	style() {
		if (styled)
			return;

		styled = true;
		document.head.appendChild(E('link', { 'rel': 'stylesheet', 'href': L.resource('tsg/tsg.css') }));
	},

	/* What somebody elsewhere wrote: it cannot reach beyond itself, whichever way it is read. */
	foreign(value, longest) {
		return E('bdi', { 'class': 'tsg-foreign' }, [ shape.text(value, longest) ]);
	},

	code(value) {
		return E('code', { 'class': 'tsg-foreign', 'dir': 'ltr' }, [ shape.text(value) ]);
	},

	/* A section; `body` are its children. */
	section(id, title, description, body) {
		return E('section', { 'class': 'cbi-section tsg-section', 'id': id, 'aria-labelledby': id + '-title' }, [
			E('h3', { 'id': id + '-title' }, [ title ]),
			description ? E('div', { 'class': 'cbi-section-descr' }, [ description ]) : '',
			E('div', { 'class': 'cbi-section-node tsg-body' }, body)
		]);
	},

	/* Rows of cells; a cell is text or a node. Without rows: what stands there then. */
	table(headings, rows, none) {
		const head = E('tr', { 'class': 'tr table-titles' }, headings.map(heading =>
			E('th', { 'class': 'th', 'scope': 'col' }, [ heading ])));

		if (!rows.length)
			return E('p', { 'class': 'tsg-none' }, [ none ]);

		return E('div', { 'class': 'tsg-wide' }, [
			E('table', { 'class': 'table' }, [ head, ...rows.map((cells, at) =>
				E('tr', { 'class': 'tr cbi-rowstyle-%d'.format(at % 2 + 1) }, cells.map((cell, column) =>
					E('td', { 'class': 'td', 'data-title': headings[column] || null }, [ cell ])))) ])
		]);
	},

	/* Pairs of a name and what it is. */
	facts(pairs) {
		return E('table', { 'class': 'table tsg-facts' }, pairs.filter(pair => pair).map(([ name, value, id ]) =>
			E('tr', { 'class': 'tr' }, [
				E('th', { 'class': 'td left', 'scope': 'row' }, [ name ]),
				E('td', { 'class': 'td left', 'data-fact': id || null }, Array.isArray(value) ? value : [ value ])
			])));
	},

	button(label, kind, handler, context) {
		return E('button', {
			'class': 'btn cbi-button cbi-button-' + kind,
			'type': 'button',
			'disabled': this.readonly() ? true : null,
			'title': this.readonly() ? _('This login may look, and change nothing.') : null,
			'click': ui.createHandlerFn(context || this, handler)
		}, [ label ]);
	},

	readonly() {
		return L.hasViewPermission() === false;
	},

	/* Says above the page how an action went. What went well disappears by itself. */
	tell(text, kind) {
		const children = E('p', { 'class': 'tsg-foreign', 'role': 'status' }, [ text ]);

		/* Older LuCI has none that disappear. */
		if (ui.addTimeLimitedNotification)
			ui.addTimeLimitedNotification(null, children, kind == 'danger' ? 0 : 8000, kind);
		else
			ui.addNotification(null, children, kind);
	},

	/* After an action: true if it happened, else it was said why not. */
	happened(answer) {
		const refusal = gateway.refusal(answer);
		if (refusal != null)
			this.tell(_('That did not work: %s').format(shape.text(refusal)), 'danger');

		return refusal == null;
	},

	/* What stands where an answer of the daemon would, when there is none. */
	missing(answer) {
		return E('div', { 'class': 'alert-message warning tsg-missing', 'data-fault': answer.fault }, [
			E('p', {}, [ gateway.explain(answer.fault) ]),
			answer.fault == 'gone' ? this.starter() : ''
		]);
	},

	/* `restart` for one that runs and does not answer. */
	starter(restart) {
		const action = restart ? 'restart' : 'start';

		return E('p', {}, [
			this.button(restart ? _('Restart the gateway') : _('Start the gateway'), 'positive', () => gateway.service(action).then(answer => {
				if (!answer.fault)
					this.tell(_('The gateway is starting; that takes a few seconds.'), 'info');
				else if (answer.fault == 'failed')
					this.tell(_('It did not start: %s').format(shape.text(answer.text) || _('see the log')), 'danger');
				else if (answer.fault == 'denied')
					this.tell(gateway.explain('denied'), 'danger');
				else
					this.tell(_('It did not start; see the log.'), 'danger');
			})), ' ',
			E('a', { 'href': L.url('admin/services/tsg/log') }, [ _('What the log says') ])
		]);
	},

	/* A fingerprint in its groups, large enough to be read out over the telephone. */
	fingerprint(value) {
		const groups = shape.text(value, 60).split('-');

		return E('div', { 'class': 'tsg-fingerprint', 'dir': 'ltr', 'id': 'tsg-fingerprint' }, groups.map((group, at) =>
			E('span', {}, [ group, at + 1 < groups.length ? E('span', { 'class': 'tsg-dash' }, [ '-' ]) : '' ])));
	},

	/* Puts new children into a node, unless it shows the same already: so nothing flickers or loses the focus. */
	show(node, children) {
		const fresh = E('div', {}, children);
		const before = Array.from(node.childNodes), after = Array.from(fresh.childNodes);
		if (before.length == after.length && before.every((child, at) => child.isEqualNode(after[at])))
			return;

		dom.content(node, after);
	}
});
