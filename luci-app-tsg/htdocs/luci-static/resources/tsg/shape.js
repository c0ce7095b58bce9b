'use strict';
'require baseclass';

/*
 * What came over the network becomes text and numbers that are safe to show: names, alarms and rules are chosen by
 * people and machines elsewhere. The texts still go into text nodes only; see parts.js.
 */

const LONGEST = 400;

/* Control characters, and those that turn the direction of what follows or cannot be seen. */
const INVISIBLE = new RegExp('[\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]', 'g');

function visible(character) {
	const code = character.charCodeAt(0).toString(16).toUpperCase();

	return '\u27e8' + 'U+' + code.padStart(4, '0') + '\u27e9';
}

/* What stands before the decimals in LuCI's language, which may have a name that browsers do not know. */
function point() {
	try {
		return (0.5).toLocaleString(document.documentElement.lang.replace(/_/g, '-')).charAt(1);
	}
	catch (error) {
		return '.';
	}
}

const POINT = point();

function decimals(text) {
	return text.replace('.', POINT);
}

function round(value, digits) {
	return decimals(value.toFixed(value < 10 ? digits : 0));
}

function grouped(whole) {
	return String(whole).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

return baseclass.extend({
	/* One line of text, cut where it is too long to be meant. */
	text(value, longest) {
		if (value == null)
			return '';

		let text = typeof(value) == 'object' ? JSON.stringify(value) : String(value);
		const most = longest || LONGEST;
		if (text.length > most)
			text = text.slice(0, most) + '\u2026';

		return text.replace(/[\r\n\t]+/g, ' ').replace(INVISIBLE, visible);
	},

	list(value) {
		return Array.isArray(value) ? value : [];
	},

	object(value) {
		return value != null && typeof(value) == 'object' && !Array.isArray(value) ? value : {};
	},

	/* What stands in a table under that name, if anything does. */
	among(table, name) {
		return typeof(name) == 'string' && Object.prototype.hasOwnProperty.call(table, name) ? table[name] : null;
	},

	/* null where there is no number. */
	number(value) {
		const number = typeof(value) == 'string' && value !== '' ? Number(value) : value;

		return typeof(number) == 'number' && isFinite(number) ? Math.max(0, number) : null;
	},

	/* A count with thin spaces; very large ones with a unit. */
	count(value) {
		const number = this.number(value);
		if (number == null)
			return '\u2013';
		if (number >= 1e18)
			return decimals(number.toExponential(2)).replace(/e\+?/, ' \u00b7 10^');
		if (number >= 1e15)
			return round(number / 1e15, 1) + ' P';
		if (number >= 1e12)
			return round(number / 1e12, 1) + ' T';

		return grouped(Math.round(number));
	},

	/* Packets per second. */
	rate(value) {
		const number = this.number(value) || 0;
		if (number >= 1e6)
			return round(number / 1e6, 1) + '\u202fM/s';
		if (number >= 1e4)
			return round(number / 1e3, 1) + '\u202fk/s';

		return (number < 10 && number % 1 ? round(number, 1) : grouped(Math.round(number))) + '/s';
	},

	/* Bits per second; as with network cards, a Mbit has a million. */
	bits(value) {
		const number = this.number(value) || 0;
		const [ size, unit ] = [ [ 1e9, 'Gbit/s' ], [ 1e6, 'Mbit/s' ], [ 1e3, 'kbit/s' ] ].find(([ least ]) => number >= least) || [ 1, 'bit/s' ];

		return (size == 1 ? String(Math.round(number)) : round(number / size, 1)) + '\u202f' + unit;
	},

	duration(value) {
		const seconds = this.number(value);
		if (seconds == null)
			return '\u2013';
		if (seconds < 120)
			return _('%d s').format(seconds);
		if (seconds < 2 * 3600)
			return _('%d min').format(seconds / 60);
		if (seconds < 48 * 3600)
			return _('%d h %d min').format(seconds / 3600, seconds / 60 % 60);
		if (seconds < 1e9)
			return _('%d d %d h').format(seconds / 86400, seconds / 3600 % 24);

		return _('more than 30 years');
	},

	/* As on a clock, for what counts down. */
	clock(value) {
		const seconds = Math.floor(this.number(value) || 0);
		const two = number => String(number).padStart(2, '0');
		const tail = two(Math.floor(seconds / 60) % 60) + ':' + two(seconds % 60);

		return seconds < 3600 ? tail : Math.floor(seconds / 3600) + ':' + tail;
	}
});
