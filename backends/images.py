"""Knows the types of images that models read, by how their files begin."""

from __future__ import annotations

from typing import Final

_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)

IMAGE_TYPES: Final = "PNG, JPEG, WebP or GIF"
"""What ``image_type`` knows, in words."""


def image_type(content: bytes) -> str | None:
    """The media type of a file by its first bytes; None for anything but the types that vision models take.

    These are the four that OpenAI's API takes (https://platform.openai.com/docs/guides/images-vision); they begin as in
    https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern.

    >>> image_type(b"RIFF\\x24\\0\\0\\0WEBPVP8 "), image_type(b"<svg>")
    ('image/webp', None)
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if content.startswith(beginning)), None)
