"use strict";
// What moves in a report: plots are drawn, tables are sorted and filtered. Without scripts, the tables are still there.
(() => {
  const element = document.getElementById("plots");
  const specifications = element ? JSON.parse(element.textContent) : {};
  const options = {
    ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: {disableDefaultStyle: true},
  };
  const views = new Map();
  const trials = new Map(); // of each trial, its row and its shapes in the plots

  // -- trials ---------------------------------------------------------------------------------------------------------

  function ofTrial(trial) {
    if (!trials.has(trial)) trials.set(trial, []);
    return trials.get(trial);
  }

  function addShapes(place) {
    for (const shape of place.querySelectorAll(".mark-line path, .mark-symbol path")) {
      const trial = trialOf(shape);
      if (trial !== undefined) ofTrial(trial).push(shape);
    }
  }

  // Vega keeps with each shape what it was drawn from.
  function trialOf(shape) {
    const trial = shape.__data__?.datum?.trial;
    return trial === undefined ? undefined : String(trial);
  }

  function pointAt(trial) {
    for (const shape of document.querySelectorAll(".pointed")) shape.classList.remove("pointed");
    document.body.classList.toggle("pointing", trials.has(trial));
    for (const shape of trials.get(trial) ?? []) shape.classList.add("pointed");
  }

  function leave(kept) {
    for (const [trial, shapes] of trials) {
      for (const shape of shapes) shape.classList.toggle("out", kept !== null && !kept.has(trial));
    }
  }

  // -- tables ---------------------------------------------------------------------------------------------------------

  const OPERATORS = {
    "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "!=": (a, b) => a !== b,
    "<": (a, b) => a < b, ">": (a, b) => a > b, "=": (a, b) => a === b,
  };

  function text(cell) {
    return cell.textContent.toLowerCase();
  }

  function value(cell) {
    const written = cell.dataset.sort ?? cell.textContent;
    return written.trim() === "" ? NaN : Number(written);
  }

  // Whether a name means a column: each may be the end of the other, as in training.learning_rate.
  function isNameOf(name, title) {
    return name === title || title.endsWith("." + name) || name.endsWith("." + title);
  }

  // A word of the filter: NAME<VALUE compares a column, any other is looked for in the row.
  function condition(word, titles) {
    const parts = /^(.+?)(<=|>=|!=|<|>|=)(.+)$/.exec(word);
    const column = parts ? titles.findIndex((title) => isNameOf(parts[1], title)) : -1;
    if (column < 0) return (row) => row.words.includes(word);
    const [, , operator, wanted] = parts;
    const number = Number(wanted);
    if (!Number.isNaN(number)) {
      return (row) => !Number.isNaN(row.values[column]) && OPERATORS[operator](row.values[column], number);
    }
    if (operator === "!=") return (row) => !row.texts[column].includes(wanted);
    return (row) => operator === "=" && row.texts[column].includes(wanted);
  }

  function makeInteractive(table) {
    const heads = [...table.tHead.rows[0].cells];
    const titles = heads.map(text);
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => {
      const cells = [...row.cells];
      const texts = cells.map(text);
      return {row, place, texts, values: cells.map(value), words: texts.join(" "), trial: row.dataset.trial};
    });
    for (const {row, trial} of rows) ofTrial(trial).push(row);
    const form = document.querySelector(`[data-filters="${table.id}"]`);
    const [search, order, clear, said] = ["input", "select", "button", "output"].map((name) => form.querySelector(name));
    let brushed = null;

    // The column, and whether downwards, as an option of `order` names it; "": as the page was written.
    function sort(chosen) {
      order.value = chosen;
      const column = chosen === "" ? -1 : parseInt(chosen, 10);
      const sign = chosen.endsWith("-") ? -1 : 1;
      heads.forEach((head, index) => {
        if (index === column) head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      rows.sort((a, b) => {
        if (column < 0) return a.place - b.place;
        const [x, y] = [a.values[column], b.values[column]];
        // Numbers come before words, in both directions.
        if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
        const by = Number.isNaN(x) ? a.texts[column].localeCompare(b.texts[column], undefined, {numeric: true}) : x - y;
        return sign * by || a.place - b.place;
      });
      body.append(...rows.map((one) => one.row));
    }

    function filter() {
      const conditions = search.value.toLowerCase().split(/\s+/).filter(Boolean).map((word) => condition(word, titles));
      const kept = rows.filter((row) => {
        const stays = conditions.every((holds) => holds(row)) && (!brushed || brushed.has(row.trial));
        row.row.hidden = !stays;
        return stays;
      });
      const isAll = kept.length === rows.length;
      said.textContent = isAll ? `${rows.length} rows` : `${kept.length} of ${rows.length} rows`;
      leave(isAll ? null : new Set(kept.map((row) => row.trial)));
    }

    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      button.addEventListener("click", () => sort(order.value === `${column}` ? `${column}-` : `${column}`));
      order.add(new Option(`${head.textContent} ▲`, `${column}`));
      order.add(new Option(`${head.textContent} ▼`, `${column}-`));
    });
    order.addEventListener("change", () => sort(order.value));
    search.addEventListener("input", filter);
    clear.addEventListener("click", () => {
      search.value = "";
      brushed = null;
      for (const [name, view] of views) if (hasBrush(specifications[name])) view.data("brush_store", []).runAsync();
      sort("");
      filter();
    });
    body.addEventListener("pointerover", (event) => pointAt(event.target.closest("tr")?.dataset.trial));
    body.addEventListener("pointerleave", () => pointAt());
    form.hidden = false;
    return {
      filter,
      brush(passing) {
        brushed = passing;
        filter();
      },
    };
  }

  // -- plots ----------------------------------------------------------------------------------------------------------

  function hasBrush(specification) {
    return specification.layer?.some((layer) => layer.params?.some((param) => param.name === "brush")) ?? false;
  }

  // The trials whose line passes through what was dragged over; null: nothing was.
  function passing(specification, brush) {
    if (!brush.axis || !brush.at) return null;
    const [low, high] = [Math.min(...brush.at), Math.max(...brush.at)];
    const isIn = (line, at, index) => brush.axis.includes(line.axis[index]) && at >= low && at <= high;
    const lines = specification.layer[0].data.values.filter((line) => line.at.some((at, index) => isIn(line, at, index)));
    return new Set(lines.map((line) => String(line.trial)));
  }

  async function draw(place) {
    const specification = specifications[place.id];
    const {view} = await vegaEmbed(place, specification, options);
    views.set(place.id, view);
    addShapes(place);
    place.addEventListener("pointerover", (event) => pointAt(trialOf(event.target)));
    place.addEventListener("pointerleave", () => pointAt());
    if (hasBrush(specification)) {
      view.addSignalListener("brush", (_, brush) => tables.forEach((table) => table.brush(passing(specification, brush))));
    }
    place.dataset.drawn = "true";
  }

  const tables = [...document.querySelectorAll("table.sortable")].map(makeInteractive);
  const drawn = Promise.all([...document.querySelectorAll(".plot")].map(draw));
  drawn.then(() => tables.forEach((table) => table.filter()));
})();
