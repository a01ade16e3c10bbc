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

  const follow = () => {
    const moment = Number(slider.value);
    const time = (end * moment) / most;
    let sum = 0;
    for (const lane of lanes) {
      const count = entered(lane, moment);
      sum += count;
      lane.value.textContent = `${whole.format(count)} of ${whole.format(lane.units)}`;
    }
    path.style.setProperty("--at", `${(100 * moment) / most}%`);
    // The end of an epoch still belongs to it; a hair of slack for rounding in the page.
    const before = epochs.filter((epochEnd) => epochEnd < time - end * 1e-6).length;
    const epoch = epochs.length ? `, epoch ${Math.min(before + 1, epochs.length)} of ${epochs.length}` : "";
    const words = `path time ${Number(time.toPrecision(3))}${epoch}: ${whole.format(sum)} of ${whole.format(all)} units have entered`;
    told.textContent = words;
    slider.setAttribute("aria-valuetext", words);
  };

  slider.addEventListener("input", follow);
  path.querySelector(".slider").hidden = false;
  // Browsers keep the slider where it was when a page is loaded again.
  follow();
})();
