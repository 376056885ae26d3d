"""Pictures: drawn anew, so that nothing but what is seen is kept (no place, camera, or owner)."""

from io import BytesIO
from typing import Any

from PIL import Image, ImageCms, ImageOps

from review.uploads.kinds import Cleaned, refuse

MOST_PIXELS = 40_000_000  # a telephone's largest photo is just under; 160 MB while it is worked on
LONGEST_SIDE = 16_383  # what WebP can hold, and more than any page shows
SAVED: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "quality": 90, "optimize": True},
    "png": {"format": "PNG", "optimize": False},
    "webp": {"format": "WEBP", "quality": 90, "method": 4},
}
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, MemoryError)
BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def cleaned_image(kind: str, name: str, content: bytes) -> Cleaned:
    """Return a picture drawn anew, upright.

    Raises:
        MalformedError: Damaged, too many pixels, or moving.
    """
    drawn, size = drawn_anew(kind, content)
    return Cleaned(kind=kind, name=name, content=drawn, width=size[0], height=size[1])


def drawn_anew(kind: str, content: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return a picture's bytes without metadata, and its width and height."""
    try:
        with Image.open(BytesIO(content), formats=[SAVED[kind]["format"]]) as image:
            if image.width * image.height > MOST_PIXELS or max(image.size) > LONGEST_SIDE:
                refuse("picture_too_large")
            # A JPEG with several pictures is a photo with its preview: the first is the photo.
            if kind != "jpeg" and getattr(image, "n_frames", 1) > 1:
                refuse("picture_moves")
            image.load()
            upright = ImageOps.exif_transpose(image)
            plain = _plain(upright, kind)
    except BOMB:
        refuse("picture_too_large")
    except BROKEN:
        refuse("picture_broken")
    kept = BytesIO()
    plain.save(kept, **SAVED[kind])
    return kept.getvalue(), plain.size


def _plain(image: Image.Image, kind: str) -> Image.Image:
    """Return pixels alone: in sRGB, with transparency where the kind has it."""
    transparent = kind != "jpeg" and (
        "A" in image.getbands() or "transparency" in image.info or image.mode == "PA"
    )
    mode = "RGBA" if transparent else "L" if image.mode in ("1", "L") else "RGB"
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # sixteen bits a pixel
        image = image.point(lambda value: value / 256).convert("L")
        mode = "L"
    elif profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        image = _in_srgb(image, profile, mode)
    plain = image.convert(mode)
    plain.info.clear()
    return plain


def _in_srgb(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    """Return the colours without their profile; a profile that can't be read is left out."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        wanted = mode if mode != "L" else "RGB"
        turned = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode=wanted
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return turned or image
