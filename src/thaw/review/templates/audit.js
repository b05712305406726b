"use strict";
const audit = JSON.parse(document.getElementById("audit-data").textContent);
const bar = document.getElementById("audit-filter");
const place = document.getElementById("findings");
const further = document.getElementById("audit-more");
const output = document.getElementById("corrections");
const said = document.getElementById("corrections-said");
const MANY = 24;

// Decisions, by path: [label or drop, why, who]; kept where the browser allows it.
const KEY = `thaw-corrections-${audit.split}`;
const decided = new Map();
try {
  for (const [path, ...rest] of JSON.parse(localStorage.getItem(KEY) || "[]")) decided.set(path, rest);
} catch { /* a file may have no storage */ }
const before = new Map(audit.made.map(([path, ...rest]) => [path, rest]));
let chosen = [];
let drawn = 0;

function keep() {
  try { localStorage.setItem(KEY, JSON.stringify([...decided].map(([path, rest]) => [path, ...rest]))); } catch { /* likewise */ }
}

const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function write() {
  const all = new Map([...before, ...decided]);
  const lines = [audit.columns, ...[...all].map(([path, rest]) => [path, ...rest])];
  output.value = lines.map((cells) => cells.map(cell).join(",")).join("\n") + "\n";
  said.textContent = decided.size ? `${decided.size} decided here` : "";
}

function pick() {
  const wanted = Object.fromEntries(new FormData(bar));
  const all = audit.findings.filter((each) => each.kind === wanted.kind);
  chosen = all.filter((each) => !wanted.done || decided.has(each.path) === (wanted.done === "yes"));
  const count = bar.elements.kind.selectedOptions[0].dataset.count;
  const worst = all.length < Number(count) ? `The worst ${all.length} are here; all are in audit/findings.csv. ` : "";
  document.getElementById("audit-count").textContent = `${worst}${chosen.length} shown, the worst first.`;
  place.replaceChildren();
  drawn = 0;
  draw();
}

function draw() {
  const first = drawn;
  for (const each of chosen.slice(drawn, drawn + MANY)) { place.append(found(each)); drawn += 1; }
  further.hidden = drawn >= chosen.length;
  further.textContent = `Show ${Math.min(MANY, chosen.length - drawn)} more`;
  return place.children[first];
}

function make(name, text, parent) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  parent?.append(element);
  return element;
}

function image(source, alt, parent) {
  const element = make("img", "", parent);
  element.src = source;
  element.alt = alt;
  element.decoding = "async";
  return element;
}

function found(each) {
  const item = make("li");
  const shows = make("div", "", item);
  shows.className = "shows";
  image(each.picture, `Picture ${each.path}`, shows);
  const about = make("div", "", shows);
  make("strong", `is ${each.label}`, about);
  if (each.suggested) make("div", `looks ${each.suggested}`, about);
  if (each.says && each.share !== null) make("div", `model: ${each.says} ${(100 * each.share).toFixed(1)}%`, about);
  if (each.note) make("div", each.note, about);
  make("small", each.path, about);
  if (each.near.length) {
    const near = make("ul", "", item);
    near.className = "near";
    near.setAttribute("aria-label", "Nearest pictures");
    for (const other of each.near) {
      const one = make("li", "", near);
      if (other.label !== each.label) one.className = "other";
      image(other.picture, `${other.path}, ${other.label}`, one).title = `${other.path}: ${other.label}`;
    }
  }
  const choose = make("div", "", item);
  choose.className = "choose";
  const buttons = [];
  const show = () => {
    const now = decided.get(each.path)?.[0];
    item.classList.toggle("decided", now !== undefined);
    for (const [element, label] of buttons) {
      if (element.tagName === "SELECT") element.value = now !== undefined && [...element.options].some((o) => o.value === now) ? now : "";
      else element.setAttribute("aria-pressed", String(now === label));
    }
  };
  const decide = (label) => {
    const reason = bar.elements.reason.value.trim() || "seen in the audit";
    if (!label || decided.get(each.path)?.[0] === label) decided.delete(each.path);
    else decided.set(each.path, [label, reason, bar.elements.who.value.trim()]);
    keep();
    write();
    show();
  };
  const button = (text, label) => {
    const element = make("button", text, choose);
    element.type = "button";
    element.addEventListener("click", () => decide(label));
    buttons.push([element, label]);
  };
  button(`${each.label} is right`, each.label);
  const others = audit.classes.filter((name) => name !== each.label);
  if (others.length < audit.buttons) for (const name of others) button(`is ${name}`, name);
  else {
    const select = make("select", "", choose);
    select.setAttribute("aria-label", "is another class");
    make("option", "is …", select).value = "";
    for (const name of others) make("option", name, select).value = name;
    select.addEventListener("change", () => decide(select.value));
    buttons.push([select, ""]);
  }
  button("drop", audit.drop);
  show();
  return item;
}

if (bar) {
  for (const name of ["kind", "done"]) bar.elements[name].addEventListener("change", pick);
  bar.addEventListener("submit", (event) => event.preventDefault());
  further.addEventListener("click", () => draw()?.querySelector("button").focus());
  document.getElementById("corrections-copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(output.value);
    } catch { // a page from the disk may not: the old way
      output.select();
      document.execCommand("copy");
    }
    said.textContent = "copied";
  });
  document.getElementById("corrections-download").addEventListener("click", () => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([output.value], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  document.getElementById("corrections-clear").addEventListener("click", () => {
    decided.clear();
    keep();
    write();
    pick();
  });
  write();
  pick();
}
