"""Every shape that crosses the process's border: ids, events, facts, documents, letters, topics.

Imports nothing else of this project, does no I/O and knows no clock.
"""
