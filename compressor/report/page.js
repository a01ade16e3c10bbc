// Paper holds what is folded too; afterwards everything is as it was.
(() => {
  let opened = [];
  addEventListener("beforeprint", () => {
    // Once more without an end in between must not forget what was opened before.
    const closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
    opened = [...opened, ...closed];
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
    opened = [];
  });
})();

// The slider of the path: shows how many units of each coupling had entered by a moment.
(() => {
  const path = document.querySelector(".path");
  if (!path) return;
  const slider = path.querySelector("input");
  const told = path.querySelector("output");
  const end = Number(path.dataset.end);
  const epochs = path.dataset.epochs ? path.dataset.epochs.split(" ").map(Number) : [];
  const most = Number(slider.max);
  const whole = new Intl.NumberFormat("en");
  const lanes = [...path.querySelectorAll("[data-steps]")].map((value) => {
    const [units, steps] = value.dataset.steps.split(";");
    const counts = steps ? steps.split(" ").map((step) => step.split(":").map(Number)) : [];
    return { value, units: Number(units), counts };
  });
  const all = lanes.reduce((sum, lane) => sum + lane.units, 0);

  const entered = (lane, moment) =>
    lane.counts.reduce((count, [at, then]) => (at <= moment ? then : count), 0);

  // Writes the count of each lane; all of them together.
  const count = (moment) => {
    let sum = 0;
    for (const lane of lanes) {
      const now = entered(lane, moment);
      sum += now;
      lane.value.textContent = `${whole.format(now)} of ${whole.format(lane.units)}`;
    }
    return sum;
  };

  const follow = () => {
    const moment = Number(slider.value);
    const time = (end * moment) / most;
    const sum = count(moment);
    path.style.setProperty("--at", `${(100 * moment) / most}%`);
    // The end of an epoch still belongs to it; a hair of slack for rounding in the page.
    const before = epochs.filter((epochEnd) => epochEnd < time - end * 1e-6).length;
    const epoch = epochs.length ? `, epoch ${Math.min(before + 1, epochs.length)} of ${epochs.length}` : "";
    const words = `path time ${Number(time.toPrecision(3))}${epoch}: ${whole.format(sum)} of ${whole.format(all)} units have entered`;
    told.textContent = words;
    slider.setAttribute("aria-valuetext", words);
  };

  slider.addEventListener("input", follow);
  // Lanes are full on paper, whatever the slider says.
  addEventListener("beforeprint", () => count(most));
  addEventListener("afterprint", follow);
  path.querySelector(".slider").hidden = false;
  // Browsers keep the slider where it was when a page is loaded again.
  follow();
})();
