"""Train, use and understand ResNets: the package behind ResNet Lab. Imports neither gradio nor pandas."""
