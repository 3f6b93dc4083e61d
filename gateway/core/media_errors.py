"""Faults of real-time sessions that the API answers with a status of their own."""

from contracts.errors import InvalidInput, MingjingError


class CodecMismatch(InvalidInput):
    """Peer and stream share no codec; nothing could ever be seen or heard."""


class UnknownStream(MingjingError):  # noqa: N818 - reads as a fact, as the tree's others do
    """Nobody ever expected or published a stream of this name here."""
