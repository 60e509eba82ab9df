"""Random numbers that depend on the seed and the epoch alone, never on what ran before."""

import hashlib


def epoch_seed(seed: int, epoch: int, purpose: str) -> int:
    """Derive a 63-bit seed; different purposes and epochs draw from unrelated streams.

    A resumed run, and a run in the middle of a sweep, thus see the order and the dropout masks
    that an undisturbed run sees.
    """
    digest = hashlib.blake2b(f"{seed}/{epoch}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
