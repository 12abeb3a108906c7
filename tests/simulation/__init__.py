"""The real loop and the real pure code over models of the world, one seed deciding every interleaving and every fault.

    python -m tests.simulation --seeds 1000            many histories; says how many of which fault were met
    python -m tests.simulation --seed 17 --trace       one of them, told step by step

**How it interleaves.** The loop is synchronous and has no thread of its own, and neither has this. A process's `turn`
runs as one step of the world; but every call that it makes through a port is a place where the world may move before
the call is carried out: another process takes a whole turn, a transaction marker arrives, a request that was given up
lands, time passes, the process dies (a BaseException that nothing in the loop catches). While a process stands still
inside a call, others may take many turns and its session may end; a zombie is a process that goes on with its call
afterwards. These are real interleavings by nested calls, without threads or generators, and so without anything that
could happen in another order the next time. What they cannot show is two turns that interleave call by call in *both*
directions (A, B, A, B): the inner turn always ends before the outer one goes on. All that two workers share is behind
the ports, where each call is atomic, and what the outer one did before is there for the inner one to see; a third
process may stand still inside the second's call. Turns are short, and an inner one that stops half-way is had by its
death, which is among the faults.

**What decides.** A history is its seed. Inputs, schedule and faults each have a random number generator of their own
made from it, so that a fault can be left out without changing what is sent. Faults are noted as (number of the call,
name); a history can be run again with some of them only, which is how it is shrunk (`shrink`).

**What is modelled**, and checked against the real servers by `test_models`: see `broker`, `log`, `store`.
"""
