"""How many sensors a backend carries: load in levels, latency from the due time, the knee.

- ``knee`` (pure): which levels to try, whether one held, where the knee is;
- ``schedule`` (pure): when each sample is due, and what became of it;
- ``report`` (pure): the findings as lines and as JSON; ``picture`` draws them;
- ``backend``: the target, and what it lets a load generator see;
- ``load``: one level, over real connections;
- ``mlecho``: an ML service that answers at once; ``machine``: what the figures belong to.

It speaks the wire only, so it measures anybody's backend. See docs/bench.md.
"""
