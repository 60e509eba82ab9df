"""What a person is told, and how a process begins and ends."""
