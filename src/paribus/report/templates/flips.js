"use strict";
/* Fills the section "Problem by problem" from the JSON in #flips-data, which report/flips.py
   describes. Texts are untrusted: they reach the page as text nodes only. Nothing is read before
   the section comes near the screen, and at most PAGE rows are added to the list at a time. */
(() => {
  const PAGE = 50;
  const FIRST_CHARACTERS = 5000; // of a text; the rest on demand, so that no answer stalls the page
  const MOST_MARKS = 200;
  const SOLVED = 0; // place of "correct" among the outcomes

  const byId = (name) => document.getElementById(`flips-${name}`);
  const tabs = [...byId("tabs").children];
  const view = { a: 0, b: 1, tab: "only_a", groups: {}, query: "", found: [], rows: 0, at: -1 };
  const lowered = new Map(); // text -> lower case, made when first searched
  let data;

  function element(tag, attributes = {}, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content);
    return made;
  }

  /* Characters that cannot be seen, or that turn the text around them, are spelled out. */
  function visible(text) {
    return text
      .replace(/\r\n?/g, "\n")
      .replace(/(?![\n\t])[\p{Cc}\p{Cs}\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu, (it) =>
        `[U+${it.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
  }

  /* At most `length` UTF-16 units, without the first half of a pair at the end. */
  const beginning = (text, length) => text.slice(0, length).replace(/[\ud800-\udbff]$/, "");

  function lower(text) {
    let found = lowered.get(text);
    if (found === undefined) lowered.set(text, (found = text.toLowerCase()));
    return found;
  }

  /* The text as nodes, with what was searched for marked. */
  function marked(text) {
    const shown = visible(text);
    const low = shown.toLowerCase();
    // Where lower case is longer, places in the two differ.
    if (!view.query || low.length !== shown.length) return [shown];
    const nodes = [];
    let done = 0;
    for (let hit = low.indexOf(view.query); hit >= 0 && nodes.length < 2 * MOST_MARKS; ) {
      const end = hit + view.query.length;
      nodes.push(shown.slice(done, hit), element("mark", {}, shown.slice(hit, end)));
      done = end;
      hit = low.indexOf(view.query, end);
    }
    return [...nodes, shown.slice(done)];
  }

  function passage(text, label) {
    const box = element("pre", { dir: "auto", tabindex: "0", "aria-label": label });
    box.append(...marked(beginning(text, FIRST_CHARACTERS)));
    if (text.length <= FIRST_CHARACTERS) return [box];
    const all = element("button", { type: "button" }, `Show all ${text.length.toLocaleString("en")} characters`);
    const cut = element("p", { class: "soft" },
      `The first ${FIRST_CHARACTERS.toLocaleString("en")} characters are shown. `, all);
    all.addEventListener("click", () => {
      box.replaceChildren(...marked(text));
      box.focus();
      cut.remove();
    });
    return [box, cut];
  }

  /* ---- which problems ---- */

  const score = (run, problem) => {
    const { outcomes, scores } = data.runs[run];
    return scores ? scores[problem] : Number(outcomes[problem] === SOLVED);
  };
  const tested = (run, problem) => data.runs[run].outcomes[problem] !== null;
  const text = (run, problem) => data.texts[data.runs[run].texts[problem]];

  function compare(a, b) {
    Object.assign(view, { a, b, groups: { only_a: [], only_b: [], both: [], neither: [] } });
    data.problems.forEach((_, problem) => {
      if (!tested(a, problem) || !tested(b, problem)) return;
      const [ofA, ofB] = [score(a, problem), score(b, problem)];
      const group = ofA > ofB ? "only_a" : ofA < ofB ? "only_b" : ofA > 0 ? "both" : "neither";
      view.groups[group].push(problem);
    });
    byId("a").value = a;
    byId("b").value = b;
    const named = data.contrasts.findIndex((each) => each.a === a && each.b === b);
    byId("contrast").value = named;
    for (const tab of tabs) {
      tab.querySelector("span").textContent = view.groups[tab.dataset.solved].length;
    }
    select(view.tab);
  }

  function select(name) {
    view.tab = name;
    for (const tab of tabs) {
      const chosen = tab.dataset.solved === name;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
    }
    byId("panel").setAttribute("aria-labelledby", `flips-tab-${name}`);
    filter();
  }

  function filter() {
    const before = view.found[view.at];
    view.query = byId("search").value.toLowerCase();
    const holds = (problem) =>
      [data.problems[problem].question, text(view.a, problem), text(view.b, problem)].some((each) =>
        lower(each).includes(view.query));
    view.found = view.groups[view.tab].filter((problem) => !view.query || holds(problem));
    const [found, all] = [view.found.length, view.groups[view.tab].length];
    byId("status").textContent = view.query ? `${found} of ${all} problems` : found ? "" : "No such problem.";
    byId("list").replaceChildren();
    byId("list").scrollTop = 0;
    view.rows = 0;
    more();
    choose(Math.max(0, view.found.indexOf(before)));
  }

  /* ---- the list ---- */

  function more() {
    const next = view.found.slice(view.rows, view.rows + PAGE);
    byId("list").append(...next.map((problem, place) =>
      element("li", {
        role: "option", id: `flips-row-${view.rows + place}`, "aria-selected": "false",
        "aria-setsize": view.found.length, "aria-posinset": view.rows + place + 1,
      }, element("span", { class: "soft" }, `${problem + 1}`),
      element("span", { dir: "auto" }, visible(beginning(data.problems[problem].question, 160))))));
    view.rows += next.length;
    const left = view.found.length - view.rows;
    byId("more").hidden = left === 0;
    byId("more").textContent = left > PAGE ? `Show ${PAGE} more of ${left}` : `Show ${left} more`;
  }

  function choose(at) {
    const list = byId("list");
    while (at >= view.rows && view.rows < view.found.length) more();
    list.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    list.removeAttribute("aria-activedescendant");
    view.at = at;
    if (view.found.length === 0) return byId("problem").replaceChildren();
    const row = list.children[at];
    row.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", row.id);
    // Not scrollIntoView: that would scroll the page as well.
    if (row.offsetTop < list.scrollTop) list.scrollTop = row.offsetTop;
    const below = row.offsetTop + row.offsetHeight - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
    return show(view.found[at]);
  }

  function move(event) {
    const last = view.found.length - 1;
    const steps = { ArrowDown: view.at + 1, ArrowUp: view.at - 1, Home: 0, End: last };
    if (!(event.key in steps) || last < 0) return;
    event.preventDefault();
    choose(Math.min(last, Math.max(0, steps[event.key])));
  }

  /* ---- one problem ---- */

  function show(problem) {
    const { question, group, golds } = data.problems[problem];
    const answers = [...new Set(golds.map(([answer]) => answer))].map(visible).join(" or ");
    const solutions = golds.map(([, solution]) => solution).filter((solution) => solution);
    const gold = element("details", {}, element("summary", {}, "Gold solution"),
      ...solutions.flatMap((each) => passage(each, "Gold solution")));
    byId("problem").replaceChildren(
      element("h3", {}, `Problem ${problem + 1}`,
        ...(group ? [element("span", { class: "soft" }, ` of the group ${visible(group)}`)] : [])),
      ...passage(question, "Question"),
      element("p", { class: "flips-gold" }, `Right answer: ${answers}`),
      ...(solutions.length ? [gold] : []),
      element("div", { class: "flips-texts" }, side("A", view.a, problem), side("B", view.b, problem)),
      others(problem));
  }

  function side(letter, run, problem) {
    const { label, outcomes, scores, signals, stops } = data.runs[run];
    const points = scores ? `${(100 * scores[problem]).toFixed(1)} points` : "";
    const said = [points, data.outcomes[outcomes[problem]], data.signals[signals[problem]], data.stops[stops[problem]]]
      .filter((each) => each).join(" \u00b7 ");
    return element("div", {},
      element("h4", {}, `${letter}: ${label}`), element("p", { class: "soft" }, said),
      ...passage(text(run, problem), `${letter} wrote`));
  }

  function others(problem) {
    const line = element("p", { class: "soft", id: "flips-others" });
    const rest = data.runs.filter((run, place) =>
      place !== view.a && place !== view.b && tested(place, problem));
    const said = data.outcomes.map((words, outcome) => {
      const names = rest.filter((run) => run.outcomes[problem] === outcome).map((run) => run.label);
      return names.length ? `${words} \u2013 ${names.join("; ")}` : "";
    }).filter((each) => each);
    line.textContent = said.length ? `Other runs: ${said.join(" \u00b7 ")}` : "";
    return line;
  }

  /* ---- start ---- */

  function start() {
    data = JSON.parse(byId("data").textContent);
    const option = (label, value) => element("option", { value }, label);
    const runs = () => data.runs.map((run, place) => option(run.label, place));
    byId("a").replaceChildren(...runs());
    byId("b").replaceChildren(...runs());
    byId("contrast").replaceChildren(
      ...data.contrasts.map((each, place) => option(each.label, place)), option("own choice", -1));
    listen();
    const first = data.contrasts[0] ?? view;
    compare(first.a, first.b);
    const some = tabs.find((tab) => view.groups[tab.dataset.solved].length);
    if (some) select(some.dataset.solved);
    byId("note").hidden = true;
    byId("browser").hidden = false;
  }

  function listen() {
    byId("contrast").addEventListener("change", ({ target }) => {
      const { a, b } = data.contrasts[target.value] ?? view;
      compare(a, b);
    });
    byId("a").addEventListener("change", ({ target }) => compare(Number(target.value), view.b));
    byId("b").addEventListener("change", ({ target }) => compare(view.a, Number(target.value)));
    byId("search").addEventListener("input", filter);
    byId("more").addEventListener("click", () => {
      more();
      byId("list").focus(); // the button may be gone
    });
    byId("list").addEventListener("keydown", move);
    byId("list").addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) choose([...row.parentNode.children].indexOf(row));
    });
    tabs.forEach((tab, place) => {
      tab.addEventListener("click", () => select(tab.dataset.solved));
      tab.addEventListener("keydown", ({ key }) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
        if (!step) return;
        const next = tabs[(place + step + tabs.length) % tabs.length];
        select(next.dataset.solved);
        next.focus();
      });
    });
  }

  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    start();
  }, { rootMargin: "600px" });
  near.observe(document.getElementById("flips"));
})();
