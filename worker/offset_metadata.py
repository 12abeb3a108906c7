"""What is committed beside an offset, as the offset's metadata: text of a few bytes, and as exactly-once as the offset.

    <stream time>/<touched>/<complete>[/<reached>]        1793527200000/2/1/48211

Stream time in ms, then what the partition's documents were decided with (`worker.ports.Policies`); `reached` only while
stored documents are being decided again. Anything behind that is for later versions, and is passed over. A number alone
was written when there was only policy 1. Whatever else is there somebody else wrote, as a reset of offsets does; some
brokers, the embedded one among them, keep no metadata at all. Then nothing is known, and the store and the documents
themselves are asked (`worker.policies`).
"""

from __future__ import annotations

from typing import Final

from worker.ports import Policies

FIRST_POLICY: Final = 1
UNKNOWN: Final = Policies()


def metadata_of(stream_time: int, policies: Policies) -> str:
    """The text to be committed."""
    text = f"{stream_time}/{policies.touched}/{policies.complete}"
    return f"{text}/{policies.reached}" if policies.reached else text


def read_metadata(text: str | None) -> tuple[int, Policies]:
    """Stream time in ms and policies; 0 and UNKNOWN where the text is none of ours."""
    parts = (text or "").split("/")
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(numbers) != len(parts):
        return 0, UNKNOWN
    match numbers:
        case [stream_time]:
            return stream_time, Policies(FIRST_POLICY, FIRST_POLICY)
        case [stream_time, touched, complete]:
            return stream_time, Policies(touched, complete)
        case [stream_time, touched, complete, reached, *_]:
            return stream_time, Policies(touched, complete, reached)
        case _:
            return 0, UNKNOWN
