"""Real servers for tests: Apache Kafka and Redis, from wherever this machine can have them.

A *backend* is a way to get them: named in the environment (`external`), in containers (`docker`), as child processes
(`local`), or from the wheels of `demo` (`embedded`). All of them give the same two classes of object (`ports.py`), so
that a test does not know on what it runs; `plugin.py` has the fixtures, `backends.py` the choice.
"""
