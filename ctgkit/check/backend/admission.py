"""Who may watch, and that viewers only watch: clauses V-1."""

import asyncio
import json
from urllib.parse import quote

from ctgkit.check.backend.door import expect
from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.messages import sample
from ctgkit.check.rig import Bench
from ctgkit.check.watch import is_at

CHECKS = Catalogue()


@CHECKS.add("V-1.1/paths", "/ws and /ws/ admit viewers")
async def paths(bench: Bench) -> None:
    for path in ("/ws", "/ws/"):
        expect(await bench.handshake(path, bench.viewer_headers()), 101)


@CHECKS.add("V-1.1/ignored", "What a viewer sends is ignored")
async def viewer_is_ignored(bench: Bench) -> None:
    async with bench.viewer() as viewer:
        await viewer.send("{", "hello", b"\xff\x00", sample(1))
        await viewer.settle()
        viewer.must_live()


@CHECKS.add("V-1.1/unheard", "What a viewer sends reaches nobody", needs="witness")
async def viewer_is_unheard(bench: Bench) -> None:
    async with bench.watch() as watch, bench.viewer() as viewer, bench.viewer() as other:
        said = sample(bench.sec(), sensor_id=bench.own_id)
        with arranging("a viewer may speak (V-1.1/ignored)"):
            await viewer.send(said)
            await viewer.settle()
        async with bench.sensor() as sensor:
            sec = await bench.sends(sensor)
            await watch.saw(sec)
        await other.settle()
        if said in (t if isinstance(t, str) else t.decode() for t in other.received):
            raise Mismatch("nothing", "another viewer got it")
        if not all(is_at(seen, sec) for seen in watch.fresh()):
            raise Mismatch("nothing", f"it arrived {watch.where} as a sample")


@CHECKS.add("V-1.2/none", "A remote viewer without token is closed with 4401", needs="remote")
async def no_viewer_token(bench: Bench) -> None:
    async with bench.line("/ws", ()) as viewer:
        viewer.timeout_s += 5
        await viewer.closed(4401)


@CHECKS.add(
    "V-1.2/before", "A viewer gets nothing before it has sent the token", needs="remote witness"
)
async def nothing_before_the_token(bench: Bench) -> None:
    async with bench.line("/ws?backfill=60", ()) as viewer, bench.watch() as watch:
        async with bench.sensor() as sensor:
            sec = await bench.sends(sensor)
            await watch.saw(sec)
        await asyncio.sleep(0.2)
        if viewer.received:
            raise Mismatch("nothing", viewer.seen())


@CHECKS.add("V-1.2/message", "The token may be the first message", needs="remote")
async def token_as_message(bench: Bench) -> None:
    async with bench.line("/ws", ()) as viewer:
        await viewer.send(json.dumps({"token": bench.settings.viewer_token}))
        await viewer.settle()
        viewer.must_live()


@CHECKS.add("V-1.2/wrong", "A wrong token in the header gets 401", needs="remote")
async def wrong_viewer_token(bench: Bench) -> None:
    expect(await bench.handshake("/ws", [("Authorization", "Bearer wrong")]), 401)


@CHECKS.add("V-1.2/in-url", "A token in the URL admits nobody", needs="remote")
async def viewer_token_in_url(bench: Bench) -> None:
    token = quote(bench.settings.viewer_token or "")
    async with bench.line(f"/ws?token={token}", ()) as viewer:
        await viewer.send("{}")  # otherwise it may wait 5 s for the token
        await viewer.closed(4401)
