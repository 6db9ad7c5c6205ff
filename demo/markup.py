"""HTML of the pages' own cards. User text (class names, file names) enters only through `escape`."""

import html

# Okabe & Ito 2008: eight colours that colour-blind people can tell apart; a class keeps its colour everywhere.
CLASS_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#777777")


def escape(text: object) -> str:
    """Text as HTML shows it. gr.HTML runs `${…}` in its value as a script, so those signs are written as numbers."""
    return html.escape(str(text), quote=True).replace("$", "&#36;").replace("{", "&#123;").replace("}", "&#125;")


def class_color(index: int) -> str:
    """The colour of the class with that index."""
    return CLASS_COLORS[index % len(CLASS_COLORS)]


def answer_card(
    headline: str, sureness: str, bars: list[tuple[str, float, str]], notes: list[str], *, unknown: bool = False
) -> str:
    """The answer in words, then a bar an answer: (label, probability in [0, 1], colour)."""
    rows = "".join(_bar(name, share, color) for name, share, color in bars)
    small = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    kind = " unknown" if unknown else ""
    return (
        f'<div class="answer{kind}" role="status"><p class="sureness">{escape(sureness)}</p>'
        f'<h2>{escape(headline)}</h2><ul class="bars">{rows}</ul>{small}</div>'
    )


def _bar(name: str, share: float, color: str) -> str:
    length = f"width:{max(0.4, share * 100):.1f}%;background:{color}"
    shown = min(share, 0.999) if share < 1 else share  # an all that is none would read 100.0%
    return (
        f'<li><span class="bar-label">{escape(name)}</span>'
        f'<span class="bar-track"><span class="bar" style="{length}"></span></span>'
        f'<span class="bar-number">{shown:.1%}</span></li>'
    )


def empty_card(sentence: str) -> str:
    """What stands where an answer will come."""
    return f'<div class="answer empty"><p>{escape(sentence)}</p></div>'


def facts_card(title: str, lines: list[str]) -> str:
    """A heading and a few lines."""
    body = "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
    return f'<div class="facts"><h3>{escape(title)}</h3>{body}</div>'
