"""Half an hour of load with disturbances: nothing may be lost, nothing may grow.

- ``flatness`` (pure): a robust line through a series, and whether it is flat;
- ``vitals``: memory, descriptors, threads of each process, the backend's queues;
- ``disturbances``: what goes wrong on purpose;
- ``system``: the processes, and the accounts at the end;
- ``__main__``: ``python -m benchmarks.soak --minutes 30``, verdict, JSON, picture.
"""
