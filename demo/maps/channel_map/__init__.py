"""One channel's map beside the photo: point at a place of the map and see which part of the photo it can see."""
