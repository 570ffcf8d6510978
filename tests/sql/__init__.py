"""The models against results worked out by hand, and against a second reading of the rules."""
