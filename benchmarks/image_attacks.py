"""What happens to pictures on the web, planted: name -> function from a picture to the bytes of its changed copy."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

Attack = Callable[[Image.Image], bytes]


def _encoded(image: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **(options or ({"quality": 90} if image_format == "JPEG" else {})))
    return out.getvalue()


def _resized(share: float) -> Attack:
    return lambda im: _encoded(
        im.resize((max(1, round(im.width * share)), max(1, round(im.height * share))), Image.Resampling.LANCZOS)
    )


def _cropped(left: float, top: float, right: float, bottom: float) -> Attack:
    """Without these shares of the sides."""
    return lambda im: _encoded(
        im.crop(
            (
                round(im.width * left),
                round(im.height * top),
                round(im.width * (1 - right)),
                round(im.height * (1 - bottom)),
            )
        )
    )


def _framed(colour: str) -> Attack:
    def attack(im: Image.Image) -> bytes:
        width = round(min(im.size) * 0.08)
        out = Image.new("RGB", (im.width + 2 * width, im.height + 2 * width), colour)
        out.paste(im, (width, width))
        return _encoded(out)

    return attack


def _banner(im: Image.Image) -> bytes:
    im = im.copy()
    draw = ImageDraw.Draw(im)
    draw.rectangle((0, int(im.height * 0.88), im.width, im.height), fill="black")
    font = ImageFont.load_default(size=max(8, int(im.height * 0.07)))
    draw.text((im.width * 0.05, im.height * 0.9), "SAMPLE BANNER example.org", fill="white", font=font)
    return _encoded(im)


def _watermark(im: Image.Image) -> bytes:
    over = Image.new("RGBA", im.size, (0, 0, 0, 0))
    font = ImageFont.load_default(size=max(8, int(im.height * 0.12)))
    ImageDraw.Draw(over).text((im.width * 0.1, im.height * 0.4), "© WATERMARK", fill=(255, 255, 255, 128), font=font)
    return _encoded(Image.alpha_composite(im.convert("RGBA"), over).convert("RGB"))


ATTACKS: dict[str, Attack] = {
    "JPEG q10": lambda im: _encoded(im, quality=10),
    "JPEG q30": lambda im: _encoded(im, quality=30),
    "JPEG q50": lambda im: _encoded(im, quality=50),
    "PNG": lambda im: _encoded(im, "PNG"),
    "WebP": lambda im: _encoded(im, "WEBP", quality=80),
    "resized to 50 %": _resized(0.5),
    "resized to 25 %": _resized(0.25),
    "cropped by 2 %": _cropped(0.01, 0.01, 0.01, 0.01),
    "cropped by 5 %": _cropped(0.025, 0.025, 0.025, 0.025),
    "cropped by 10 %": _cropped(0.05, 0.05, 0.05, 0.05),
    "cropped by 10 %, not about the middle": _cropped(0.02, 0.07, 0.08, 0.03),
    "cut by 10 % at the bottom": _cropped(0, 0, 0, 0.1),
    "black frame of 8 %": _framed("black"),
    "white frame of 8 %": _framed("white"),
    "banner": _banner,
    "watermark": _watermark,
    "brightness 1.3": lambda im: _encoded(ImageEnhance.Brightness(im).enhance(1.3)),
    "contrast 0.7": lambda im: _encoded(ImageEnhance.Contrast(im).enhance(0.7)),
    "grey": lambda im: _encoded(im.convert("L")),
    "turned by 2°": lambda im: _encoded(im.rotate(2, Image.Resampling.BICUBIC)),
    "mirrored": lambda im: _encoded(im.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}
