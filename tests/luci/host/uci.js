'use strict';
'require baseclass';
'require rpc';

/* LuCI's uci: a copy of the configuration, and what was changed in it until it is saved. */

const calls = {
	get: rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} }, reject: true }),
	set: rpc.declare({ object: 'uci', method: 'set', params: [ 'config', 'section', 'values' ], reject: true }),
	add: rpc.declare({ object: 'uci', method: 'add', params: [ 'config', 'type', 'name', 'values' ], expect: { section: '' }, reject: true }),
	remove: rpc.declare({ object: 'uci', method: 'delete', params: [ 'config', 'section', 'options' ], reject: true }),
	changes: rpc.declare({ object: 'uci', method: 'changes', expect: { changes: {} } })
};

return baseclass.extend({
	__init__() {
		/* By configuration: sections as they are; created, changed (null: removed option) and removed ones. */
		this.configs = {};
		this.fresh = 0;
	},

	load(configs) {
		return Promise.all([ configs ].flat().filter(config => !this.configs[config]).map(config =>
			calls.get(config).then(values => {
				this.configs[config] = { values: values, created: {}, changed: {}, removed: new Set() };

				return config;
			})));
	},

	unload(configs) {
		for (const config of [ configs ].flat())
			delete this.configs[config];
	},

	/* The name of `@type[number]`, too. */
	named(config, section) {
		const place = /^@([^[]+)\[(-?\d+)\]$/.exec(section);

		return place ? this.sections(config, place[1]).at(+place[2])?.['.name'] : section;
	},

	get(config, section, option) {
		const all = this.configs[config];
		if (!all)
			return null;
		const name = this.named(config, section);
		const found = all.created[name] ?? (all.removed.has(name) ? null : all.values[name]);
		if (!found)
			return null;
		const merged = { ...found, ...all.changed[name] };

		return option == null ? merged : merged[option];
	},

	sections(config, type) {
		const all = this.configs[config];
		const names = all ? Object.keys(all.values).filter(name => !all.removed.has(name)).concat(Object.keys(all.created)) : [];

		return names.map(name => this.get(config, name)).filter(section => !type || section['.type'] == type);
	},

	add(config, type, name) {
		const section = name || `new${(++this.fresh).toString().padStart(6, '0')}`;
		this.configs[config].created[section] = { '.type': type, '.name': section, '.create': name };

		return section;
	},

	remove(config, section) {
		const all = this.configs[config];
		if (all.created[section])
			delete all.created[section];
		else if (all.values[section]) {
			delete all.changed[section];
			all.removed.add(section);
		}
	},

	set(config, place, option, value) {
		const all = this.configs[config];
		const section = this.named(config, place);
		const given = value === '' ? null : value;
		if (all.created[section]) {
			if (given == null)
				delete all.created[section][option];
			else
				all.created[section][option] = given;
		}
		else if (all.values[section] && !all.removed.has(section)) {
			if (given == null && !(option in all.values[section]))
				delete all.changed[section]?.[option];
			else
				(all.changed[section] ??= {})[option] = given;
		}
	},

	unset(config, section, option) {
		this.set(config, section, option, null);
	},

	changes() {
		return calls.changes();
	},

	async save() {
		for (const [ config, all ] of Object.entries(this.configs)) {
			for (const section of all.removed)
				await calls.remove(config, section, undefined);
			for (const made of Object.values(all.created)) {
				const values = Object.fromEntries(Object.entries(made).filter(([ name ]) => !name.startsWith('.')));
				await calls.add(config, made['.type'], made['.create'], values);
			}
			for (const [ section, options ] of Object.entries(all.changed)) {
				const gone = Object.keys(options).filter(option => options[option] == null);
				const kept = Object.fromEntries(Object.entries(options).filter(([ , value ]) => value != null));
				if (gone.length)
					await calls.remove(config, section, gone);
				if (Object.keys(kept).length)
					await calls.set(config, section, kept);
			}
		}
		const all = Object.keys(this.configs);
		this.unload(all);

		return this.load(all);
	}
});
