"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const percent = (share) => `${(100 * share).toFixed(1)}%`;

// Theme: as the system has it, unless chosen; kept where the browser allows it.
const themes = ["system", "light", "dark"];
const themeButton = document.getElementById("theme");
let theme = "system";
try { theme = localStorage.getItem("thaw-theme") || theme; } catch { /* a file may have no storage */ }

function showTheme() {
  if (theme === "system") root.removeAttribute("data-theme");
  else root.dataset.theme = theme;
  themeButton.textContent = `Theme: ${theme}`;
  return drawCharts();
}

themeButton.addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  try { localStorage.setItem("thaw-theme", theme); } catch { /* likewise */ }
  showTheme();
});
dark.addEventListener("change", showTheme);

// Charts
async function drawCharts() {
  const colours = getComputedStyle(root);
  const [ink, line, blue, vermilion] = ["--ink", "--line", "--blue", "--vermilion"].map((name) => colours.getPropertyValue(name).trim());
  const axis = { labelFontSize: 12, titleFontSize: 12, labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line };
  const config = {
    background: "transparent", axis, view: { stroke: line }, legend: { labelFontSize: 13, labelColor: ink, titleColor: ink },
    range: { category: [blue, vermilion] }, rule: { color: ink }, text: { color: ink }, font: "system-ui, sans-serif",
  };
  await Promise.all(data.charts.map(async (spec, place) => {
    const element = document.getElementById(`chart-${place}`);
    await vegaEmbed(element, spec, { config, renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } });
    element.dataset.drawn = theme;
  }));
}

// Gallery
const form = document.getElementById("filters");
const list = document.getElementById("pictures");
const more = document.getElementById("more");
const STEP = 60;
let found = [];
let shown = 0;
const pictures = data.pictures.map((row) => ({
  ...row,
  text: [row.path, data.classes[row.label], row.subgroup].join(" ").toLowerCase(),
}));

const ORDERS = {
  worst: (m) => (a, b) => mistake(b, m) - mistake(a, m) || b.shares[m][b.predicted[m]] - a.shares[m][a.predicted[m]],
  unsure: (m) => (a, b) => a.shares[m][a.predicted[m]] - b.shares[m][b.predicted[m]],
  sure: (m) => (a, b) => b.shares[m][b.predicted[m]] - a.shares[m][a.predicted[m]],
  path: () => () => 0,
};
const mistake = (row, m) => Number(row.predicted[m] !== row.label);

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const m = Number(wanted.model);
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  found = pictures.filter((row) =>
    words.every((word) => row.text.includes(word) || data.classes[row.predicted[m]].toLowerCase().includes(word)) &&
    (wanted.actual === "" || row.label === Number(wanted.actual)) &&
    (wanted.predicted === "" || row.predicted[m] === Number(wanted.predicted)) &&
    (!wanted.spot || row.spots.includes(Number(wanted.spot))) &&
    (!wanted.subgroup || row.subgroup === wanted.subgroup) &&
    (wanted.kind !== "wrong" || mistake(row, m)) &&
    (wanted.kind !== "right" || !mistake(row, m)) &&
    (wanted.kind !== "apart" || new Set(row.predicted).size > 1) &&
    (wanted.kind !== "doubt" || row.doubts[m]) &&
    (wanted.kind !== "heat" || row.heat));
  found.sort(ORDERS[wanted.order](m));
  const wrong = found.filter((row) => mistake(row, m)).length;
  document.getElementById("count").textContent =
    `${found.length} of ${pictures.length} pictures, ${wrong} of them ${wrong === 1 ? "a mistake" : "mistakes"}${data.models.length > 1 ? ` of the ${data.models[m]} model` : ""}.`;
  list.replaceChildren();
  shown = 0;
  showMore();
}

function showMore() {
  const m = Number(form.elements.model.value);
  const first = shown;
  for (const row of found.slice(shown, shown + STEP)) list.append(card(row, m, shown++));
  more.hidden = shown >= found.length;
  more.textContent = `Show ${Math.min(STEP, found.length - shown)} more`;
  return list.children[first];
}

function card(row, m, place) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const image = document.createElement("img");
  const says = document.createElement("strong");
  const note = document.createElement("small");
  const wrong = row.predicted[m] !== row.label;
  image.src = row.picture;
  image.alt = "";
  image.decoding = "async";
  button.type = "button";
  button.className = wrong ? "wrong" : "right";
  says.textContent = `${wrong ? "✗" : "✓"} ${data.classes[row.predicted[m]]} ${percent(row.shares[m][row.predicted[m]])}`;
  note.textContent = (wrong ? `is ${data.classes[row.label]}` : "right") + (row.doubts[m] ? " · in doubt" : "") + (row.heat ? " · heat map" : "");
  button.title = row.path;
  button.append(image, says, note);
  button.addEventListener("click", () => view(place));
  item.append(button);
  return item;
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
more.addEventListener("click", () => showMore()?.firstChild.focus());

for (const button of document.querySelectorAll(".confusion button, .confused button")) {
  button.addEventListener("click", () => {
    form.reset();
    for (const name of ["model", "actual", "predicted"]) form.elements[name].value = button.dataset[name];
    filter();
    document.getElementById("gallery").scrollIntoView();
    list.querySelector("button")?.focus({ preventScroll: true });
  });
}

// One picture, large
const viewer = document.getElementById("viewer");
let at = 0;

function view(place) {
  at = (place + found.length) % found.length;
  const row = found[at];
  const heat = document.getElementById("viewer-heat");
  document.getElementById("viewer-h").textContent = `${row.path}: is ${data.classes[row.label]}` + (row.subgroup ? `, ${row.subgroup}` : "");
  document.getElementById("viewer-doubt").textContent = data.models
    .flatMap((name, m) => row.doubts[m] ? [`In doubt${data.models.length > 1 ? `, ${name}` : ""}: ${row.doubts[m]}.`] : []).join(" ");
  document.getElementById("viewer-picture").src = row.large || row.picture;
  document.getElementById("viewer-picture").alt = `Test picture ${row.path}`;
  heat.hidden = !row.heat;
  if (row.heat) {
    heat.querySelector("img").src = row.heat;
    heat.querySelector("img").alt = "The same picture, coloured where the network looked";
    heat.querySelector("figcaption").textContent = `what spoke for “${data.classes[row.heat_of]}”`;
  }
  const order = data.classes.map((_, k) => k).sort((a, b) => row.shares.at(-1)[b] - row.shares.at(-1)[a]).slice(0, 5).sort((a, b) => a - b);
  viewer.querySelector("tbody").replaceChildren(...order.map((k) => {
    const line = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = data.classes[k] + (k === row.label ? " (right)" : "");
    line.append(name, ...row.shares.map((shares) => {
      const cell = document.createElement("td");
      cell.textContent = percent(shares[k]);
      return cell;
    }));
    return line;
  }));
  if (!viewer.open) viewer.showModal();
}

function step(by) {
  view(at + by);
  while (at >= shown) showMore();
}

viewer.addEventListener("click", (event) => {
  if (event.target === viewer || event.target.hasAttribute("data-close")) viewer.close();
  else if (event.target.dataset.step) step(Number(event.target.dataset.step));
});
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    event.preventDefault();
    step(event.key === "ArrowRight" ? 1 : -1);
  }
});
viewer.addEventListener("close", () => list.children[at]?.firstChild.focus());

filter();
showTheme();
