"""What a file is that is no image: told by its first bytes, so that a manifest can be counted by it."""

import re

_PATTERNS: tuple[tuple[str, bytes, str], ...] = (
    ("document", rb"%PDF-|\xd0\xcf\x11\xe0|\{\\rtf", "export its pages as images"),
    # What may stand before <svg is matched for good (atomic groups), so that no file can make this slow.
    ("vector", rb"%!PS|\xc5\xd0\xd3\xc6|(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->"
     rb"|<!DOCTYPE\s+svg[^\[>]*+(?:\[.*?\]\s*)?>)*+<svg[\s/>]|\x1f\x8b.{8}.{0,64}\.svg",
     "render it at the size that you need"),
    ("archive", rb"PK\x03\x04|PK\x05\x06|\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd|.{257}ustar",
     "unpack it"),
    ("audio", rb"ID3|fLaC|RIFF....WAVE|\xff[\xfb\xf3\xf2]|....ftypM4[AB]", "leave it out of the input"),
    ("unsupported_format", rb"....ftyp(?:hei|hev|mif1|msf1|crx)|\xff\x0a|\0\0\0\x0cJXL |8BPS|v/1\x01|#\?RADIANCE"
     rb"|FUJIFILM|\0\0[\1\2]\0[^\0]\0|gimp xcf|II\xbc\x01|DDS |qoif|IIRO|IIRS|IIU\0",
     "convert it to PNG, TIFF or JPEG; JPEG XL is read where the extra `jxl` is installed"),
    ("video", rb"....ftyp(?:iso|mp4|avc|M4V|M4P|qt  |3g|dash|MSNV|[fF]4[vVpP]|XAVC|mmp4|av01|hvc1)|....(?:moov|mdat)"
     rb"|\0\0\0.(?:wide|free|skip)|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xba\xb3]|OggS"
     rb"|\x30\x26\xb2\x75|G.{187}G.{187}G|\x06\x0e\x2b\x34\x02\x05\x01\x01",
     "extract its frames"),
)  # fmt: skip
_HEAD_BYTES = 4096
_COMPILED = tuple((kind, re.compile(pattern, re.DOTALL), remedy) for kind, pattern, remedy in _PATTERNS)


def kind_of_other(data: bytes) -> tuple[str, str]:
    """Return (kind, remedy) of bytes that are none of our formats; "not_an_image" where nothing is recognised."""
    head = data[:_HEAD_BYTES]
    for kind, pattern, remedy in _COMPILED:
        if pattern.match(head):
            return kind, remedy
    return "not_an_image", "convert the file or leave it out of the input"
