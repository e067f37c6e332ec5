"use strict";
// Follows Airflow's colours, opens what lies outside in a window of its own, shows checks as they run.

function outside() {
  // The window around this frame, when it is of the same origin: Airflow's.
  try { return window.parent !== window && window.parent.document ? window.parent : null; } catch { return null; }
}

function follow(frame) {
  const root = frame.document.documentElement;
  const paint = () => {
    const dark = root.classList.contains("dark") || root.dataset.theme === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  paint();
  new MutationObserver(paint).observe(root, { attributes: true, attributeFilter: ["class", "data-theme"] });
}

function open_outside(frame, event) {
  // Airflow's frame lets nothing open windows, so Airflow's own document follows the link.
  const link = event.target.closest("a[target]");
  if (!link || event.defaultPrevented) return;
  event.preventDefault();
  const copy = frame.document.createElement("a");
  Object.assign(copy, { href: link.href, target: link.target, rel: "noopener" });
  frame.document.body.append(copy);
  copy.click();
  copy.remove();
}

function text(parent, name, words, kind) {
  const element = document.createElement(name);
  element.textContent = words;
  if (kind) element.className = kind;
  parent.append(element);
  return element;
}

function add_finding(list, finding) {
  const item = document.createElement("li");
  text(item, "span", String(finding.check), "check");
  text(item, "span", finding.label, "mark " + finding.label.toLowerCase().replace(" ", "-"));
  let words = " " + finding.sentence;
  if (finding.label === "CLAIMED") words += finding.key ? ` (key ${finding.key.slice(0, 12)})` : " (unsigned)";
  item.append(words);
  if (finding.remedy) text(item, "span", " → " + finding.remedy, "soft");
  list.append(item);
}

function verify(button) {
  const place = document.getElementById("checks");
  place.replaceChildren();
  const list = place.appendChild(document.createElement("ol"));
  const status = text(place, "p", "Looking …", "result");
  status.setAttribute("role", "status");
  button.disabled = true;
  const source = new EventSource(button.dataset.stream);
  const end = (words) => { source.close(); button.disabled = false; status.textContent = words; };
  source.addEventListener("finding", (event) => add_finding(list, JSON.parse(event.data)));
  source.addEventListener("tell", (event) => { status.textContent = JSON.parse(event.data).line + " …"; });
  source.addEventListener("result", (event) => {
    const result = JSON.parse(event.data);
    end(result.sentence);
    for (const reason of result.reasons) text(place, "p", reason, "note");
    if (result.demo_chain) text(place, "p", "Demo chain: proves no time to others.", "note");
  });
  source.addEventListener("problem", (event) => end(JSON.parse(event.data).message));
  source.onerror = () => end("The connection ended before the result: load this page again.");
}

function show_chosen(figure) {
  const chosen = figure?.querySelector(".node.chosen")?.getBoundingClientRect();
  if (!chosen) return;
  const frame = figure.getBoundingClientRect();
  figure.scrollLeft = chosen.left - frame.left - (frame.width - chosen.width) / 2;
  figure.scrollTop = chosen.top - frame.top - (frame.height - chosen.height) / 2;
}

async function fill(section) {
  const answer = await fetch(section.dataset.fill, { headers: { Accept: "text/html" } });
  section.innerHTML = await answer.text();
}

document.addEventListener("DOMContentLoaded", () => {
  const frame = outside();
  if (frame) {
    follow(frame);
    document.addEventListener("click", (event) => open_outside(frame, event));
  }
  for (const button of document.querySelectorAll("button[data-stream]")) {
    button.addEventListener("click", () => verify(button));
    button.hidden = false;
  }
  for (const section of document.querySelectorAll("[data-fill]")) fill(section);
  for (const node of document.querySelectorAll(".graph a[data-id]")) {
    const light = (on) => {
      for (const edge of document.querySelectorAll("path.edge")) {
        if (edge.dataset.from === node.dataset.id || edge.dataset.to === node.dataset.id) edge.classList.toggle("lit", on);
      }
    };
    for (const name of ["mouseenter", "focus"]) node.addEventListener(name, () => light(true));
    for (const name of ["mouseleave", "blur"]) node.addEventListener(name, () => light(false));
  }
  show_chosen(document.querySelector("figure.graph"));
});
