"use strict";
// Without scripts all tables and figures are there; this makes them sort, filter, zoom and turn.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
// Pixels across a sheet of A4, landscape, inside its margins.
const PAPER = 960;
const SETTINGS = { responsive: true, displaylogo: false, scrollZoom: true };
const LOOKS = { paper_bgcolor: "#fff", plot_bgcolor: "#fff", font: { color: "#222", size: 12 },
                margin: { t: 35, r: 10, b: 60, l: 90 } };

for (const [place, plot] of read("heat-maps").entries()) {
  const id = `heat-map-${place}`;
  const draw = (choice) => Plotly.react(
    id, choice.figure.data, { ...LOOKS, ...choice.figure.layout }, { ...SETTINGS, scrollZoom: false });
  const select = document.querySelector(`select[data-plot="${id}"]`);
  select.addEventListener("change", () => draw(plot.choices[select.selectedIndex]));
  draw(plot.choices[0]);
}

const dialog = document.getElementById("zoom");
document.getElementById("zoom-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => Plotly.purge("zoom-plot"));
for (const button of document.querySelectorAll("button[data-zoom]")) {
  button.addEventListener("click", () => {
    const image = document.querySelector(`#${CSS.escape(button.dataset.zoom)} img`);
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    dialog.showModal();
    document.getElementById("zoom-plot").setAttribute("aria-label", image.alt);
    Plotly.newPlot("zoom-plot", [], {
      ...LOOKS, margin: { t: 5, r: 5, b: 5, l: 5 }, dragmode: "pan",
      xaxis: { visible: false, range: [0, width] },
      yaxis: { visible: false, range: [0, height], scaleanchor: "x" },
      images: [{ source: image.src, xref: "x", yref: "y", x: 0, y: height, sizex: width,
                 sizey: height, sizing: "stretch", layer: "below" }],
    }, SETTINGS);
  });
}

// Behind a figure: its table, of which the reader chooses one panel and points at values.
const tables = read("points-data");
const sheet = document.getElementById("points");
document.getElementById("points-close").addEventListener("click", () => sheet.close());
sheet.addEventListener("close", () => Plotly.purge("points-plot"));
const valuesOf = ({ numbers, codes, levels }, rows) =>
  rows.map((row) => (numbers ? numbers[row] : levels[codes[row]]));
const ownColours = ["#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee", "#ccbb44", "#777777"];
const tracesOf = (table, rows) => {
  const { columns } = table;
  const series = columns[table.series];
  const told = (row) => [...table.text, table.colour].filter(Boolean).map(
    (name) => `${columns[name].label} ${valuesOf(columns[name], [row])[0] ?? "–"}`).join("<br>");
  return (series ? series.levels : [""]).map((level, code) => {
    const own = series ? rows.filter((row) => series.codes[row] === code) : rows;
    const [x, y] = [table.x, table.y].map((name) => valuesOf(columns[name], own));
    const bounds = (name, sign) => valuesOf(columns[name], own).map(
      (bound, n) => (bound === null ? 0 : Math.max(0, sign * (bound - y[n]))));
    const marker = table.colour
      ? { size: 12, color: valuesOf(columns[table.colour], own), colorscale: "Cividis", showscale: true }
      : { size: 8, opacity: 0.8, color: series?.colours?.[code] ?? ownColours[code % ownColours.length] };
    return { type: "scatter", mode: "markers", name: level, x, y, marker, text: own.map(told),
             showlegend: Boolean(series),
             error_y: table.low && table.high ? { type: "data", symmetric: false, thickness: 1, width: 0,
               array: bounds(table.high, 1), arrayminus: bounds(table.low, -1) } : undefined,
             hovertemplate: `${level ? `<b>${level}</b><br>` : ""}${columns[table.x].label} %{x}<br>` +
               `${columns[table.y].label} %{y}<br>%{text}<extra></extra>` };
  }).filter((trace) => trace.x.length);
};
const showPoints = (name, title) => {
  const table = tables[name];
  const rows = [...Array(table.n).keys()];
  const choices = document.getElementById("points-choices");
  const selects = table.panels.map((panel) => {
    const select = Object.assign(document.createElement("select"), { id: `points-${panel}` });
    const label = Object.assign(document.createElement("label"), { textContent: table.columns[panel].label });
    label.append(select);
    return [select, table.columns[panel], label];
  });
  choices.replaceChildren(...selects.map(([, , label]) => label));
  // Each choice offers what is left by those before it.
  const offer = () => {
    let left = rows;
    for (const [select, column] of selects) {
      const before = select.value;
      const levels = [...new Set(left.map((row) => column.codes[row]))].sort((a, b) => a - b);
      select.replaceChildren(...levels.map((code) => new Option(column.levels[code], code)));
      if (levels.map(String).includes(before)) select.value = before;
      left = left.filter((row) => column.codes[row] === Number(select.value));
    }
    document.getElementById("points-said").textContent =
      `${left.length} values${table.average ? ", means over subjects" : ""}; point at one to read it.`;
    const { columns } = table;
    Plotly.react("points-plot", tracesOf(table, left), { ...LOOKS, hovermode: "closest", dragmode: "pan",
      margin: { t: 20, r: 10, b: 80, l: 80 }, legend: { orientation: "h", y: 1.12 },
      xaxis: { title: { text: columns[table.x].label }, type: columns[table.x].numbers ? "linear" : "category" },
      yaxis: { title: { text: columns[table.y].label } } }, SETTINGS);
  };
  selects.forEach(([select]) => select.addEventListener("change", offer));
  sheet.setAttribute("aria-label", `Values: ${title}`);
  document.getElementById("points-plot").setAttribute("aria-label", `Values: ${title}`);
  sheet.showModal();
  offer();
};
for (const button of document.querySelectorAll("button[data-points]")) {
  button.addEventListener("click", () => showPoints(
    button.dataset.points, button.closest("figure").querySelector("h3").textContent));
}

const surface = read("surface-data");
if (surface) {
  const chosen = (id) => document.getElementById(id);
  const [sets, signals, layers] = ["set", "signal", "layer"].map((name) => chosen(`surface-${name}`));
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const fill = (select, names) => {
    const before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) select.value = before;
  };
  const meshes = Object.fromEntries(Object.entries(surface.mesh).map(([side, mesh]) => [side, {
    ...Object.fromEntries(["x", "y", "z"].map((name) => [name, new Float32Array(bytes(mesh[name]))])),
    ...Object.fromEntries(["i", "j", "k"].map((name) => [name, new Uint16Array(bytes(mesh[name]))])),
  }]));
  // Below zero or unknown is grey; the rest is Viridis, from zero to the highest.
  const viridis = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];
  const colours = [[0, "#c4c4c4"], [0.09, "#c4c4c4"],
                   ...viridis.map((colour, n) => [0.1 + 0.9 * n / 5, colour])];
  const maps = () => surface.sets[sets.selectedIndex].maps;
  const draw = () => {
    const set = surface.sets[sets.selectedIndex];
    const map = maps().find((one) => one.label === signals.value && one.layer === layers.value);
    let [shown, highest] = [0, -Infinity];
    const traces = Object.entries(meshes).map(([side, mesh]) => {
      const vertices = new Uint16Array(bytes(set.vertices[side]));
      const steps = new Int16Array(bytes(map.values[side]));
      const intensity = new Float32Array(mesh.x.length).fill(-map.high / 9);
      const text = new Array(mesh.x.length).fill("no score");
      vertices.forEach((vertex, n) => {
        if (steps[n] === surface.unknown) return;
        const value = steps[n] * surface.step;
        [shown, highest] = [shown + 1, Math.max(highest, value)];
        text[vertex] = `${side}, vertex ${vertex}<br>${map.measure} ${value.toFixed(4)}`;
        if (value > 0) intensity[vertex] = value;
      });
      return { type: "mesh3d", ...mesh, intensity, text, hoverinfo: "text", colorscale: colours,
               cmin: -map.high / 9, cmax: map.high, showscale: side === "right",
               colorbar: { title: { text: map.measure }, thickness: 12, len: 0.8,
                           tickvals: [0, map.high / 2, map.high] },
               lighting: { ambient: 0.75, diffuse: 0.4, specular: 0.1 } };
    });
    const bare = { visible: false };
    Plotly.react("surface-plot", traces, {
      ...LOOKS, margin: { t: 0, r: 0, b: 0, l: 0 }, height: 420, uirevision: "same",
      scene: { xaxis: bare, yaxis: bare, zaxis: bare, aspectmode: "data",
               camera: { eye: { x: 0, y: -1.6, z: -0.7 } } },
    }, SETTINGS);
    chosen("surface-said").textContent = `${map.label}, ${map.layer}: ${shown} vertices with a ` +
      `score, the highest ${map.measure} ${highest.toFixed(3)}.`;
  };
  const offer = () => {
    fill(signals, [...new Set(maps().map((one) => one.label))]);
    fill(layers, [...new Set(maps().map((one) => one.layer))]);
    draw();
  };
  sets.addEventListener("change", offer);
  signals.addEventListener("change", draw);
  layers.addEventListener("change", draw);
  offer();
}

const code = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
import(URL.createObjectURL(code)).then(({ default: DataTable }) => {
  const tables = [...document.querySelectorAll("table.sortable")].map((table) => new DataTable(table, {
    paging: false, autoWidth: false, order: [],
    layout: { topStart: "search", topEnd: { buttons: [
      { extend: "csv", text: "Save rows (CSV)", filename: table.dataset.name }] },
      bottomStart: "info", bottomEnd: null },
    language: { search: "Filter" },
  }));
  // On paper every row is there, whatever is filtered on the screen.
  addEventListener("beforeprint", () => tables.forEach((table) => table.search("").draw()));
  document.documentElement.dataset.ready = "yes";
});
// On paper nobody can choose: heat maps of all signals stand below one another.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  for (const [place, plot] of read("heat-maps").entries()) {
    const chosen = document.getElementById(`heat-map-${place}`);
    const printed = plot.choices.map((choice) => {
      const sheet = Object.assign(document.createElement("div"), { className: "plot printed" });
      chosen.parentNode.insertBefore(sheet, chosen);
      Plotly.newPlot(sheet, choice.figure.data, { ...LOOKS, ...choice.figure.layout, width: PAPER,
        title: { text: choice.label, font: { size: 13 } } }, { staticPlot: true });
      return sheet;
    });
    if (printed.length) chosen.classList.add("on-screen");
  }
});
addEventListener("afterprint", () => {
  document.querySelectorAll(".printed").forEach((one) => { Plotly.purge(one); one.remove(); });
  document.querySelectorAll(".heat-map").forEach((one) => one.classList.remove("on-screen"));
});
