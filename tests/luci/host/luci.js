/*
 * What LuCI gives its views, as far as those of luci-app-tsg use it, written anew: the loader with its 'require' lines,
 * classes, DOM, polling and the view. The traps are the same: a string that stands alone as child becomes HTML.
 */
(() => {
	'use strict';

	class Base {
		constructor(...given) {
			if (typeof(this.__init__) == 'function')
				this.__init__(...given);
		}

		/* The method of that name one class further up than the one that calls. */
		super(name, given = []) {
			const supers = this.supers ??= new Map();
			let at = supers.get(name) ?? this;
			while (!Object.hasOwn(at, name))
				at = Object.getPrototypeOf(at);
			at = Object.getPrototypeOf(at);
			const method = at[name];
			if (method === undefined)
				return null;
			supers.set(name, at);
			try {
				return method.apply(this, given);
			}
			finally {
				supers.delete(name);
			}
		}

		static extend(members) {
			const made = class extends this {};
			for (const name of Object.keys(members))
				Object.defineProperty(made.prototype, name, { value: members[name], writable: true });

			return made;
		}
	}

	const isNode = value => value != null && typeof(value) == 'object' && 'nodeType' in value;
	const instances = new WeakMap();

	const dom = {
		elem: isNode,

		append(node, children) {
			if (Array.isArray(children))
				for (const child of children)
					node.appendChild(isNode(child) ? child : document.createTextNode(`${child}`));
			else if (isNode(children))
				node.appendChild(children);
			else if (children != null)
				node.innerHTML = `${children}`;

			return node.lastChild;
		},

		content(node, children) {
			while (node.firstChild)
				node.removeChild(node.firstChild);

			return dom.append(node, children);
		},

		attr(node, attributes) {
			for (const [ name, value ] of Object.entries(attributes))
				if (typeof(value) == 'function')
					node.addEventListener(name, value);
				else if (value != null)
					node.setAttribute(name, typeof(value) == 'object' ? JSON.stringify(value) : value);
		},

		create(name, attributes, children) {
			if (!(attributes instanceof Object) || Array.isArray(attributes) || isNode(attributes))
				[ attributes, children ] = [ null, attributes ];
			if (Array.isArray(name)) {
				const fragment = document.createDocumentFragment();
				dom.append(fragment, name);

				return fragment;
			}
			const node = document.createElement(name);
			dom.attr(node, attributes ?? {});
			dom.append(node, children);

			return node;
		},

		bindClassInstance(node, instance) {
			instances.set(node, instance);
			node.setAttribute('data-instance', '');
		},

		findClassInstance(node) {
			return instances.get(node) ?? null;
		},

		callClassMethod(node, method, ...given) {
			const instance = instances.get(node);

			return instance ? instance[method](...given) : null;
		}
	};

	const poll = {
		queue: [],
		tick: 0,

		add(fn, interval = 5) {
			poll.queue.push({ fn: fn, interval: interval, busy: false });
			poll.timer ??= setInterval(() => poll.step(), 1000);

			return true;
		},

		step() {
			poll.tick += 1;
			for (const entry of poll.queue)
				if (poll.tick % entry.interval == 0 && !entry.busy) {
					entry.busy = true;
					Promise.resolve(entry.fn()).finally(() => { entry.busy = false; });
				}
		},

		active: () => poll.timer != null
	};

	const FORMATS = { d: value => Math.floor(+value || 0).toFixed(0), s: value => String(value), h: value => dom.create('i', {}, [ String(value) ]).innerHTML };
	Object.defineProperty(String.prototype, 'format', { value(...values) {
		return this.replace(/%(%|[dsh])/g, (all, kind) => kind == '%' ? '%' : values.length ? FORMATS[kind](values.shift()) : all);
	} });

	window.E = dom.create;
	window._ = text => Object.hasOwn(window.WORDS, text) ? window.WORDS[text] : text;

	const environment = JSON.parse(document.documentElement.dataset.environment ?? '{}');
	const loaded = new Map();

	/* A view shows itself as soon as it is made. */
	const View = Base.extend({
		__init__() {
			const node = document.getElementById('view');
			dom.content(node, E('div', { 'class': 'spinning' }, [ 'Loading view\u2026' ]));
			Promise.resolve(this.load()).then(given => this.render(given)).then(made => {
				dom.content(node, made);
				node.appendChild(this.footer());
				node.setAttribute('data-ready', '');
			}).catch(error => {
				dom.content(node, E('pre', {}, [ error.stack ]));
				console.error(error);
			});
		},

		load() {},
		render() {},

		maps() {
			return Array.from(document.querySelectorAll('#maincontent .cbi-map'));
		},

		handleSave() {
			return Promise.all(this.maps().map(map => dom.callClassMethod(map, 'save')));
		},

		handleSaveApply(event, mode) {
			return this.handleSave(event).then(() => loaded.get('ui').instance.changes.apply(mode == '0'));
		},

		handleReset() {
			return Promise.all(this.maps().map(map => dom.callClassMethod(map, 'reset')));
		},

		footer() {
			const ui = loaded.get('ui').instance;
			const readonly = L.hasViewPermission() === false || null;
			const button = (kind, label, handler) => E('button', {
				'class': 'btn cbi-button cbi-button-' + kind, 'disabled': readonly, 'click': ui.createHandlerFn(this, handler)
			}, [ label ]);

			return this.handleSaveApply || this.handleSave || this.handleReset ? E('div', { 'class': 'cbi-page-actions' }, [
				this.handleSaveApply ? button('apply', 'Save & Apply', event => this.handleSaveApply(event, '0')) : '', ' ',
				this.handleSave ? button('save', 'Save', 'handleSave') : '', ' ',
				this.handleReset ? button('reset', 'Reset', 'handleReset') : ''
			]) : E([]);
		}
	});

	const BUILT_IN = { baseclass: Base, dom: dom, poll: poll, view: View };

	/* The strings with which a file begins. */
	function directives(source) {
		const bare = source.replace(/^(\s|\/\*[^]*?\*\/|\/\/[^\n]*\n)*/, '');
		const found = /^(['"])([^'"\n]*)\1;?/.exec(bare);

		return found ? [ found[2], ...directives(bare.slice(found[0].length)) ] : [];
	}

	async function load(name) {
		const url = `/luci-static/resources/${name.replace(/\./g, '/')}.js`;
		const answer = await fetch(url);
		if (!answer.ok)
			throw new Error(`${url}: ${answer.status}`);
		const source = await answer.text();
		const needs = directives(source).map(text => /^require[ \t]+(\S+)(?:[ \t]+as[ \t]+(\S+))?$/.exec(text)).filter(found => found);
		const given = await Promise.all(needs.map(found => L.require(found[1])));
		const names = needs.map(found => found[2] ?? found[1].replace(/\W/g, '_'));
		const factory = new Function('window', 'document', 'L', ...names, `${source}\n//# sourceURL=${location.origin}${url}`);
		const Made = factory(window, document, L, ...given);
		if (!(Made?.prototype instanceof Base))
			throw new Error(`${url} returns no class`);

		return new Made();
	}

	window.L = {
		env: environment,
		resource: (...parts) => [ '/luci-static/resources', ...parts ].join('/'),
		url: (...parts) => [ '/cgi-bin/luci', ...parts ].join('/'),
		hasViewPermission: () => !environment.readonly,
		isObject: value => value != null && typeof(value) == 'object',
		resolveDefault: (value, otherwise) => Promise.resolve(value).catch(() => otherwise),
		bind: (fn, self, ...given) => fn.bind(self, ...given),
		toArray: value => value == null ? [] : Array.isArray(value) ? value : String(value).trim().split(/\s+/).filter(word => word),

		require(name) {
			if (name in BUILT_IN)
				return Promise.resolve(BUILT_IN[name]);
			if (!loaded.has(name)) {
				const entry = { promise: load(name) };
				entry.promise = entry.promise.then(instance => entry.instance = instance);
				loaded.set(name, entry);
			}

			return loaded.get(name).promise;
		}
	};

	document.addEventListener('DOMContentLoaded', async () => {
		const pages = [ 'status', 'settings', 'bridge', 'policy', 'log' ];
		dom.append(document.getElementById('tabmenu'), pages.map(page => E('a', { 'href': L.url('admin/services/tsg', page), 'style': 'margin-right:1em' }, [ page ])));
		for (const name of [ 'rpc', 'uci', 'ui', 'form' ])
			await L.require(name);
		loaded.get('ui').instance.changes.init();
		await L.require('view.tsg.' + location.pathname.split('/').pop());
	});
})();
