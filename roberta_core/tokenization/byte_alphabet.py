"""GPT-2's alphabet: each of the 256 bytes is written as one printable character, so that tokens can be read."""

from __future__ import annotations

# Bytes that print as themselves; the others are written as the characters from U+0100 upwards, in order.
PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
HIDDEN = tuple(byte for byte in range(256) if byte not in PRINTABLE)

BYTE_TO_CHARACTER = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(HIDDEN)}
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}

# Unicode's White_Space. Python's str.isspace also counts U+001C to U+001F, which the published splitter does not.
BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)


def token_to_bytes(token: str) -> bytes:
    """The bytes that a token stands for; one that is not written in the alphabet stands for its own UTF-8 bytes."""
    try:
        return bytes(CHARACTER_TO_BYTE[character] for character in token)
    except KeyError:
        return token.encode("utf-8")
