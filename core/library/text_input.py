"""Text as it comes in: what a person typed, pasted, piped in or wrote in an editor, made ready to be stored."""

from __future__ import annotations

import codecs

from core.errors import CharlieError

BOM = "\ufeff"
LATIN_1 = "`iconv -f LATIN1 -t UTF-8` converts Latin-1."


def as_stored(text: str) -> str:
    """The text with LF at the end of each line and no byte order mark at its beginning; all else stays as it is.

    Raises CharlieError for a NUL, and for a lone surrogate, which stands for an invalid byte of an argument.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip(BOM)
    if "\0" in text:
        raise CharlieError(
            "The text has a NUL character, which cannot be stored.",
            "UTF-16 must begin with its byte order mark; of other files, pipe in the text only.",
        )
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")  # joins pairs
    except UnicodeDecodeError as error:
        raise CharlieError("The text has a lone surrogate or a byte that is not UTF-8.", LATIN_1) from error


def decode(data: bytes) -> str:
    """Bytes from a pipe or a file as text to be stored: UTF-8, or UTF-16 with a byte order mark.

    Raises CharlieError for bytes of another encoding.
    """
    encoding = "UTF-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "UTF-8"
    try:
        return as_stored(data.decode(encoding))
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at position {error.start + 1}"
        raise CharlieError(f"The text is not {encoding}: {byte}.", LATIN_1) from error
