"""Kafka and Redis on this machine, for `demo`, `dev` and the tests: containers, processes, or what a wheel brings.

All of them listen on loopback only, at free ports, keep their data in a folder that they are given, and end with the
context that started them, or with this process, however it ends. `choice.py` has the ways to have them, the most real
first. Nothing that `run` needs is in here.
"""
