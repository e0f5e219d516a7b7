"""What was seen on every edge."""
