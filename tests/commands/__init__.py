"""The commands that steer runs, sent to a real platform in every order and every shape."""
