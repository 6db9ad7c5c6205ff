"""The network drawn as the ResNet it is: a Gradio component, what it asks the server, and its script files."""
