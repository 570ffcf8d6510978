"""The fault harness: break what can break under a real hooklake, then count what is left.

`make faults` runs it at full size and prints one line a fault; the tests beside it run the same
functions at CI size. Each fault module exports `run…(scale) -> Outcome`:

    kill, power, syscalls, disk_full, slow_disk, redelivery, bit_flips, clock, readers

    hooklake.py   a hooklake of the run's own, under any wrapper and environment
    load.py       clients that never rest, and the book of what they sent and were told
    accounting.py the book against the lake, the published tables and `doctor`
    disks.py      file systems of the run's own: small, cut off from power, filled
    nursery.py    hooklake's commands as forks of a process that has imported everything, for strace
    outcome.py    the line, its bar, and what a fault needs to be run at all

Source: quality.md, "Fault figures".
"""
