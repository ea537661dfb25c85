// The past as /api/page/past sends it -> samples. No DOM: bytes in, numbers out.
const NO_VALUE = 65535;
const STEP = 1 / 100;
const LOWEST = -100;

// Return [{id, examination, bed, next, fell, pages: [{place, points}]}] of an answer, pages oldest
// first; throw a TypeError or SyntaxError where it is none.
export function unpack(buffer, bin_s) {
  const bytes = new Uint8Array(buffer);
  const end = bytes.indexOf(10) + 1;
  const { sensors } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  let at = end;
  const numbers = (n) => {
    const found = new Uint16Array(buffer, at, n);
    at += 2 * n;
    return found;
  };
  return sensors.map(({ pages, ...about }) => ({
    ...about,
    pages: pages.map(([place, runs]) => {
      const n = runs.reduce((sum, [, length]) => sum + length, 0);
      const channels = [numbers(n), numbers(n), numbers(n), numbers(n)];
      return { place, points: pointsOf(runs, channels, bin_s) };
    }),
  }));
}

// Each bin becomes one sample, or two where its values differ: the one nearer to the last first.
function pointsOf(runs, [fhr_min, fhr_max, toco_min, toco_max], bin_s) {
  const points = { t_s: [], fhr_bpm: [], toco: [] };
  let n = 0;
  let [fhr, toco] = [NaN, NaN];
  for (const [first, length] of runs) {
    for (let bin = first; bin < first + length; bin++, n++) {
      const rates = pair(fhr_min[n], fhr_max[n], fhr);
      const tones = pair(toco_min[n], toco_max[n], toco);
      const differ = fhr_min[n] !== fhr_max[n] || toco_min[n] !== toco_max[n];
      for (let k = 0; k < (differ ? 2 : 1); k++) {
        points.t_s.push((bin + (differ ? 0.25 + 0.5 * k : 0)) * bin_s);
        points.fhr_bpm.push(rates[k]);
        points.toco.push(tones[k]);
      }
      [fhr, toco] = [rates[1], tones[1]];
    }
  }
  return points;
}

function pair(lo, hi, last) {
  if (lo === NO_VALUE) return [NaN, NaN];
  const [a, b] = [LOWEST + STEP * lo, LOWEST + STEP * hi].map((v) => Math.round(v * 100) / 100);
  return Math.abs(last - b) < Math.abs(last - a) ? [b, a] : [a, b];
}

// One series of several that follow one another.
export function joinedPoints(pages) {
  const all = (name) => [].concat(...pages.map(({ points }) => points[name]));
  return { t_s: all("t_s"), fhr_bpm: all("fhr_bpm"), toco: all("toco") };
}
