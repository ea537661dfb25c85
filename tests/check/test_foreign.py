"""`check backend --profile FILE`: a backend of another wire, in plain asyncio."""

import asyncio
from collections import Counter

from websockets.asyncio.server import serve

from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.connection import target_of
from ctgkit.check.foreign import FOREIGN, ForeignBench, checks_for
from ctgkit.check.run import run_checks
from ctgkit.profile.library import load_profile
from tests.profile.servers import listening

CARRY_OVER = [*FOREIGN.checks.values()]


async def judge(profile, url, checks=CARRY_OVER):
    renderer = load_profile(profile, url)
    bench = ForeignBench(target_of(renderer.profile.url), renderer, {}, 1.0, None)
    verdicts = await run_checks(bench, [c for c in checks if not c.strict])
    return {v.check.id: v for v in verdicts}


async def test_what_depends_on_no_shape_is_judged_and_the_rest_skipped():
    async with listening() as heard:
        heard.answer = lambda *_: (200, b'{"id": 1}')
        every = checks_for(BACKEND.select((), strict=False))
        found = await judge("value-posts", f"http://{heard.url}", every)
    assert found["S-1.6/reconnects"].outcome == "pass"
    assert len(heard.requests) > 50
    counted = Counter(v.outcome for v in found.values())
    assert counted == {"pass": 2, "skipped": len(found) - 2}
    assert "the profile has others" in found["S-4.8/nan"].actual


async def test_one_that_breaks_is_named_and_the_rest_blocked():
    async with listening() as heard:
        heard.answer = lambda *_: (500 if len(heard.requests) > 20 else 200, b'{"id": 1}')
        found = await judge("value-posts", f"http://{heard.url}")
    assert found["S-1.6/reconnects"].outcome == "fail"
    assert "status 500" in found["S-1.6/reconnects"].actual


async def test_over_websocket():
    """One serves; the other is rude to the eleventh connection."""

    async def converse(link):
        nonlocal visits
        visits += 1
        if rude and visits % 11 == 0:
            return
        await asyncio.wait_for(link.wait_closed(), 60)

    visits, rude = 0, False
    async with serve(converse, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = await judge("signal-messages", url)
        outcomes = {v.outcome for v in found.values() if "run" not in v.check.needs}
        assert outcomes == {"pass"}, found
        rude = True
        found = await judge("signal-messages", url)
    assert found["S-1.6/reconnects"].outcome == "fail"
