"""Bars of how much each block changes its input, with switches for its branch and its skip: a Gradio component."""
