"""Headless Chromium over its DevTools protocol: enough of it to load a page and ask it things."""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager, contextmanager
from urllib.request import Request, urlopen

from websockets.asyncio.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--remote-debugging-port=0",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip


class Tab:
    """One page; what it complains about is collected in ``complaints``."""

    def __init__(self, socket):
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting = {}
        self.complaints = []

    async def read(self):
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                self.complaints.append(message["params"]["exceptionDetails"])
            elif message["method"] == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error":
                    self.complaints.append(entry["text"])

    async def call(self, method, **parameters):
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        answer = await self._waiting[number]
        assert "error" not in answer, (method, answer)
        return answer["result"]

    async def run(self, expression):
        """Evaluate JavaScript, await its promise, return its value."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, expression):
        """Wait until JavaScript is true; the deadline is the test's."""
        while not (value := await self.run(expression)):
            await asyncio.sleep(0.05)
        return value

    async def open(self, url):
        await self.call("Page.navigate", url=url)

    async def look(self, width, height, *, dark=False, ratio=1):
        """Change the size of the window and the colour scheme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=ratio, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])


@contextmanager
def chromium(profile):
    """Run Chromium with an empty profile directory; yield where it writes its port."""
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
    with subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield profile / "DevToolsActivePort"
        finally:
            process.terminate()


@asynccontextmanager
async def tab_of(port_file):
    """Open a tab; it sees nothing of earlier ones."""
    while not (port_file.exists() and (lines := port_file.read_text().splitlines())):
        await asyncio.sleep(0.02)
    new = Request(f"http://127.0.0.1:{lines[0]}/json/new", method="PUT")
    answer = await asyncio.to_thread(lambda: urlopen(new, timeout=60).read())
    async with (
        connect(
            json.loads(answer)["webSocketDebuggerUrl"], max_size=None, compression=None
        ) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        tab = Tab(socket)
        reading = tasks.create_task(tab.read())
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        yield tab
        await tab.call("Page.navigate", url="about:blank")
        reading.cancel()
