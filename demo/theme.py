"""How the pages look: one accent colour, neutral greys, the system's fonts (several that Gradio ships lack letters)."""

from pathlib import Path

import gradio as gr

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK SC", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
STYLES = Path(__file__).resolve().parents[1] / "assets" / "styles.css"


def make_theme() -> gr.themes.Base:
    """Gradio's base theme in our colours and fonts."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.gray,
        radius_size=gr.themes.sizes.radius_md,
        font=list(FONTS),
        font_mono=list(MONO),
    ).set(
        body_text_color_subdued="*neutral_500",  # Gradio's 400 is too pale on white to be read easily (2.5:1)
        button_primary_background_fill="#0072B2",
        button_primary_background_fill_hover="#005a8c",
        button_primary_background_fill_dark="#0072B2",
        button_primary_background_fill_hover_dark="#2a8fca",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )
