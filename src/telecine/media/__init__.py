"""What is sent: how videos come in, are looked at, decoded and planned."""
