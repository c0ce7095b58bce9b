'use strict';
'require baseclass';
'require ui';
'require tsg.gateway as gateway';
'require tsg.shape as shape';

/*
 * Pieces of pages. Children are always given as arrays: LuCI makes text nodes of their strings, and HTML of a string
 * that stands alone.
 */

let styled = false;
/* What went wrong last. */
let trouble = null;

/* A button that says the same is the same, also while LuCI lets it wait; other fields have what somebody chose in them. */
function same(one, other) {
	if (one.nodeName == 'BUTTON' && other.nodeName == 'BUTTON')
		return one.textContent == other.textContent && one.title == other.title;

	return one.isEqualNode(other);
}

/* Can one become the other by new attributes and children? */
function alike(one, other) {
	return one.nodeName == other.nodeName && one.id == other.id && ![ 'BUTTON', 'INPUT', 'SELECT', 'TEXTAREA' ].includes(one.nodeName);
}

function attributes(node, fresh) {
	/* Who has unfolded it decides. */
	const ours = name => node.nodeName != 'DETAILS' || name != 'open';

	for (const { name } of Array.from(node.attributes))
		if (ours(name) && !fresh.hasAttribute(name))
			node.removeAttribute(name);
	for (const { name, value } of fresh.attributes)
		if (ours(name) && node.getAttribute(name) !== value)
			node.setAttribute(name, value);
}

function become(node, fresh) {
	if (same(node, fresh))
		return;
	if (!alike(node, fresh))
		node.replaceWith(fresh);
	else if (node.nodeType == Node.TEXT_NODE)
		node.data = fresh.data;
	else {
		attributes(node, fresh);
		patch(node, fresh);
	}
}

/* Rows that come and go are seldom the first and the last: what is the same at both ends stays, what is between is gone through in pairs. */
function patch(node, fresh) {
	const before = Array.from(node.childNodes), after = Array.from(fresh.childNodes);

	while (before.length && after.length && same(before[0], after[0])) {
		before.shift();
		after.shift();
	}
	let end = null;
	while (before.length && after.length && same(before[before.length - 1], after[after.length - 1])) {
		end = before.pop();
		after.pop();
	}
	before.splice(after.length).forEach(old => old.remove());
	before.forEach((old, at) => become(old, after[at]));
	after.slice(before.length).forEach(added => node.insertBefore(added, end));
}

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

	/* A port's name is read in one piece. */
	port(name) {
		return E('span', { 'class': 'tsg-port' }, [ this.foreign(name, 40) ]);
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

	/* Changes something: not for a login that may only look. */
	button(label, kind, handler, context) {
		const node = this.asker(label, kind, handler, context || this);
		if (this.readonly()) {
			node.disabled = true;
			node.title = _('This login may look, and change nothing.');
		}

		return node;
	},

	/* A button that only asks. */
	asker(label, kind, handler, context) {
		const self = context || this;
		const node = E('button', {
			'class': 'btn cbi-button cbi-button-' + kind,
			'type': 'button',
			/* LuCI takes the focus from a button that waits. */
			'click': ui.createHandlerFn(self, (...args) => Promise.resolve(handler.apply(self, args)).finally(() => setTimeout(() => {
				if (document.activeElement == document.body)
					node.focus({ preventScroll: true });
			})))
		}, [ label ]);

		return node;
	},

	readonly() {
		return L.hasViewPermission() === false;
	},

	/* Says above the page how the last action went, also to who has scrolled down. What went well disappears by itself. */
	tell(text, kind) {
		const children = E('p', { 'class': 'tsg-foreign', 'role': 'status' }, [ text ]);
		if (trouble)
			(trouble.closest('.alert-message') || trouble).remove();

		/* Older LuCI has none that disappear. */
		if (ui.addTimeLimitedNotification)
			ui.addTimeLimitedNotification(null, children, kind == 'danger' ? 0 : 8000, kind);
		else
			ui.addNotification(null, children, kind);

		trouble = kind == 'danger' ? children : null;
		if (trouble)
			trouble.scrollIntoView({ block: 'center' });
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

	/* Makes a node show these children; what it shows already stays, and with it the focus and what is unfolded or selected. */
	show(node, children) {
		patch(node, E('div', {}, children));
	}
});
