"""The source that most platforms have: PostgreSQL, followed by a real Debezium in a real Kafka Connect.

`samples/` holds what Debezium wrote, in every variant that is accepted, captured by `python -m tests.debezium.capture`;
decoding them needs no server and is part of every test run. The tests that start PostgreSQL and Connect themselves
have the marker `debezium` and run by `make test-debezium`.
"""
