"""The page: a header and three tabs, plus the named API end points."""

from typing import Any

import gradio as gr

from demo.api import add_api
from demo.classification_tab import classification_tab
from demo.feature_maps_tab import feature_maps_tab
from demo.services import Services
from demo.training_tab import training_tab

LOGO = """<svg viewBox="0 0 40 40" aria-hidden="true" fill="none" stroke="#0072B2" stroke-width="3">
<path d="M6 20h6m16 0h6"/><rect x="12" y="14" width="16" height="12" rx="3"/>
<path d="M8 20c0-12 24-12 24 0" stroke="#D55E00"/><circle cx="33" cy="20" r="2" fill="#0072B2"/></svg>"""


def build(services: Services) -> gr.Blocks:
    """The whole page over these services; nothing is started."""
    with gr.Blocks(title="ResNet Lab", analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True) as page:
        gr.HTML(
            f'<div id="header">{LOGO}<div><h1>ResNet Lab</h1>'
            "<p>Classify a flower, watch a network learn, look inside it — all on this machine.</p></div></div>"
        )
        with gr.Tabs(elem_id="tabs"):
            classification_tab(services, page)
            training_tab(services)
            feature_maps_tab(services)
        add_api(services)
    return page


def launch_settings() -> dict[str, Any]:
    """What `launch` is always told: nothing leaves the machine, nothing of it is served but the page."""
    return {
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "mcp_server": False,
        "pwa": False,
        "strict_cors": True,
        "max_file_size": "2gb",
        "allowed_paths": [],
        "state_session_capacity": 200,
        "footer_links": ["api", "settings"],
        "quiet": True,
    }
