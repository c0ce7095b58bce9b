'use strict';
'require baseclass';
'require tsg.shape as shape';

/* A chart of rates that runs along: one line for each series, its scale fits them. No canvas, no library. */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600, HEIGHT = 160, SAMPLES = 100, SHORTEST = 1;

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
	/* `series`: [{ label, look }], `look` being a class of tsg.css. */
	__init__(id, title, series, interval) {
		this.title = title;
		this.series = series.map(one => ({ ...one, rates: [], line: svg('polyline', { 'class': 'tsg-line ' + one.look, 'points': '' }) }));
		this.before = null;
		this.marks = [ 1, 0.5 ];
		this.picture = svg('svg', {
			'viewBox': '0 0 %d %d'.format(WIDTH, HEIGHT), 'preserveAspectRatio': 'none', 'class': 'tsg-chart', 'aria-hidden': 'true'
		}, [ 0, 0.5, 1 ].map(part => svg('line', {
			'x1': 0, 'x2': WIDTH, 'y1': HEIGHT * part, 'y2': HEIGHT * part, 'class': 'tsg-grid'
		})).concat(this.series.map(one => one.line)));
		this.labels = this.marks.map(part => E('span', { 'class': 'tsg-mark', 'style': 'top:%d%%'.format(100 * (1 - part)) }, [ '' ]));
		this.legend = this.series.map(one => E('span', { 'class': 'tsg-now', 'data-series': one.key }, [ '\u2013' ]));
		this.node = E('figure', { 'class': 'tsg-figure', 'id': id }, [
			E('figcaption', {}, [
				E('strong', {}, [ title ]), ' ',
				E('small', {}, [ _('packets per second, the last %d minutes').format(SAMPLES * interval / 60) ])
			]),
			E('div', { 'class': 'tsg-plot' }, [ this.picture, ...this.labels ]),
			E('ul', { 'class': 'tsg-legend' }, this.series.map((one, at) => E('li', {}, [
				E('span', { 'class': 'tsg-swatch ' + one.look, 'aria-hidden': 'true' }, []), ' ', one.label, ': ', this.legend[at]
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
			one.rates.push(more >= 0 ? more / (time - before.time) : 0);
			if (one.rates.length > SAMPLES)
				one.rates.shift();
		});
		this.draw();
	},

	draw() {
		const top = above(Math.max(1, ...this.series.map(one => Math.max(0, ...one.rates))));

		this.series.forEach((one, at) => {
			const first = SAMPLES - one.rates.length;
			one.line.setAttribute('points', one.rates.map((rate, index) => '%s,%s'.format(
				((first + index) * WIDTH / (SAMPLES - 1)).toFixed(1), (HEIGHT - 1 - rate / top * (HEIGHT - 2)).toFixed(1))).join(' '));
			this.legend[at].firstChild.data = shape.rate(one.rates[one.rates.length - 1]);
		});
		this.labels.forEach((label, at) => { label.firstChild.data = shape.rate(top * this.marks[at]); });
	}
});

return baseclass.extend({
	create(id, title, series, interval) {
		return new Chart(id, title, series, interval);
	}
});
