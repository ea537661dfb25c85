// Who is shown in the overview, in which order and how large. No DOM.

export const LAYOUTS = ["automatic", "tiles", "strips"];
export const SORTS = ["alarms first", "by bed", "by name"];
const STRIPS_MAX = 4; // more are tiles, unless somebody chooses strips
const LARGE = 2; // an alarmed tile is so many times as wide and high
const GAP_PX = 4;
const RATIO = 1.15; // width over height of a tile, about
const TALLEST_PX = 260;

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

// Sensors that match the filter, sorted.
export function chosen(sensors, filter, sort) {
  const wanted = filter.trim().toLowerCase();
  const matches = (s) => [s.label, s.bed, s.id].some((text) => text.toLowerCase().includes(wanted));
  const found = [...sensors].filter((s) => !wanted || matches(s));
  const byBed = (a, b) => collator.compare(a.bed, b.bed) || byName(a, b);
  const byName = (a, b) => collator.compare(a.name, b.name) || collator.compare(a.id, b.id);
  const alarmed = (s) => (s.alarms.open.length ? 0 : 1);
  return found.sort((a, b) => {
    if (sort === "by name") return byName(a, b);
    return (sort === "alarms first" ? alarmed(a) - alarmed(b) : 0) || byBed(a, b);
  });
}

export function asTiles(layout, count) {
  return layout === "tiles" || (layout !== "strips" && count > STRIPS_MAX);
}

// How many columns of what size make count tiles fit, of which some are large; {columns, width_px,
// height_px, large}. Where there is no room for large ones all are alike; where there is none at
// all, tiles keep their least size and the page scrolls.
export function grid(count, alarmed, width_px, height_px, least = { width: 88, height: 76 }) {
  for (const large of alarmed ? [alarmed, 0] : [0]) {
    const fit = fitting(count, large, width_px, height_px, least);
    if (fit) return { ...fit, large: large > 0 };
  }
  const columns = Math.max(1, Math.floor((width_px + GAP_PX) / (least.width + GAP_PX)));
  return { ...sizes(columns, width_px), height_px: least.height, large: false };
}

function sizes(columns, width_px) {
  return { columns, width_px: (width_px - GAP_PX * (columns - 1)) / columns };
}

function fitting(count, large, width_px, height_px, least) {
  for (let columns = large ? LARGE : 1; ; columns++) {
    const { width_px: width } = sizes(columns, width_px);
    if (width < least.width) return null;
    const rows = rowsOf(count, large, columns);
    const height = (height_px - GAP_PX * (rows - 1)) / rows;
    const isLast = sizes(columns + 1, width_px).width_px < least.width;
    if (height >= Math.max(least.height, Math.min(width / RATIO, TALLEST_PX)) || (isLast && height >= least.height)) {
      return { columns, width_px: width, height_px: Math.min(height, width * RATIO) };
    }
  }
}

// Large ones come first, in bands; small ones fill what is left beside them.
function rowsOf(count, large, columns) {
  const bands = large ? Math.ceil(large / Math.floor(columns / LARGE)) : 0;
  const free = bands * LARGE * columns - large * LARGE * LARGE;
  return bands * LARGE + Math.ceil(Math.max(0, count - large - free) / columns);
}
