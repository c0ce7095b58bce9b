// Renews what is on the page when the server says that something changed, and helps with rules. Every page works
// without this.
"use strict";

function renew() {
	if (document.hidden)
		return;
	fetch(location.href, { headers: { "x-tsg-live": "1" }, credentials: "same-origin" }).then(answer => {
		if (answer.status === 401)
			location.reload();
		return answer.ok ? answer.text() : null;
	}).then(text => {
		if (text === null)
			return;
		const fresh = new DOMParser().parseFromString(text, "text/html");
		for (const part of document.querySelectorAll("[data-live]")) {
			const other = fresh.getElementById(part.id);
			// What somebody is typing into, or has opened, stays.
			const busy = part.contains(document.activeElement) && document.activeElement !== document.body;
			if (!other || busy || part.querySelector("details[open]") || part.innerHTML === other.innerHTML)
				continue;
			part.innerHTML = other.innerHTML;
		}
	}).catch(() => { /* The next event tries again. */ });
}

// A browser opens six connections to a server: a page that nobody looks at holds none.
let events = null;

function listen() {
	if (events)
		events.close();
	events = document.hidden ? null : new EventSource("/live");
	if (!events)
		return;
	const own = events;
	own.addEventListener("change", renew);
	own.addEventListener("error", () => {
		if (own.readyState === EventSource.CLOSED)
			setTimeout(again, 2000);
	});
}

function again() {
	fetch("/live", { method: "HEAD", headers: { "x-tsg-live": "1" } })
		.then(answer => answer.status === 401 ? location.reload() : listen(), () => setTimeout(again, 5000));
}

document.addEventListener("visibilitychange", () => {
	if (document.querySelector("[data-live]")) {
		listen();
		renew();
	}
});

// What cannot be taken back is asked for once more.
document.addEventListener("submit", event => {
	const question = event.submitter && event.submitter.dataset.confirm || event.target.dataset.confirm;
	if (question && !confirm(question))
		event.preventDefault();
});

function rules(table) {
	const body = table.tBodies[0];
	let dragged = null, waiting = null;

	function check() {
		clearTimeout(waiting);
		waiting = setTimeout(() => {
			const form = table.closest("form");
			const data = new URLSearchParams(new FormData(form));
			fetch(form.dataset.check, { method: "POST", body: data })
				.then(answer => answer.ok && !answer.redirected ? answer.json() : null)
				.then(wrong => wrong && show(wrong));
		}, 300);
	}

	function show(wrong) {
		[...body.rows].forEach((row, at) => {
			const text = wrong[at] || "";
			const place = row.querySelector(".wrong");
			place.textContent = text;
			row.querySelectorAll("input").forEach(input => input.toggleAttribute("aria-describedby", false));
			row.classList.toggle("invalid", text !== "");
		});
	}

	body.addEventListener("pointerdown", event => {
		const grip = event.target.closest(".grip");
		if (!grip)
			return;
		dragged = grip.closest("tr");
		dragged.classList.add("dragged");
		body.setPointerCapture(event.pointerId);
		event.preventDefault();
	});
	body.addEventListener("pointermove", event => {
		if (!dragged)
			return;
		const over = document.elementFromPoint(event.clientX, event.clientY);
		const row = over && over.closest("tr");
		if (!row || row === dragged || row.parentNode !== body)
			return;
		const box = row.getBoundingClientRect();
		body.insertBefore(dragged, event.clientY < box.top + box.height / 2 ? row : row.nextSibling);
	});
	for (const end of ["pointerup", "pointercancel"])
		body.addEventListener(end, () => {
			if (dragged)
				dragged.classList.remove("dragged");
			dragged = null;
			check();
		});
	body.addEventListener("click", event => {
		const button = event.target.closest("button[data-move]");
		if (!button)
			return;
		event.preventDefault();
		const row = button.closest("tr");
		if (button.dataset.move === "up" && row.previousElementSibling)
			body.insertBefore(row, row.previousElementSibling);
		if (button.dataset.move === "down" && row.nextElementSibling)
			body.insertBefore(row.nextElementSibling, row);
		if (button.dataset.move === "away") {
			(row.nextElementSibling || row.previousElementSibling || table).querySelector("input, select")?.focus();
			row.remove();
		} else
			button.focus();
		check();
	});
	table.addEventListener("input", check);
}

if (document.querySelector("[data-live]"))
	listen();
document.querySelectorAll("table.rules").forEach(rules);
