"""Recordings written the way others write them, with nothing of ours."""

import contextlib
import gzip
import io
import warnings
from datetime import datetime, timedelta

import numpy as np

HEARTS = [
    "FHR", "fhr", "bpm", "BPMChild", "fhr_bpm", "FHR (bpm)", "FHR1", "HR", "Fetal Heart Rate",
    "ЧСС", "ЧСС плода", "US", "heart_rate", "FHR [bpm]", "data.BPMChild",
]  # fmt: skip
TOCOS = [
    "UC", "uc", "uterus", "TOCO", "toco_units", "UA", "IUP", "UC (mmHg)", "Тонус", "Toco [%]",
    "contractions", "Uterine Activity",
]  # fmt: skip
EXTRAS = [
    ("MHR", lambda rng, n: np.round(rng.uniform(60, 110, n), 1)),
    ("SpO2", lambda rng, n: rng.integers(90, 100, n)),
    ("baseline_bpm", lambda rng, n: np.full(n, 140)),
    ("quality", lambda rng, n: rng.integers(0, 3, n)),
    ("note", lambda rng, n: np.array(["x"] * n)),
    ("event", lambda rng, n: np.array([""] * n)),
]
LOST = ["", "NA", "NaN", "null", "-", "#N/A", "0", "-1", "-9999", "999", "511", "nan", "None"]
SEPARATORS = [",", ";", "\t", "|"]


class Truth:
    """A signal that nobody smoothed: its times, heart rate and toco, NaN for no signal."""

    def __init__(self, rng, *, rates=(1.0, 2.0, 4.0, 5.0, 10.0, 8.0)):
        self.rate_hz = float(rng.choice(rates))
        n = int(rng.integers(12, 90))
        self.sec = np.round(np.arange(n) / self.rate_hz, 6)
        self.fhr = np.round(140 + np.cumsum(rng.normal(0, 1, n)).clip(-60, 60), 1)
        self.toco = np.round(30 + 20 * np.sin(np.arange(n) / 9) + rng.uniform(0, 2, n), 1)
        self.fhr[rng.random(n) < rng.choice([0, 0, 0.2])] = np.nan
        self.fhr[:2] = 141.5
        if rng.random() < 0.3:  # the recorder was switched off for a while
            a = int(rng.integers(2, n - 4))
            self.sec[a:] = np.round(self.sec[a:] + rng.integers(5, 400), 6)


def text_dialect(rng, truth):
    """Return (bytes, suffix, options): a table of text in a random dialect."""
    separator = str(rng.choice(SEPARATORS))
    comma = separator != "," and rng.random() < 0.4
    n = len(truth.sec)
    lost = str(rng.choice(LOST))

    def number(value, digits=1):
        text = f"{value:.{digits}f}"
        return text.replace(".", ",") if comma else text

    kind, times = times_as_text(rng, truth, number)
    columns = [(kind, times)]
    heart = str(rng.choice(HEARTS))
    columns.append((heart, [lost if v != v else number(v) for v in truth.fhr]))
    columns.append((str(rng.choice(TOCOS)), [number(v) for v in truth.toco]))
    for name, make in [EXTRAS[i] for i in rng.permutation(len(EXTRAS))[: rng.integers(0, 3)]]:
        columns.append((name, [str(v).replace(".", ",") if comma else str(v)
                               for v in make(rng, n).tolist()]))  # fmt: skip
    order = rng.permutation(len(columns))
    columns = [columns[i] for i in order]
    rows = [list(row) for row in zip(*(cells for _, cells in columns), strict=True)]
    if rng.random() < 0.15:
        rows = [rows[i] for i in rng.permutation(n)] if rng.random() < 0.5 else rows[::-1]
    lines = [separator.join(row) for row in rows]
    quote = '"' if rng.random() < 0.2 else ""
    header = separator.join(f"{quote}{name}{quote}" for name, _ in columns)
    before = []
    if rng.random() < 0.2:
        before = [f"sep={separator}"]
    elif rng.random() < 0.3:
        before = [["# a remark"], [""], ["# made by: a scanner", "# bed: 7"], ["", ""]][
            rng.integers(0, 4)
        ]
    end = str(rng.choice(["\n", "\r\n", "\r\n", "\n"]))
    text = end.join([*before, header, *lines]) + (end if rng.random() < 0.8 else "")
    if rng.random() < 0.1:
        text += end * 3
    cyrillic = any("а" <= c.lower() <= "я" for c in text)
    encoding = str(rng.choice(["utf-8", "utf-8-sig", "utf-16"] + ["cp1251"] * cyrillic))
    data = text.encode(encoding)
    suffix = str(rng.choice([".csv", ".txt", ".tsv"]))
    if rng.random() < 0.15:
        data, suffix = gzip.compress(data), suffix + ".gz"
    return data, suffix


def times_as_text(rng, truth, number):
    """Return the name of the time's column, and its cells."""
    sec = truth.sec
    start = datetime.fromisoformat("2025-12-31T23:58:30")
    match int(rng.integers(0, 12)):
        case 0:
            return "time_ms", [str(round(t * 1000)) for t in sec]
        case 1:
            return "Time (min)", [number(t / 60, 6) for t in sec]
        case 2:
            return "elapsed", [str(timedelta(seconds=float(t)) + timedelta()) for t in sec]
        case 3:
            return "timestamp", [str(round((1767348000 + t) * 1000)) for t in sec]
        case 4:
            moments = [start + timedelta(seconds=float(t)) for t in sec]
            return "timestamp", [m.isoformat("T", "milliseconds") for m in moments]
        case 5:
            moments = [start + timedelta(seconds=float(t)) for t in sec]
            return "Datetime", [m.strftime("%d.%m.%Y %H:%M:%S.%f")[:-3] for m in moments]
        case 6:
            return "Time (s)", [number(t, 3) for t in sec]
        case 7:
            return "t", [number(t, 3) for t in sec]
        case 8:  # the day's, over midnight
            moments = [start + timedelta(seconds=float(t)) for t in sec]
            return "Время", [m.strftime("%H:%M:%S.%f")[:-3] for m in moments]
        case 9:
            return "elapsed", [f"{int(t // 60)}:{t % 60:06.3f}" for t in sec]
        case 10 if (np.diff(sec) < 1.5 / truth.rate_hz).all():  # whole seconds, each several times
            return "time", [f"{int(t + 1e-9) + 7}" for t in sec]
        case _:
            return str(rng.choice(["sec", "seconds", "secFromStart", "time_s"])), [
                number(t, 3) for t in sec
            ]


def two_files(rng, truth, folder):
    """Write a channel per file, in segments, each with a clock that begins where it likes."""
    names = [("bpm", 1, truth.fhr, 0.0), ("uterus", 2, truth.toco, float(rng.integers(0, 4)))]
    kind = int(rng.integers(0, 4))
    zero_s = float(rng.integers(0, 2000))
    cut = int(rng.integers(4, len(truth.sec))) if rng.random() < 0.4 else None
    comma = rng.random() < 0.3
    for place, number, values, early_s in names:
        sec = truth.sec
        if early_s:  # rows of this channel before the other begins
            n = int(early_s * truth.rate_hz)
            sec = np.concatenate((np.arange(-n, 0) / truth.rate_hz, sec))
            values = np.concatenate((np.full(n, 3.0), values))
        sec = sec + 5 * (kind == 0)
        there = ~np.isnan(values)
        if cut is None:
            parts = [("x", there)]
        else:
            after = sec >= truth.sec[cut] + 5 * (kind == 0)
            parts = [("x-9", there & ~after), ("x-10", there & after)]
        for name, rows in parts:
            cells = [
                f"{_clock(kind, zero_s, t)}{';' if comma else ','}{v:.1f}".replace(
                    ".", "," if comma else "."
                )
                for t, v in zip(sec[rows], values[rows], strict=True)
            ]
            header = ("time_sec", "timestamp", "time", "timestamp")[kind]
            header += (";" if comma else ",") + "value"
            path = folder / place / f"{name}_{number}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join([header, *cells]) + "\n")
    return folder


def _clock(kind, zero_s, sec):
    moment = datetime.fromisoformat("2026-01-02T10:00:00") + timedelta(seconds=zero_s + float(sec))
    match kind:
        case 0:
            return f"{sec:.3f}"
        case 1:
            return f"{round((1767348000 + zero_s + sec) * 1000)}"
        case 2:
            return moment.strftime("%H:%M:%S.%f")[:-3]
    return moment.isoformat(" ", "milliseconds")


def wfdb_record(rng, truth, folder):
    """Write a record with wfdb-python: signals in any order, at rates of their own."""
    import wfdb

    names = [(str(rng.choice(["FHR", "FHR1", "HR", "fhr", "US"])), "bpm", truth.fhr)]
    names.append((str(rng.choice(["UC", "TOCO", "UA", "IUP", "Toco"])), "nd", truth.toco))
    if rng.random() < 0.4:
        names.append(("MHR", "bpm", np.full(len(truth.fhr), 82.0)))
    names = [names[i] for i in rng.permutation(len(names))]
    with quietly():
        wfdb.wrsamp(
            "rec", fs=truth.rate_hz, units=[u for _, u, _ in names],
            sig_name=[n for n, _, _ in names],
            p_signal=np.column_stack([v for _, _, v in names]), fmt=["16"] * len(names),
            adc_gain=[100.0] * len(names), baseline=[0] * len(names), write_dir=str(folder),
        )  # fmt: skip
    return folder / "rec.hea"


def edf_file(rng, truth, path):
    """Write EDF with edfio: 0 for no signal, labels in any order."""
    import edfio

    per_record = int(truth.rate_hz)
    n = len(truth.fhr) // per_record * per_record
    truth.sec, truth.fhr, truth.toco = truth.sec[:n], truth.fhr[:n], truth.toco[:n]

    def signal(label, values, unit):
        return edfio.EdfSignal(
            np.nan_to_num(values), truth.rate_hz, label=label, physical_dimension=unit,
            physical_range=(-327.68, 327.67), digital_range=(-32768, 32767),
        )  # fmt: skip

    signals = [
        signal(str(rng.choice(["FHR", "FHR1", "HR", "US", "FHR1-US"])), truth.fhr, "bpm"),
        signal(str(rng.choice(["UC", "TOCO", "UA", "IUP"])), truth.toco, ""),
    ]
    if rng.random() < 0.4:
        signals.append(signal("MHR", np.full(n, 82.0), "bpm"))
    if rng.random() < 0.3:
        signals.append(signal("ECG", np.full(n, 0.5), "mV"))
    with quietly():
        edfio.Edf(
            [signals[i] for i in rng.permutation(len(signals))], data_record_duration=1
        ).write(path)
    return path


def frame_file(rng, truth, path):
    """Write a table with pandas or numpy: Parquet, NumPy archives, spreadsheets."""
    import pandas

    heart, toco = str(rng.choice(HEARTS)), str(rng.choice(TOCOS))
    time = str(rng.choice(["sec", "time_s", "secFromStart", "Time (s)"]))
    columns = {time: truth.sec, heart: truth.fhr, toco: truth.toco}
    if rng.random() < 0.3:
        columns["MHR"] = np.full(len(truth.sec), 80.0)
    names = [list(columns)[i] for i in rng.permutation(len(columns))]
    frame = pandas.DataFrame({name: columns[name] for name in names})
    if path.suffix == ".npz":
        np.savez(path, **{name: columns[name] for name in names})
        return path
    if rng.random() < 0.3:
        start = pandas.Timestamp("2025-12-31 23:58:30")
        frame[time] = start + pandas.to_timedelta(frame[time], unit="s")
        frame = frame.rename(columns={time: "timestamp"})
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=bool(rng.random() < 0.3))
    elif path.suffix == ".xlsx":
        frame.to_excel(path, index=bool(rng.random() < 0.3))
    else:
        frame.to_csv(path, index=bool(rng.random() < 0.3))
    return path


@contextlib.contextmanager
def quietly():
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
