"""Looking inside a network: activations, heat maps and the pictures made of them."""
