"""Real servers, real workers, and by seed everything that can happen to them; afterwards every invariant.

    __main__.py   so many minutes of it, and a report in numbers     faults.py   the table of what happens
    site.py       servers, workers, traffic, readers                 proxy.py    what happens between them
    outputs.py    when nothing came out, and for how long            report.py   in numbers

`make torture MINUTES=30 SEED=7`. The same seed gives the same faults in the same order; what they meet is up to the
machine.
"""
