"""The HTTP edge: fal's protocol in, the same protocol out."""
