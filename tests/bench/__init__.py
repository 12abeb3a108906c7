"""Speed and memory, measured against real servers beside a pipeline that does nothing: `make bench`."""
