"""Two pictures laid over each other with a line between them that can be dragged or moved with the keyboard."""
