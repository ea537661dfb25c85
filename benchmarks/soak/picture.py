"""A soak as a picture: memory, what is held open, queues, over time."""

from matplotlib.figure import Figure

PANELS = {
    "memory; SQLite's write-ahead log; MiB": ("rss_mib", "wal_mib"),
    "serve: descriptors without connections, threads; tasks": (
        "serve descriptors", "serve threads", "serve tasks asyncio",
    ),
    "serve: queue depths": ("queue_depth",),
}  # fmt: skip


def draw(findings, path):
    """Draw every series in its panel; what isn't flat says so."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    panels = figure.subplots(len(PANELS), 1, sharex=True)
    for axes, (title, wanted) in zip(panels, PANELS.items(), strict=True):
        for name, points in findings["series"].items():
            if any(part in name for part in wanted):
                found = findings["flatness"][name]
                mark = "" if found is None or found.flat else " (grows)"
                axes.plot([t / 60 for t, _ in points], [v for _, v in points],
                          linewidth=1, label=name + mark)  # fmt: skip
        axes.set_title(title, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    panels[-1].set_xlabel("minutes")
    settings, machine = findings["settings"], findings["machine"]
    figure.suptitle(
        f"soak: {settings['sensors']} sensors of {settings['rate_hz']:g} Hz,"
        f" {settings['minutes']:g} min, disturbed throughout; simulated data\n"
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']},"
        f" uvloop {machine['uvloop']}",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)
