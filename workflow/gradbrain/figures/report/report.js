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
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  document.querySelectorAll(".heat-map").forEach((plot) => Plotly.relayout(plot, { width: PAPER }));
});
addEventListener("afterprint", () => {
  document.querySelectorAll(".heat-map").forEach((plot) => Plotly.relayout(plot, { autosize: true }));
});
