'use strict';
'require baseclass';
'require dom';
'require uci';
'require ui';

/* LuCI's form, as far as it is used here: maps of named sections and of tables, with six kinds of options. */

/* Less exact than LuCI's. */
const ADDRESS = /^(\d{1,3}(\.\d{1,3}){3}|[0-9a-f]*:[0-9a-f:]*:[0-9a-f]*)$/i;
const TYPES = {
	'host(0)': [ /^[a-z0-9:.-]+$/i, 'host name or address' ],
	'or(cidr,ipaddr("nomask"))': [ { test: value => ADDRESS.test(value.replace(/\/\d+$/, '')) }, 'address, with a prefix or without' ]
};

/* What is wrong with a text, by its `datatype`; null if nothing. */
function wrongType(datatype, value) {
	const [ fits, expected ] = TYPES[datatype] ?? [];
	if (fits)
		return fits.test(value) ? null : expected;
	const found = /^(?:and\(uinteger,)?(maxlength|range)\((\d+)(?:,(\d+))?\)/.exec(datatype ?? '');
	if (!found)
		return null;
	if (found[1] == 'maxlength')
		return value.length > +found[2] ? `at most ${found[2]} characters` : null;

	return /^\d+$/.test(value) && +value >= +found[2] && +value <= +found[3] ? null : `between ${found[2]} and ${found[3]}`;
}

const AbstractValue = baseclass.extend({
	__init__(section, option, title, description) {
		Object.assign(this, { section: section, option: option, title: title, description: description, rmempty: true, optional: false });
	},

	value(key, label) {
		(this.choices ??= []).push([ key, label ?? key ]);
	},

	validate() {
		return true;
	},

	triggerValidation(section) {
		this.check(section);
	},

	/* Shown and stored only while that option has that value. */
	depends(option, value) {
		this.needs = { option: option, value: value };
	},

	isActive(section) {
		const needed = this.section.children.find(one => one.option == this.needs?.option);

		return !needed || needed.formvalue(section) == this.needs.value;
	},

	cfgvalue(section) {
		return uci.get(this.section.map.config, section, this.option);
	},

	id(section) {
		return `cbid.${this.section.map.config}.${section}.${this.option}`;
	},

	frame(section) {
		return this.section.map.root.querySelector(`[data-field="${CSS.escape(this.id(section))}"]`);
	},

	formvalue(section) {
		return this.read(this.frame(section));
	},

	check(section) {
		const given = [ this.formvalue(section) ].flat();
		const wrong = given.filter(value => value != null).map(value => {
			const said = this.validate(section, value);

			return (value === '' ? null : wrongType(this.datatype, value)) ?? (said === true ? null : said);
		}).find(one => one != null);
		this.frame(section).querySelectorAll('input, select').forEach(input => input.classList.toggle('cbi-input-invalid', wrong != null));

		return wrong ?? null;
	},

	parse(section) {
		const config = this.section.map.config;
		/* Just made, and not shown yet. */
		if (!this.frame(section))
			return;
		const given = this.isActive(section) ? this.formvalue(section) : null;
		const wrong = given == null ? null : this.check(section);
		if (wrong != null)
			throw new TypeError(`Option "${this.title}" contains an invalid input value. ${wrong}`);
		if (given == null || given.length == 0 || this.omits(given)) {
			if (!this.rmempty && !this.omits(given) && this.isActive(section))
				throw new TypeError(`Option "${this.title}" must not be empty.`);
			uci.unset(config, section, this.option);
		}
		else if (JSON.stringify(given) != JSON.stringify(uci.get(config, section, this.option)))
			uci.set(config, section, this.option, given);
	},

	omits() {
		return false;
	},

	render(section, inTable) {
		const value = this.cfgvalue(section) ?? this.default;
		const widget = E('div', { 'id': this.id(section) }, [ this.widget(`widget.${this.id(section)}`, value, section) ]);
		if (inTable)
			return E('td', { 'class': 'td cbi-value-field', 'data-name': this.option, 'data-title': this.title }, [ E('div', { 'data-field': this.id(section) }, [ widget ]) ]);

		return E('div', { 'class': 'cbi-value', 'data-name': this.option, 'data-field': this.id(section) }, [
			E('label', { 'class': 'cbi-value-title', 'for': `widget.${this.id(section)}` }, this.title),
			E('div', { 'class': 'cbi-value-field' }, [ widget, E('div', { 'class': 'cbi-value-description' }, this.description ?? '') ])
		]);
	},

	/* In a table, its heading is its name. */
	named(attributes) {
		return { ...attributes, 'aria-label': this.title, 'disabled': L.hasViewPermission() ? null : true };
	}
});

const Value = AbstractValue.extend({
	widget(id, value, section) {
		return E('input', this.named({
			'id': id, 'type': 'text', 'class': 'cbi-input-text', 'value': value, 'placeholder': this.placeholder, 'blur': () => this.check(section)
		}));
	},

	read(frame) {
		return frame.querySelector('input').value;
	}
});

const ListValue = AbstractValue.extend({
	widget(id, value) {
		return E('select', this.named({ 'id': id, 'class': 'cbi-input-select' }), (this.choices ?? []).map(([ key, label ]) =>
			E('option', { 'value': key, 'selected': key == value ? true : null }, [ label ])));
	},

	read(frame) {
		return frame.querySelector('select').value;
	}
});

const Flag = AbstractValue.extend({
	__init__(...given) {
		this.super('__init__', given);
		this.default = '0';
	},

	widget(id, value) {
		return E('input', this.named({ 'id': id, 'type': 'checkbox', 'checked': value == '1' ? true : null }));
	},

	read(frame) {
		return frame.querySelector('input').checked ? '1' : '0';
	},

	omits(given) {
		return given == this.default && this.rmempty;
	}
});

const DynamicList = AbstractValue.extend({
	widget(id, value) {
		const field = E('input', this.named({ 'id': id, 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.placeholder }));
		const add = () => {
			if (field.value)
				list.insertBefore(this.item(field.value), list.lastChild);
			field.value = '';
		};
		field.addEventListener('keydown', event => { if (event.key == 'Enter') add(); });
		const list = E('div', { 'class': 'cbi-dynlist' }, [ ...L.toArray(value).map(text => this.item(text)),
			E('div', { 'class': 'add-item' }, [ field, E('button', { 'class': 'btn cbi-button-add', 'type': 'button', 'aria-label': 'Add', 'click': add }, [ '+' ]) ]) ]);

		return list;
	},

	item(text) {
		return E('div', { 'class': 'item', 'data-value': text, 'click': event => event.currentTarget.remove() }, [ text ]);
	},

	read(frame) {
		return Array.from(frame.querySelectorAll('.item'), item => item.dataset.value);
	}
});

/* What it shows is text, and never stored. */
const DummyValue = AbstractValue.extend({
	widget(id, value) {
		return E('div', { 'id': id }, [ value ]);
	},

	parse() {}
});

const AbstractSection = baseclass.extend({
	option(Kind, ...given) {
		const made = new Kind(this, ...given);
		(this.children ??= []).push(made);

		return made;
	},

	tab(name, title) {
		(this.tabs ??= []).push([ name, title ]);
	},

	getOption(name) {
		return this.children.find(option => option.option == name);
	},

	formvalue(name, option) {
		return this.getOption(option).formvalue(name);
	},

	taboption(tab, ...given) {
		const made = this.option(...given);
		made.tab = tab;

		return made;
	},

	parse() {
		for (const section of this.names())
			for (const option of this.children)
				option.parse(section);
	},

	frame(body) {
		return E('div', { 'class': 'cbi-section', 'id': `cbi-${this.map.config}-${this.type}` }, [
			this.title ? E('h3', {}, this.title) : '', this.description ? E('div', { 'class': 'cbi-section-descr' }, this.description) : '', ...body
		]);
	}
});

const NamedSection = AbstractSection.extend({
	__init__(map, name, type, title, description) {
		Object.assign(this, { map: map, name: name, section: name, type: type, title: title, description: description });
	},

	names() {
		return uci.get(this.map.config, this.name) ? [ this.name ] : [];
	},

	render() {
		const shown = (name, tab) => this.children.filter(option => option.tab == tab).map(option => option.render(name, false));

		return this.frame(this.names().flatMap(name => this.tabs
			? this.tabs.map(([ tab, title ]) => E('div', { 'data-tab': tab }, [ E('h4', {}, [ title ]), ...shown(name, tab) ])) : shown(name)));
	}
});

const TableSection = AbstractSection.extend({
	__init__(map, type, title, description) {
		Object.assign(this, { map: map, type: type, title: title, description: description });
	},

	names() {
		return uci.sections(this.map.config, this.type).map(section => section['.name']);
	},

	render() {
		const disabled = L.hasViewPermission() ? null : true;
		const rows = this.names().map(name => E('tr', { 'class': 'tr cbi-section-table-row', 'data-sid': name }, [
			...this.children.map(option => option.render(name, true)),
			E('td', { 'class': 'td' }, [ E('button', { 'class': 'btn cbi-button-remove', 'type': 'button', 'disabled': disabled,
				'click': ui.createHandlerFn(this, () => { uci.remove(this.map.config, name); return this.map.save(null, true); }) }, [ 'Delete' ]) ])
		]));

		return this.frame([
			E('table', { 'class': 'table cbi-section-table' }, [
				E('tr', { 'class': 'tr table-titles' }, this.children.map(option => E('th', { 'class': 'th' }, option.title)).concat(E('th', { 'class': 'th' }, [ '' ]))),
				...rows
			]),
			E('div', { 'class': 'cbi-section-create' }, [ E('button', { 'class': 'btn cbi-button-add', 'type': 'button', 'disabled': disabled,
				'click': ui.createHandlerFn(this, () => { uci.add(this.map.config, this.type); return this.map.save(null, true); }) }, [ this.addbtntitle ?? 'Add' ]) ])
		]);
	}
});

const Map_ = baseclass.extend({
	__init__(config, title, description) {
		Object.assign(this, { config: config, title: title, description: description, children: [] });
	},

	section(Kind, ...given) {
		const made = new Kind(this, ...given);
		this.children.push(made);

		return made;
	},

	load() {
		return uci.load(this.config);
	},

	async save(then, silent) {
		try {
			for (const section of this.children)
				section.parse();
			await uci.save();
		}
		catch (error) {
			if (!silent)
				ui.showModal('Save error', [ E('p', {}, [ error.message ]), E('div', { 'class': 'right' }, [ E('button', { 'click': () => ui.hideModal() }, [ 'Dismiss' ]) ]) ]);
			throw error;
		}
		await this.load();
		await ui.changes.init();

		return this.draw();
	},

	reset() {
		return this.draw();
	},

	render() {
		return this.load().then(() => this.draw());
	},

	draw() {
		this.root ??= E('div', { 'class': 'cbi-map', 'id': `cbi-${this.config}` });
		dom.bindClassInstance(this.root, this);
		dom.content(this.root, this.children.map(section => section.render()));
		this.root.addEventListener('change', event => this.changed(event));
		this.hideInactive();

		return this.root;
	},

	changed(event) {
		for (const section of this.children)
			for (const name of section.names())
				for (const option of section.children)
					if (option.frame(name)?.contains(event.target)) {
						option.check(name);
						option.onchange?.(event, name);
					}
		this.hideInactive();
	},

	hideInactive() {
		for (const section of this.children)
			for (const name of section.names())
				for (const option of section.children)
					option.frame(name)?.classList.toggle('hidden', !option.isActive(name));
	}
});

return baseclass.extend({
	Map: Map_, NamedSection: NamedSection, TableSection: TableSection,
	Value: Value, ListValue: ListValue, Flag: Flag, DynamicList: DynamicList, DummyValue: DummyValue
});
