"""What a caption or transcript of the sample corpus says, whatever its phrasing: what answers are compared by."""

from __future__ import annotations


def caption_facts(caption: str) -> tuple[str, ...] | None:
    """What a caption of a sample scene says; None for any other text."""
    from jobs.sample.scenes import parse_caption

    try:
        scene = parse_caption(caption.strip())
    except ValueError:
        return None
    looks = [value for thing in scene.things for value in (thing.size, thing.colour, thing.shape)]
    return (scene.layout, scene.background, *looks)


def transcript_facts(text: str) -> tuple[str, ...] | None:
    """What a transcript of sample sounds says, five facts a sound; None for any other text."""
    from jobs.sample.sounds import parse_transcript

    try:
        sounds = parse_transcript(text.strip())
    except ValueError:
        return None
    return tuple(
        str(value) for sound in sounds for value in (sound.kind, sound.pitch, sound.length, sound.wave, sound.count)
    )
