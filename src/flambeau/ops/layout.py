"""Results that are laid out as images and volumes whose channels lie innermost."""

_FORMATS = {4: "channels_last", 5: "channels_last_3d"}


def channels_lie_inside(o, x) -> bool:
    """Whether a tensor is laid out as channels_last, and not as it would be without a memory format."""
    layout = _FORMATS.get(x.dim())
    return layout is not None and not x.is_contiguous() and x.is_contiguous(memory_format=getattr(o, layout))


def in_layout_of(o, x, work):
    """What work(x, places of its dimensions) gives, in the memory format of x."""
    places = list(range(x.dim()))
    if not channels_lie_inside(o, x):
        return work(x, places)
    places = [0, x.dim() - 1, *places[1:-1]]
    return work(x.movedim(1, -1), places).permute(places)
