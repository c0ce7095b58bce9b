'use strict';
'require baseclass';
'require uci';

/*
 * Puts what the daemon's `setup` proposes into LuCI's staged changes. Nothing is applied: LuCI does that, and takes
 * it back if nobody can reach the box any more. What has an unexpected form is refused as a whole.
 */

const CONFIGS = [ 'network', 'tsg' ];
const SECTION = /^(@[A-Za-z0-9_-]{1,32}\[-?\d{1,3}\]|[A-Za-z0-9_]{1,64})$/;
const OPTION = /^[A-Za-z0-9_]{1,64}$/;
const VALUE = /^[ -~]{1,256}$/;
const MOST = 500;

/* With how many words each may stand. */
const FORMS = { set: [ 4, 5 ], add_list: [ 5 ], del_list: [ 5 ], 'delete': [ 3, 4 ] };

function isChange(change) {
	if (!Array.isArray(change) || !change.every(word => typeof(word) == 'string'))
		return false;

	const [ verb, config, section, option, value ] = change;
	const lengths = Object.prototype.hasOwnProperty.call(FORMS, verb) ? FORMS[verb] : [];

	return lengths.includes(change.length) && CONFIGS.includes(config) && SECTION.test(section) &&
		(option == null || OPTION.test(option)) && (value == null || VALUE.test(value));
}

/* A section stays what it is, unless it is removed before. */
function otherType([ verb, config, section, type, value ], changes) {
	const there = verb == 'set' && value == null ? uci.get(config, section) : null;

	return there != null && there['.type'] != type &&
		!changes.some(change => change.length == 3 && change[1] == config && change[2] == section);
}

function words(value) {
	return value == null ? [] : Array.isArray(value) ? value : String(value).split(/\s+/).filter(word => word);
}

return baseclass.extend({
	/* null if they can be staged, else what is wrong. Both configurations are loaded. */
	wrong(changes) {
		if (!Array.isArray(changes) || changes.length > MOST)
			return _('The gateway proposed changes in a form that this page does not understand.');

		const bad = changes.find(change => !isChange(change) || otherType(change, changes));

		return bad === undefined ? null : _('The gateway proposed a change that this page does not understand: %s').format(JSON.stringify(bad).slice(0, 200));
	},

	/* As one would type it. */
	line([ verb, config, section, option, value ]) {
		const place = [ config, section ].concat(option != null && (value != null || verb == 'delete') ? [ option ] : []).join('.');
		const given = value != null ? value : verb == 'set' ? option : null;

		return 'uci ' + verb + ' ' + place + (given != null ? "='" + given.replace(/'/g, "'\\''") + "'" : '');
	},

	stage(changes) {
		for (const change of changes)
			this.one(...change);
	},

	one(verb, config, section, option, value) {
		if (verb == 'set' && value == null) {
			if (!uci.get(config, section))
				uci.add(config, option, section);
		}
		else if (verb == 'set')
			uci.set(config, section, option, value);
		else if (verb == 'delete' && option == null)
			uci.remove(config, section);
		else if (verb == 'delete')
			uci.unset(config, section, option);
		else {
			const others = words(uci.get(config, section, option)).filter(word => word != value);

			uci.set(config, section, option, verb == 'add_list' ? others.concat(value) : others.length ? others : null);
		}
	}
});
