'use strict';
'require baseclass';
'require tsg.shape as shape';

/* A chart of rates that runs along, with the average and the peak of what it shows: one line for each series, its scale fits them. No canvas, no library. */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600, HEIGHT = 160, SAMPLES = 100, SHORTEST = 1;

/* What is counted, how many of it a total has, and what a scale reaches at least: half of that has to be another number as well. */
const UNITS = {
	packets: { each: 1, least: 1, rate: value => shape.rate(value), says: _('packets per second, the last %d minutes') },
	bits: { each: 8, least: 1000, rate: value => shape.bits(value), says: _('bit per second, the last %d minutes') }
};

function svg(name, attributes, children = []) {
	const node = document.createElementNS(SVG, name);
	for (const key in attributes)
		node.setAttribute(key, attributes[key]);
	for (const child of children)
		node.appendChild(child);

	return node;
}

/* The next round number above. */
function above(value) {
	const size = Math.pow(10, Math.floor(Math.log10(Math.max(value, 1))));

	return [ 1, 2, 5, 10 ].map(step => step * size).find(step => step >= value) || 10 * size;
}

const Chart = baseclass.extend({
	/* `unit`: `packets`, or `bits` of totals that are bytes. `series`: [{ key, label, look }], `look` being a class of tsg.css. */
	__init__(id, title, unit, series, interval) {
		this.unit = UNITS[unit];
		this.series = series.map(one => ({ ...one, rates: [], line: svg('polyline', { 'class': 'tsg-line ' + one.look, 'points': '' }) }));
		this.before = null;
		this.marks = [ 1, 0.5 ];
		this.picture = svg('svg', {
			'viewBox': '0 0 %d %d'.format(WIDTH, HEIGHT), 'preserveAspectRatio': 'none', 'class': 'tsg-chart', 'aria-hidden': 'true'
		}, [ 0, 0.5, 1 ].map(part => svg('line', {
			'x1': 0, 'x2': WIDTH, 'y1': HEIGHT * part, 'y2': HEIGHT * part, 'class': 'tsg-grid'
		})).concat(this.series.map(one => one.line)));
		this.labels = this.marks.map(part => E('span', { 'class': 'tsg-mark', 'style': 'top:%d%%'.format(100 * (1 - part)) }, [ '' ]));
		this.now = this.series.map(one => E('span', { 'class': 'tsg-now', 'data-series': one.key }, [ '\u2013' ]));
		this.lately = this.series.map(one => E('small', { 'data-lately': one.key }, [ '' ]));
		this.node = E('figure', { 'class': 'tsg-figure', 'id': id }, [
			E('figcaption', {}, [
				E('strong', {}, [ title ]), ' ',
				E('small', {}, [ this.unit.says.format(SAMPLES * interval / 60) ])
			]),
			E('div', { 'class': 'tsg-plot' }, [ this.picture, ...this.labels ]),
			E('ul', { 'class': 'tsg-legend' }, this.series.map((one, at) => E('li', {}, [
				E('span', { 'class': 'tsg-swatch ' + one.look, 'aria-hidden': 'true' }, []), ' ', one.label, ': ', this.now[at], ' ', this.lately[at]
			])))
		]);
	},

	/* Totals, one for each series, and the time in seconds at which they were read. */
	add(totals, time) {
		const before = this.before;
		/* A rate over less time would be chance. */
		if (before && time - before.time < SHORTEST)
			return;

		this.before = { totals: totals, time: time };
		if (!before)
			return;

		this.series.forEach((one, at) => {
			/* What became less has begun anew. */
			const more = totals[at] - before.totals[at];
			one.rates.push(more >= 0 ? this.unit.each * more / (time - before.time) : 0);
			if (one.rates.length > SAMPLES)
				one.rates.shift();
		});
		this.draw();
	},

	draw() {
		const top = above(Math.max(this.unit.least, ...this.series.map(one => Math.max(0, ...one.rates))));

		this.series.forEach((one, at) => {
			const first = SAMPLES - one.rates.length;
			one.line.setAttribute('points', one.rates.map((rate, index) => '%s,%s'.format(
				((first + index) * WIDTH / (SAMPLES - 1)).toFixed(1), (HEIGHT - 1 - rate / top * (HEIGHT - 2)).toFixed(1))).join(' '));
			this.now[at].firstChild.data = this.unit.rate(one.rates[one.rates.length - 1]);
			this.lately[at].firstChild.data = _('average %s, peak %s').format(
				this.unit.rate(one.rates.reduce((sum, rate) => sum + rate, 0) / one.rates.length), this.unit.rate(Math.max(...one.rates)));
		});
		this.labels.forEach((label, at) => { label.firstChild.data = this.unit.rate(top * this.marks[at]); });
	}
});

return baseclass.extend({
	create(id, title, unit, series, interval) {
		return new Chart(id, title, unit, series, interval);
	}
});
