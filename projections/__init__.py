"""The pure core: facts in, decision out. No I/O, no clock; imports `contracts` only."""
