"use strict";
// The only script of the page: it shows the edited rows of one rule. Without it all rows are shown.
const chosen = document.getElementById("rule");
if (chosen) {
  const rows = Array.from(document.querySelectorAll("[data-rules]"));
  const told = document.getElementById("rule-count");
  const show = () => {
    let n = 0;
    for (const row of rows) {
      const fits = chosen.value === "" || row.dataset.rules.split(" ").includes(chosen.value);
      row.hidden = !fits;
      n += fits ? 1 : 0;
    }
    told.textContent = n + " of " + rows.length + " rows shown";
  };
  chosen.addEventListener("change", show);
  document.getElementById("rule-filter").hidden = false;
  show();
}
