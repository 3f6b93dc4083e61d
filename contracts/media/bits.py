"""Reading bit fields of coded media: MSB first, Exp-Golomb numbers (H.264 section 9.1)."""

from contracts.errors import InvalidInput

_LONGEST_EXP_GOLOMB = 32


def strip_emulation_prevention(payload: bytes) -> bytes:
    """Remove the 0x03 that follows two zero octets (H.264 section 7.4.1.1)."""
    if b"\0\0\3" not in payload:
        return payload
    out = bytearray()
    at = 0
    while (found := payload.find(b"\0\0\3", at)) >= 0:
        out += payload[at : found + 2]
        at = found + 3
    out += payload[at:]
    return bytes(out)


def add_emulation_prevention(payload: bytes) -> bytes:
    """Insert 0x03 wherever two zero octets are followed by 0 to 3; the inverse of strip."""
    out = bytearray()
    zeros = 0
    for octet in payload:
        if zeros >= 2 and octet <= 3:  # noqa: PLR2004 - H.264 section 7.4.1.1
            out.append(3)
            zeros = 0
        out.append(octet)
        zeros = zeros + 1 if octet == 0 else 0
    return bytes(out)


class BitReader:
    """Takes bits off the front of octets; `field` names them in errors."""

    __slots__ = ("_field", "_left", "_value")

    def __init__(self, payload: bytes, *, field: str) -> None:
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)
        self._field = field

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return self._left

    def read(self, count: int) -> int:
        """Return the next `count` bits as a number.

        Raises:
            InvalidInput: not that many are left.
        """
        if count > self._left:
            raise InvalidInput("ends too early", field=self._field)
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        """Return the next bit.

        Raises:
            InvalidInput: none is left.
        """
        return self.read(1) == 1

    def unsigned_exp_golomb(self) -> int:
        """Return ue(v).

        Raises:
            InvalidInput: cut, or longer than 32 leading zeros.
        """
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > _LONGEST_EXP_GOLOMB:
                raise InvalidInput("an Exp-Golomb number of over 32 bits", field=self._field)
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_exp_golomb(self) -> int:
        """Return se(v).

        Raises:
            InvalidInput: see `unsigned_exp_golomb`.
        """
        number = self.unsigned_exp_golomb()
        return (number + 1) // 2 if number & 1 else -(number // 2)
