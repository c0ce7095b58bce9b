'use strict';
'require baseclass';
'require tsg.parts as parts';
'require tsg.shape as shape';

/* A table of what may be thousands: a page at a time, of one kind or all, and with the words that somebody looks for. */

const PAGE = 50;
/* As few need no search. */
const FEW = 10;

const List = baseclass.extend({
	/* `kinds`: what a row may be, by its word in the rows. `none`: what stands there when there is nothing at all. */
	__init__(id, headings, kinds, none) {
		this.headings = headings;
		this.none = none;
		this.rows = [];
		this.first = 0;

		const anew = () => {
			this.first = 0;
			this.draw();
		};
		this.kind = E('select', { 'id': id + '-kind', 'class': 'cbi-input-select', 'change': anew }, [ E('option', { 'value': '' }, [ _('everything') ]) ]
			.concat(Object.keys(kinds).map(kind => E('option', { 'value': kind }, [ '' ]))));
		this.name(kinds);
		this.words = E('input', { 'id': id + '-words', 'type': 'text', 'class': 'cbi-input-text', 'input': anew });
		this.back = this.turner('\u00ab', _('Previous page'), -PAGE);
		this.on = this.turner('\u00bb', _('Next page'), PAGE);
		this.place = E('span', { 'class': 'tsg-number', 'role': 'status' }, [ '' ]);
		this.search = E('div', { 'class': 'tsg-row' }, [
			E('label', { 'for': id + '-kind' }, [ _('Show') ]), this.kind,
			E('label', { 'for': id + '-words' }, [ _('with these words') ]), this.words
		]);
		this.pages = E('div', { 'class': 'tsg-row' }, [ this.back, this.place, this.on ]);
		this.table = E('div', {}, []);
		this.node = E('div', { 'id': id }, [ this.search, this.table, this.pages ]);
	},

	/* The same kinds, by other names. */
	name(kinds) {
		for (const option of this.kind.options)
			if (option.value)
				option.textContent = kinds[option.value];
	},

	turner(sign, name, step) {
		return E('button', {
			'class': 'btn cbi-button cbi-button-neutral', 'type': 'button', 'aria-label': name, 'title': name, 'click': () => {
				this.first += step;
				this.draw();
				/* A button that is switched off has no focus. */
				if (step < 0 && this.back.disabled)
					this.on.focus();
				else if (step > 0 && this.on.disabled)
					this.back.focus();
			}
		}, [ sign ]);
	},

	/* `rows`: [{ kind, words, cells }], the cells as a function, as most rows are not shown; `words` are looked through. */
	update(rows) {
		this.rows = rows;
		this.draw();
	},

	draw() {
		const words = this.words.value.trim().toLowerCase();
		const found = this.rows.filter(row => (!this.kind.value || row.kind == this.kind.value) && (!words || row.words.toLowerCase().includes(words)));
		this.first = Math.max(0, Math.min(this.first, Math.ceil(found.length / PAGE - 1) * PAGE));
		const shown = found.slice(this.first, this.first + PAGE);

		this.search.hidden = this.rows.length <= FEW && !words && !this.kind.value;
		this.pages.hidden = found.length <= FEW;
		this.back.hidden = this.on.hidden = found.length <= PAGE;
		this.back.disabled = this.first == 0;
		this.on.disabled = this.first + PAGE >= found.length;
		this.place.firstChild.data = _('%s to %s of %s').format(shape.count(this.first + 1), shape.count(this.first + shown.length), shape.count(found.length));
		parts.show(this.table, [ parts.table(this.headings, shown.map(row => row.cells()), this.rows.length ? _('Nothing of that kind, with these words.') : this.none) ]);
	}
});

return baseclass.extend({
	create(id, headings, kinds, none) {
		return new List(id, headings, kinds, none);
	}
});
