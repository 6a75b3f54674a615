"""What tests share: waiting, and the actors and programs that they start."""
