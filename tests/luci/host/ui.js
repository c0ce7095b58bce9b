'use strict';
'require baseclass';
'require dom';
'require rpc';
'require uci';

/* LuCI's ui: notices, dialogues, buttons that wait, and the staged changes. */

const apply = rpc.declare({ object: 'uci', method: 'apply', params: [ 'timeout', 'rollback' ], reject: true });
const confirm = rpc.declare({ object: 'uci', method: 'confirm', reject: true });

let overlay = null;

const changes = {
	init() {
		return uci.changes().then(all => {
			const count = Object.values(all).reduce((sum, list) => sum + list.length, 0);
			dom.content(document.getElementById('indicators'),
				count ? [ E('span', { 'data-indicator': 'uci-changes' }, [ 'Unsaved Changes: ' + count ]) ] : []);
		});
	},

	/* LuCI waits for the box to answer, and confirms; else the box takes the changes back. */
	apply(checked) {
		return apply(L.env.apply_rollback, checked).then(() => checked ? confirm() : null).then(() => changes.init());
	}
};

return baseclass.extend({
	changes: changes,

	addNotification(title, children, ...classes) {
		const node = E('div', { 'class': 'alert-message' }, [ E('div', {}, []) ]);
		node.classList.add(...classes);
		dom.append(node.firstChild, title != null ? [ E('h4', {}, title) ] : []);
		dom.append(node.firstChild, children);

		return document.getElementById('maincontent').insertBefore(node, document.getElementById('maincontent').firstChild);
	},

	addTimeLimitedNotification(title, children, timeout, ...classes) {
		const node = this.addNotification(title, children, ...classes);
		if (timeout > 0)
			setTimeout(() => node.remove(), timeout);

		return node;
	},

	showModal(title, children, ...classes) {
		overlay ??= document.body.appendChild(E('div', { 'id': 'modal_overlay', 'tabindex': -1 }, [ E('div', { 'class': 'modal', 'role': 'dialog', 'aria-modal': true }) ]));
		const dialogue = overlay.firstChild;
		dialogue.setAttribute('class', [ 'modal', ...classes ].join(' '));
		dom.content(dialogue, E('h4', {}, title));
		dom.append(dialogue, children);
		document.body.classList.add('modal-overlay-active');
		overlay.focus();

		return dialogue;
	},

	hideModal() {
		document.body.classList.remove('modal-overlay-active');
	},

	createHandlerFn(context, fn, ...first) {
		const handler = typeof(fn) == 'string' ? context[fn] : fn;

		return event => {
			const button = event.currentTarget;
			button.classList.add('spinning');
			button.disabled = true;
			button.blur();
			Promise.resolve(handler.call(context, ...first, event)).finally(() => {
				button.classList.remove('spinning');
				button.disabled = false;
			});
		};
	}
});
