"""An event loop in a thread, for callers without one: tests, scripts, notebooks."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Self, TypeVar

from ctgkit.clock import monotonic_s
from ctgkit.errors import CtgkitError

T = TypeVar("T")


class UnfrozenLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers run while a test has frozen the time (freezegun)."""

    def time(self) -> float:
        """Return the loop's time, seconds."""
        return monotonic_s()


class LoopThread:
    """An event loop in a thread of its own, from ``with`` to its end."""

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner(loop_factory=UnfrozenLoop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ctgkit-loop", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* on the loop, and return what it returns."""
        __tracebackhide__ = True
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except (AssertionError, CtgkitError) as error:
            raise error.with_traceback(None) from None  # it says all; where we were says nothing
        except BaseException:
            future.cancel()  # Ctrl-C here must end it there
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call *function* on the loop's thread."""

        async def there() -> T:
            return function()

        return self.run(there())

    @contextmanager
    def holding(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter *manager* on the loop and leave it there, in one task: task groups ask for that."""
        entered: Future[T] = Future()
        leave = asyncio.Event()

        async def hold() -> None:
            async with manager as value:
                entered.set_result(value)
                await leave.wait()

        held = asyncio.run_coroutine_threadsafe(hold(), self._loop)
        futures: tuple[Future[Any], ...] = (entered, held)
        wait(futures, return_when=FIRST_COMPLETED)
        if held.done():
            held.result()  # raises what went wrong
        try:
            yield entered.result()
        finally:
            self._loop.call_soon_threadsafe(leave.set)
            held.result()
