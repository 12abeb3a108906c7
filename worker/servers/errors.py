"""What may go wrong with servers of our own.

ServerUnavailable    it can't be had on this machine: something is not installed, or could not be fetched    exit 2
ServerFailed         it was started and did not come up; the message ends with what it said last             exit 1
StartInterrupted     we were told to stop while it started
"""

from __future__ import annotations

from worker.errors import ProjectorError


class ServerUnavailable(ProjectorError):
    """A server can't be had here. The message's first line is the reason, without a full stop."""

    exit_code = 2


class ServerFailed(ProjectorError):
    """A server, or what prepares it, was started and did not do what it should."""


class StartInterrupted(ProjectorError):
    """Told to stop while a server started; what had been started of it is gone, or goes with its context."""
